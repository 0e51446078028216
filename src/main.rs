//! The program: [`lumenfall::cli`] is all of it, so that this crate has nothing to compile.

use std::process::ExitCode;

fn main() -> ExitCode {
    lumenfall::cli::run()
}

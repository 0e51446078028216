//! The program: hands its arguments and environment to [`lumenfall::cli`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    lumenfall::cli::run(std::env::args_os(), std::env::vars()).await
}

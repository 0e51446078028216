//! The real program in processes of its own, and what tests of it count with.

use serde_json::Value;
use std::fs::{File, create_dir_all};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that dies with this value.
pub(crate) struct Process(Child);

impl Process {
    /// Runs the program in `home` with these arguments and nothing but these variables, each without its `LUMENFALL_`. What
    /// it says is added to the file `log` there.
    pub(crate) fn start<V: AsRef<str>>(arguments: &[&str], settings: &[(&str, V)], home: &Path) -> Self {
        create_dir_all(home).unwrap();
        let log = File::options().create(true).append(true).open(home.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lumenfall"));
        let settings = settings.iter().map(|(name, value)| (format!("LUMENFALL_{name}"), value.as_ref()));
        command.args(arguments).env_clear().envs(settings).current_dir(home);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// SIGKILL: nothing in it gets to say goodbye.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// The most memory that it has had, in megabytes.
    pub(crate) fn peak_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Dollars, as a number or a text, as whole micros; `null` is nothing.
#[expect(clippy::cast_possible_truncation, reason = "small amounts")]
pub(crate) fn micros(amount: &Value) -> i64 {
    if amount.is_null() {
        return 0;
    }
    let dollars = amount.as_f64().or_else(|| amount.as_str()?.parse().ok()).unwrap();
    (dollars * 1_000_000.0).round() as i64
}

//! A throw-away PostgreSQL for one test process, made from the server binaries of this machine.
//!
//! It is started when the first test asks and stopped when the process ends, however it ends: a shell stands guard on a
//! pipe whose other end the process holds, stops the server when the pipe closes and removes every trace.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test kit that cannot work shall say so and stop")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server and the guard that ends it.
struct Cluster {
    bin: PathBuf,
    home: PathBuf,
    port: u16,
    url: String,
    /// Holds the pipe. Never read: its end is what counts.
    _guard: Child,
}

/// The address of the server, without a database: `postgres://postgres@127.0.0.1:PORT`.
pub(crate) fn server() -> &'static str {
    &cluster().url
}

/// The address of a fresh, empty database.
pub(crate) fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    run(Command::new(cluster().bin.join("createdb")).args(on_port(cluster().port)).arg(&name));
    format!("{}/{name}", server())
}

/// Runs SQL that no driver of ours should, such as ending other connections.
pub(crate) fn psql(url: &str, sql: &str) {
    run(Command::new(cluster().bin.join("psql")).args(["--quiet", "--no-psqlrc", "-c", sql, url]));
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(HASTY))
}

/// A server of a test's own, which can be stopped and started again.
pub(crate) struct Server(Cluster);

impl Server {
    /// With these settings (`name=value`) over PostgreSQL's own.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self(Cluster::start(settings))
    }

    /// The address of its only database.
    pub(crate) fn url(&self) -> String {
        format!("{}/postgres", self.0.url)
    }

    /// Stops it as a crash would: nobody is waited for.
    pub(crate) fn stop(&self) {
        run(self.control().args(["--mode=immediate", "stop"]));
    }

    pub(crate) fn start_again(&self) {
        let home = self.0.home.display();
        let options = format!("-k {home} -h 127.0.0.1 -p {} -c fsync=off -c max_connections=100", self.0.port);
        // The first log belongs to the guard's shell.
        let log = self.0.home.join("later.log");
        run(self.control().arg("--log").arg(log).arg("--options").arg(options).arg("start"));
    }

    fn control(&self) -> Command {
        let mut control = as_server(&self.0.bin.join("pg_ctl"));
        control.arg("--wait").arg("-D").arg(self.0.home.join("data"));
        // What it starts shall not hold our pipes open.
        control.stdin(Stdio::null());
        control
    }
}

/// Nothing in a test has to survive a crash of the machine.
pub(crate) const HASTY: &[&str] = &["fsync=off", "full_page_writes=off", "max_connections=100"];

impl Cluster {
    fn start(settings: &[&str]) -> Self {
        let bin = binaries().unwrap_or_else(|| {
            install();
            binaries().unwrap_or_else(|| panic!("{NEEDED}"))
        });
        // Somebody else may take the port between our finding and our using it.
        (0..3)
            .find_map(|_| start(&bin, settings))
            .unwrap_or_else(|| panic!("PostgreSQL in {} does not start", bin.display()))
    }
}

const NEEDED: &str = "These tests need PostgreSQL's server programs (initdb, postgres). Install the package \
                      `postgresql` (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql), or put \
                      its bin directory on the PATH.";

/// Where the server's programs are: on the PATH, else the newest where Debian keeps them.
fn binaries() -> Option<PathBuf> {
    let complete =
        |bin: &PathBuf| ["initdb", "postgres", "createdb", "psql", "pg_isready"].iter().all(|p| bin.join(p).exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let version = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let debian =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    std::env::split_paths(&path).find(complete).or_else(|| debian.filter(complete).max_by_key(version))
}

/// Installs Debian's package, as the test command promises for fresh machines.
fn install() {
    assert!(is_root() && Path::new("/usr/bin/apt-get").exists(), "{NEEDED}");
    // No server of its own: ours is enough.
    let settings = Path::new("/etc/postgresql-common/createcluster.conf");
    if !settings.exists() {
        std::fs::create_dir_all("/etc/postgresql-common").unwrap();
        std::fs::write(settings, "create_main_cluster = false\n").unwrap();
    }
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()));
    };
    apt(&["update", "--quiet"]);
    let keep = "Dpkg::Options::=--force-confold";
    apt(&["install", "--yes", "--quiet", "--no-install-recommends", "-o", keep, "postgresql"]);
}

fn start(bin: &Path, settings: &[&str]) -> Option<Cluster> {
    let home = tempfile::Builder::new().prefix("lumenfall-pg-").tempdir().unwrap().keep();
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(&home));
    }
    let data = home.join("data");
    let init = |locale: &[&str]| {
        let base = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"];
        as_server(&bin.join("initdb")).arg("-D").arg(&data).args(base).args(locale).output().unwrap()
    };
    // A language with an order of its own, where there is one: a test must not pass only because of plain byte order.
    if !init(&["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8"]).status.success() {
        let made = init(&["--locale=C"]);
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = as_server(&bin.join("postgres"));
    server.arg("-D").arg(&data).arg("-k").arg(&home).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    for setting in settings {
        server.args(["-c", setting]);
    }
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "guard"])
        .arg(&home)
        .arg(bin.join("pg_isready"))
        .arg(port.to_string())
        .arg(server.get_program())
        .args(server.get_args())
        // A group of its own: the interrupt key shall end the tests, and their end the guard.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut word = String::new();
    BufReader::new(guard.stdout.take().unwrap()).read_line(&mut word).unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{port}");
    (word.trim() == "ready").then(|| Cluster { bin: bin.to_owned(), home, port, url, _guard: guard })
}

/// Arguments: home, pg_isready, port, the server's command line.
const GUARD: &str = r#"
home=$1 isready=$2 port=$3; shift 3
trap '' INT TERM HUP
"$@" </dev/null >"$home/log" 2>&1 & server=$!
until "$isready" -q -h 127.0.0.1 -p "$port"; do
    kill -0 $server 2>/dev/null || { cat "$home/log" >&2; rm -rf "$home"; exit 1; }
    sleep 0.05
done
echo ready
cat >/dev/null
# Not $server: a test may have stopped that one and started another. A server that ends removes the file.
pid=$(head -n 1 "$home/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do wait $server; sleep 0.05; done
rm -rf "$home"
"#;

/// The server refuses to run as root, so root runs it as `postgres`.
fn as_server(program: &Path) -> Command {
    let mut command;
    if is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    } else {
        command = Command::new(program);
    }
    // It also refuses a working directory that it cannot read.
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n")
}

fn on_port(port: u16) -> [String; 6] {
    ["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"].map(str::to_owned)
}

fn run(command: &mut Command) {
    let program = command.get_program().to_owned();
    let done = command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{} {:?}: {said}", program.display(), command.get_args().collect::<Vec<&OsStr>>());
}

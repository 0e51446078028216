//! The official OpenAI SDKs (Python and JavaScript, pinned) drive a running gateway, and afterwards the books are
//! balanced: what the answers said it cost, what the request log says, and what the simulated providers billed.
//!
//! LiteLLM, through which many call OpenAI-compatible services, drives one as well.
//!
//! The providers' own SDKs drive the simulators, so that these are not only as their adapters believe them to be.
//!
//! The suites are in `tests/clients/`. Their environments are made once and kept in `target/clients/`.

#![expect(clippy::expect_used, reason = "a helper that fails fails the test")]

use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, thread};

/// An admin key that exists from the start.
const KEY: &str = "lmnfl_test.5f4dcc3b5aa765d61d8327deb882cf99";

#[test]
fn the_official_sdks_work_and_the_books_balance() {
    let suites = [python("python", "requirements.txt"), node()];
    let gateway = Gateway::start();
    let environment = gateway.environment();
    let outcomes = thread::scope(|scope| {
        let running: Vec<_> = suites.iter().map(|suite| scope.spawn(|| suite.run(&environment))).collect();
        running.into_iter().map(|suite| suite.join().expect("a suite runs")).collect::<Vec<_>>()
    });
    judge(&outcomes);
    gateway.balance();
}

#[test]
fn litellm_works_and_the_books_balance() {
    let suite = python("python/litellm", "requirements-litellm.txt");
    let gateway = Gateway::start();
    judge(&[suite.run(&gateway.environment())]);
    gateway.balance();
}

#[test]
fn the_providers_own_sdks_accept_the_simulators() {
    let suite = python("python/providers", "requirements-providers.txt");
    let address = free_address();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sandbox = Program::start(folder, &["sandbox", "--listen", &address], &[]);
    sandbox.wait_until_ready(&address, "/_control");
    judge(&[suite.run(&[("SANDBOX", format!("http://{address}"))])]);
}

/// Writes the counts down for `tests/all`, and fails if a test did. The suites that run beside these add their lines.
fn judge(outcomes: &[Outcome]) {
    let count = |outcome: &Outcome| format!("{} {} {}\n", outcome.suite, outcome.passed, outcome.failed);
    let counts = outcomes.iter().map(count).collect::<String>();
    let file = OpenOptions::new().create(true).append(true).open(home().join("counts"));
    file.expect("a file for the counts").write_all(counts.as_bytes()).expect("the counts are kept");
    for outcome in outcomes {
        let sound = outcome.success && outcome.failed == 0 && outcome.passed > 0;
        assert!(sound, "the {} suite failed:\n{}", outcome.suite, outcome.output);
    }
}

// --- the gateway ---------------------------------------------------------------------------------------------------

/// The real binary in an empty folder. It dies with this value.
struct Program {
    process: Child,
    folder: tempfile::TempDir,
}

impl Program {
    fn start(folder: tempfile::TempDir, arguments: &[&str], environment: &[(&str, String)]) -> Self {
        let log = File::create(folder.path().join("log")).expect("a log file");
        let process = Command::new(env!("CARGO_BIN_EXE_lumenfall"))
            .args(arguments)
            .current_dir(folder.path())
            // Nothing of this machine: a provider's key in the environment would switch the sandbox off.
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(environment.iter().cloned())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Self { process, folder }
    }

    fn wait_until_ready(&mut self, address: &str, path: &str) {
        let ready = (0..600).any(|_| {
            pause();
            let gone = self.process.try_wait().expect("the process can be asked");
            assert!(gone.is_none(), "the program ended at once: {gone:?}");
            get(address, path).is_some_and(|(status, _)| status == 200)
        });
        assert!(ready, "the program was not ready within a minute");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(60)..].join("\n");
            let _ = writeln!(std::io::stderr(), "--- the program's last words ---\n{last}\n---");
        }
    }
}

/// The gateway: SQLite, files, simulated providers.
struct Gateway {
    program: Program,
    address: String,
    sandbox: String,
}

impl Gateway {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inside = |name: &str| folder.path().join(name).display().to_string();
        let (address, sandbox) = (free_address(), free_address());
        let environment = [
            ("LUMENFALL_SERVER__LISTEN", address.clone()),
            ("LUMENFALL_SANDBOX__LISTEN", sandbox.clone()),
            ("LUMENFALL_DATABASE__URL", format!("sqlite://{}", inside("lumenfall.db"))),
            ("LUMENFALL_MEDIA__STORAGE", format!("file://{}", inside("media"))),
            ("LUMENFALL_AUTH__BOOTSTRAP_KEY", KEY.to_owned()),
            // The suites receive webhooks on this machine.
            ("LUMENFALL_WEBHOOKS__ALLOW_PRIVATE", "true".to_owned()),
        ];
        let mut program = Program::start(folder, &[], &environment);
        program.wait_until_ready(&address, "/readyz");
        Self { program, address, sandbox }
    }

    /// What the suites are told.
    fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("LUMENFALL_ROOT", format!("http://{}", self.address)),
            ("LUMENFALL_KEY", KEY.to_owned()),
            ("LUMENFALL_TALLY", self.tally().display().to_string()),
        ]
    }

    /// Where the suites write down each image call, one JSON object a line.
    fn tally(&self) -> PathBuf {
        self.program.folder.path().join("tally")
    }

    /// The log holds every call, and its total is the sum of the answers and of the providers' bills, to the micro-dollar.
    fn balance(&self) {
        let tally = fs::read_to_string(self.tally()).expect("the suites kept a tally");
        let calls: Vec<Value> = tally.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        let paid: Vec<&Value> = calls.iter().filter(|call| call["status"] == 200).collect();
        // A call without a good key belongs to no account, so it has no row.
        let known = calls.iter().filter(|call| call["status"] != 401).count();
        let answered: i64 = paid.iter().map(|call| micros(&call["cost"])).sum();

        let log = self.json(&self.address, "/v1/requests?summary=true&limit=1");
        let completed = self.json(&self.address, "/v1/requests?summary=true&limit=1&status=completed");
        let count = |page: &Value| page["summary"]["count"].as_u64().and_then(|count| usize::try_from(count).ok());
        assert_eq!(
            count(&completed),
            Some(paid.len()),
            "every answered call is one completed row: {}",
            completed["summary"]
        );
        assert_eq!(count(&log), Some(known), "every call is one row, the rejected ones too");
        assert_eq!(log["summary"]["currency"], "usd");

        let billed = self.json(&self.sandbox, "/_control/calls");
        let bills = billed["totals"].as_object().expect("totals by provider");
        let billed: i64 = bills.values().map(|provider| micros(&provider["billed_usd"])).sum();
        let logged = micros(&log["summary"]["total_cost"]);
        let delivered = micros(&completed["summary"]["total_cost"]);
        assert_eq!(delivered, answered, "the completed rows against the answers, in micro-dollars");
        // A provider that runs a job and then refuses its result bills it: the log has that too.
        assert_eq!(logged, billed, "the log against the providers' bills, in micro-dollars: {bills:?}");
        assert!(billed > 0, "nothing was billed: {bills:?}");
    }

    fn json(&self, address: &str, path: &str) -> Value {
        let (status, body) = get(address, path).expect("an answer");
        assert_eq!(status, 200, "{} GET {path}: {body}", self.address);
        serde_json::from_str(&body).expect("JSON")
    }
}

/// An address nobody listens on.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// One plain GET. HTTP/1.0, so that the body ends where the connection does.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// An amount in dollars, as a JSON number or as text, in millionths.
fn micros(dollars: &Value) -> i64 {
    let text = dollars.as_str().map_or_else(|| dollars.to_string(), str::to_owned);
    let dollars: rust_decimal::Decimal = text.parse().expect("an amount");
    (dollars * rust_decimal::Decimal::from(1_000_000)).round().try_into().expect("a sum of this size")
}

#[expect(clippy::disallowed_methods, reason = "a test's own thread, waiting for another process")]
fn pause() {
    thread::sleep(Duration::from_millis(100));
}

// --- the suites ----------------------------------------------------------------------------------------------------

/// One language's tests and how to run them.
struct Suite {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    /// Reads (passed, failed) from what the runner printed.
    counts: fn(&str) -> (u32, u32),
}

/// What came of it.
struct Outcome {
    suite: &'static str,
    success: bool,
    passed: u32,
    failed: u32,
    output: String,
}

impl Suite {
    fn run(&self, environment: &[(&str, String)]) -> Outcome {
        let run = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .envs(environment.iter().cloned())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("OPENAI_BASE_URL")
            .env_remove("OPENAI_ORG_ID")
            .env_remove("OPENAI_PROJECT_ID")
            .output()
            .expect("the suite starts");
        let output = [run.stdout, run.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        let (passed, failed) = (self.counts)(&output);
        Outcome { suite: self.name, success: run.status.success(), passed, failed, output }
    }
}

/// The tests in a folder, with what `pins` names.
fn python(name: &'static str, pins: &str) -> Suite {
    let pins = source("python").join(pins);
    let wanted = fs::read_to_string(&pins).expect("the pins");
    require("python3", &["-c", "import ensurepip, venv"], &["python3", "python3-venv"]);
    let version = run(Command::new("python3").arg("--version"));
    let folder = home().join(name.replace('/', "-"));
    let program = folder.join("bin/python");
    keep(&folder, &(version + &wanted), || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(&program).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&pins));
    });
    // Each folder is a suite of its own: its subfolders and what is above it are not looked at.
    let arguments =
        "-m pytest -q --color=no --tb=short -p no:cacheprovider --confcutdir=. --ignore=providers --ignore=litellm";
    Suite {
        name,
        program,
        arguments: arguments.split(' ').map(str::to_owned).collect(),
        folder: source(name),
        // "3 failed, 88 passed in 41.20s"
        counts: |output| {
            let summary = output.lines().rev().find(|line| line.contains(" in ")).unwrap_or_default();
            let count = |what: &str| {
                let before = summary.split([',', ' ']).collect::<Vec<_>>();
                let at = before.iter().position(|word| word.trim_end_matches('s') == what);
                at.and_then(|at| before[..at].last()?.parse().ok()).unwrap_or(0)
            };
            (count("passed"), count("failed") + count("error"))
        },
    }
}

fn node() -> Suite {
    let tests = source("node");
    require("node", &["--version"], &["nodejs", "npm"]);
    require("npm", &["--version"], &["npm"]);
    let version = run(Command::new("node").arg("--version"));
    let folder = home().join("node");
    let lock = fs::read_to_string(tests.join("package-lock.json")).expect("package-lock.json");
    keep(&folder, &(version + &lock), || {
        fs::create_dir_all(&folder).expect("a folder");
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(tests.join(name), folder.join(name)).expect("a copy");
        }
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder));
    });
    // The tests run beside their modules, so that the repository stays clean.
    let mut files = Vec::new();
    for entry in fs::read_dir(&tests).expect("the suite").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "mjs") {
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
            let name = entry.file_name().to_string_lossy().into_owned();
            files.extend(name.contains(".test.").then_some(name));
        }
    }
    let arguments = ["--test", "--test-reporter=tap"].map(str::to_owned).into_iter().chain(files).collect();
    Suite {
        name: "node",
        program: "node".into(),
        arguments,
        folder,
        // "# pass 60" and "# fail 0" at the end
        counts: |output| {
            let count = |what: &str| output.lines().rev().find_map(|line| line.strip_prefix(what)?.trim().parse().ok());
            (count("# pass ").unwrap_or(0), count("# fail ").unwrap_or(0))
        },
    }
}

/// Where a suite's source is.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Where environments are kept: `target/clients`.
fn home() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    fs::create_dir_all(&home).expect("a folder in target");
    home
}

/// Makes a folder anew unless it was made from the same recipe before.
fn keep(folder: &Path, recipe: &str, make: impl FnOnce()) {
    let note = folder.join(".made-from");
    if fs::read_to_string(&note).is_ok_and(|made| made == recipe) {
        return;
    }
    if folder.exists() {
        fs::remove_dir_all(folder).expect("the old one goes");
    }
    make();
    fs::write(note, recipe).expect("a note");
}

/// Makes sure of a program; on Debian, as root, installs what is missing.
fn require(program: &str, probe: &[&str], packages: &[&str]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let works = || Command::new(program).args(probe).output().is_ok_and(|output| output.status.success());
    if works() {
        return;
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        let run = command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).output();
        run.is_ok_and(|output| output.status.success())
    };
    // Fails at once for anybody but root, and where there is no apt-get.
    let install = [&["install", "-y", "-qq", "--no-install-recommends"], packages].concat();
    let installed = apt(&["update", "-qq"]) && apt(&install);
    assert!(installed && works(), "the client suites need {program}: install the packages {}", packages.join(", "));
}

/// Runs a command that must work, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().map_err(|error| format!("{command:?}: {error}")).expect("a command");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

//! The program from outside: its commands, its mistakes in configuration, its stop.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Where the program is run: a directory of its own and nothing in the environment.
pub(crate) struct Shell {
    home: tempfile::TempDir,
}

impl Shell {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lumenfall"));
        command.args(arguments).env_clear().current_dir(self.home.path());
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments, environment).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.success(), text(stdout), text(stderr))
    }
}

#[test]
fn mistakes_in_configuration_stop_the_start_and_say_what_to_do() {
    let shell = Shell::new();
    for (environment, expected) in [
        (("LUMENFALL_SERVER__LISTN", "x"), "did you mean LUMENFALL_SERVER__LISTEN?"),
        (("LUMENFALL_SERVER__LISTEN", "here"), "server.listen"),
        (("LUMENFALL_DATABASE__URL", "mysql://x"), "postgres"),
        (("LUMENFALL_DATABASE__URL", "postgres://u:hunter2@127.0.0.1:1/db"), "127.0.0.1:1"),
        (("LUMENFALL_MEDIA__STORAGE", "ftp://x"), "media.storage"),
        (("LUMENFALL_AUTH__BOOTSTRAP_KEY", "hello"), "lmnfl_"),
        (("LUMENFALL_LOG__LEVEL", "=="), "log.level"),
        (("LUMENFALL_CONFIG", "/nowhere/at/all.toml"), "/nowhere/at/all.toml"),
    ] {
        let (success, _, stderr) = shell.run(&[], &[environment]);
        assert!(!success, "{environment:?}");
        assert!(stderr.contains(expected), "{environment:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("hunter2"), "{stderr}");
    }
    std::fs::write(shell.home.path().join("bad.toml"), "[server]\nlissten = \"x\"\n").unwrap();
    let (success, _, stderr) = shell.run(&["--config", "bad.toml"], &[]);
    assert!(!success && stderr.contains("'server.lissten'; did you mean 'server.listen'?"), "{stderr}");
}

#[test]
fn check_tells_what_is_enabled_and_why_not() {
    let shell = Shell::new();
    let (success, stdout, _) = shell.run(&["check"], &[]);
    assert!(success && stdout.contains("Sandbox: on"), "{stdout}");
    let (success, stdout, _) = shell.run(&["check"], &[("FAL_KEY", "a:b")]);
    assert!(success && stdout.contains("Sandbox: off"), "{stdout}");
    let line = |id: &str| stdout.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("fal").ends_with("enabled"));
    assert!(line("openai").contains("OPENAI_API_KEY"));
    let (success, stdout, _) = shell.run(&["models"], &[]);
    assert!(success && stdout.contains("gpt-image-2") && stdout.contains("openai, fal"), "{stdout}");
}

/// `docs/models.md` is what `lumenfall reference` prints; `LUMENFALL_BLESS=1` writes it anew.
#[test]
fn the_reference_in_the_repository_is_current() {
    let (success, stdout, _) = Shell::new().run(&["reference"], &[]);
    assert!(success);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
    if std::env::var_os("LUMENFALL_BLESS").is_some() {
        std::fs::write(&path, &stdout).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == stdout,
        "docs/models.md is not what `lumenfall reference` prints"
    );
}

/// The simulators alone, for any client.
#[tokio::test]
async fn the_sandbox_serves_alone() {
    let shell = Shell::new();
    let mut command = shell.command(&["sandbox", "--listen", "127.0.0.1:0"], &[]);
    let mut serving = Serving(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(serving.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let base = line.split("example ").nth(1).unwrap().trim().trim_end_matches('.');
    let curl = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Authorization: Bearer k"];
    let answer = Command::new("curl").args(curl).arg(format!("{base}/models")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "200", "{base}");
}

/// Killed in the middle of a call: the intent is in the log, and the next start settles it.
#[tokio::test]
async fn a_kill_loses_no_row() {
    let shell = Shell::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sandbox = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, sandbox) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{sandbox}"));
    let key = "lmnfl_test.0123456789abcdef0123456789abcdef";
    let environment = [
        ("LUMENFALL_SERVER__LISTEN", listen.as_str()),
        ("LUMENFALL_SANDBOX__LISTEN", sandbox.as_str()),
        ("LUMENFALL_AUTH__BOOTSTRAP_KEY", key),
    ];
    let start =
        || Serving(shell.command(&[], &environment).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let curl = |arguments: &[&str]| {
        let auth = format!("Authorization: Bearer {key}");
        let mut command = Command::new("curl");
        command.args(["-s", "--max-time", "20", "-H", &auth, "-H", "Content-Type: application/json"]).args(arguments);
        let output = command.output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or(Value::Null)
    };
    let ready = async || {
        for _ in 0..100 {
            if curl(&[&format!("http://{listen}/readyz")])["status"] == "ready" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the gateway does not get ready");
    };
    let mut serving = start();
    ready().await;
    curl(&["-d", "{\"provider\": \"openai\", \"latency_ms\": 60000}", &format!("http://{sandbox}/_control")]);
    let body = "{\"model\": \"openai/gpt-image-2\", \"prompt\": \"a fox\"}";
    let url = format!("http://{listen}/v1/images/generations");
    let mut asking = Command::new("curl");
    let auth = format!("Authorization: Bearer {key}");
    asking.args(["-s", "--max-time", "20", "-H", &auth, "-H", "Content-Type: application/json", "-d", body, &url]);
    let mut asking = Serving(asking.stdout(Stdio::null()).spawn().unwrap());
    let list = format!("http://{listen}/v1/requests");
    let mut row = Value::Null;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        row = curl(&[&list])["data"][0].clone();
        if row["status"] == "processing" {
            break;
        }
    }
    assert_eq!(row["status"], "processing", "the intent is durable while the provider works");
    serving.0.kill().unwrap();
    serving.0.wait().unwrap();
    asking.0.wait().unwrap();
    serving = start();
    ready().await;
    let settled = curl(&[&list])["data"][0].clone();
    assert_eq!(settled["id"], row["id"]);
    assert_eq!((&settled["status"], &settled["error_code"]), (&Value::from("cancelled"), &Value::from("INTERRUPTED")));
    assert_eq!(settled["cost_uncertain"], row["cost_estimate"], "possibly spent, and said so");
    drop(serving);
}

#[test]
fn keys_from_the_command_line() {
    let shell = Shell::new();
    let (success, stdout, stderr) = shell.run(&["keys", "create", "--name", "ci", "--allow-model", "flux.*"], &[]);
    assert!(success, "{stderr}");
    let full = stdout.lines().find(|line| line.starts_with("lmnfl_")).unwrap();
    let id = full.trim_start_matches("lmnfl_").split('.').next().unwrap();
    let (_, stdout, _) = shell.run(&["keys", "list"], &[]);
    assert!(stdout.contains(id) && stdout.contains("active") && stdout.contains("ci"), "{stdout}");
    let secret = full.split('.').nth(1).unwrap();
    assert!(!stdout.contains(secret), "a secret is never listed");
    let (success, stdout, _) = shell.run(&["keys", "rotate", id], &[]);
    assert!(success && !stdout.contains(secret));
    assert!(shell.run(&["keys", "revoke", id], &[]).0);
    assert!(shell.run(&["keys", "list"], &[]).1.contains("revoked"));
    assert!(!shell.run(&["keys", "revoke", "nobody"], &[]).0);
}

/// A serving program, killed when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already when the test is about its end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first start as a newcomer sees it: the printed curl line, run as it stands, makes a picture.
#[tokio::test]
async fn the_first_start_prints_a_curl_that_works() {
    let shell = Shell::new();
    let environment = [("LUMENFALL_SERVER__LISTEN", "127.0.0.1:0"), ("PATH", "/usr/bin:/bin")];
    let mut command = shell.command(&[], &environment);
    let mut serving = Serving(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(serving.0.stdout.take().unwrap()).lines();
    let mut curl = String::new();
    let mut key = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        if line.trim().starts_with("lmnfl_") {
            line.trim().clone_into(&mut key);
        }
        let inside = line.trim().starts_with("curl") || (!curl.is_empty() && curl.ends_with("\\\n"));
        if inside {
            curl.push_str(line.trim());
            curl.push('\n');
        }
        if line.contains("client.images.generate") {
            break;
        }
    }
    assert!(!key.is_empty());
    let answer = Command::new("sh").arg("-c").arg(&curl).output().unwrap();
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{curl}"));
    assert_eq!(answer["size"], "1360x768", "{answer}");
    assert_eq!(answer["output_format"], "webp");

    // A second program cannot take the address, and says so.
    let address = curl.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let second = Shell::new();
    let (success, stdout, stderr) = second.run(&[], &[("LUMENFALL_SERVER__LISTEN", &address)]);
    assert!(!success && stderr.contains("cannot listen on"), "{stderr}");
    assert!(!stdout.contains("lmnfl_"), "no key is printed by a start that fails");
    let (success, stdout, _) = shell.run(&["health"], &[("LUMENFALL_SERVER__LISTEN", &address)]);
    assert!(success && stdout.contains("alive"));

    // SIGTERM ends it cleanly; the key survives, and is not printed again.
    assert!(Command::new("kill").args(["-TERM", &serving.0.id().to_string()]).status().unwrap().success());
    let ended =
        tokio::time::timeout(Duration::from_secs(20), tokio::task::spawn_blocking(move || serving.0.wait())).await;
    assert!(ended.unwrap().unwrap().unwrap().success(), "a clean end");
    let (success, stdout, _) = shell.run(&["keys", "list"], &[]);
    assert!(success && key.contains(stdout.lines().nth(1).unwrap().split_whitespace().next().unwrap()), "{stdout}");
}

//! `lumenfall catalog diff`: the catalog against the lists that the providers' simulators publish.

use super::kit::Kit;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the program prints, asked with credentials for the simulators and with an operator's files in `directory`.
fn diff(sandbox: SocketAddr, directory: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lumenfall"));
    command.args(["catalog", "diff"]).args(arguments).env_clear().current_dir(directory).stdin(Stdio::null());
    command.env("LUMENFALL_OUTBOUND__ALLOW_PRIVATE", "true");
    command.env("LUMENFALL_CATALOG__DIRECTORY", directory);
    for provider in ["openai", "openrouter", "fal", "replicate", "runware"] {
        let prefix = format!("LUMENFALL_PROVIDERS__{}", provider.to_uppercase());
        command.env(format!("{prefix}__BASE_URL"), format!("http://{sandbox}/{provider}"));
        command.env(format!("{prefix}__API_KEY"), format!("sandbox-{provider}"));
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_compared_with_the_catalog() {
    let kit = Kit::start().await;
    let (sandbox, home) = (kit.running.sandbox.unwrap(), tempfile::tempdir().unwrap());
    let run = async |arguments: &'static [&'static str]| {
        let directory = home.path().to_owned();
        tokio::task::spawn_blocking(move || diff(sandbox, &directory, arguments)).await.unwrap()
    };
    let (success, told, why) = run(&[]).await;
    assert!(success, "{why}");
    for provider in ["openai", "openrouter", "fal", "replicate", "runware"] {
        assert!(told.contains(&format!("{provider}: as the catalog says")), "{told}");
    }

    // Our side changes; the simulators list what the program was built with.
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write(
        "fal.toml",
        r#"
        [[route]]
        model = "flux.1-schnell"
        upstream = "fal-ai/flux/schnell"
        price = { source = "an old page", date = "2026-01-01", lines = [{ metric = "megapixel", unit_price = "0.009" }] }
        [[route]]
        model = "flux.1-dev"
        upstream = "fal-ai/flux/never-was"
        modes = ["text-to-image"]
        size = { rule = "none" }
        confidence = "documented"
        "#,
    );
    write("openai.toml", "[[route]]\nmodel = \"gpt-image-2\"\nupstream = \"gpt-image-2\"\ndisabled = true\n");
    write(
        "replicate.toml",
        "[[route]]\nmodel = \"flux.1-dev\"\nupstream = \"nobody/nothing\"\nmodes = [\"text-to-image\"]\nsize = { rule = \"none\" }\nconfidence = \"documented\"\n",
    );
    let (success, told, why) = run(&[]).await;
    assert!(success, "{why}");
    assert!(told.contains("price  fal-ai/flux/schnell: $0.003, the catalog says $0.009"), "{told}");
    assert!(told.contains("gone   fal-ai/flux/never-was"), "{told}");
    assert!(told.contains("gone   nobody/nothing"), "{told}");
    assert!(told.contains("new    gpt-image-2"), "{told}");
    let (success, told, why) = run(&["--provider", "openai"]).await;
    assert!(success && told.contains("new    gpt-image-2") && !told.contains("fal"), "{told} {why}");
    let (success, _, why) = run(&["--provider", "bfl"]).await;
    assert!(!success && why.contains("publish lists"), "{why}");
    kit.running.stop().await;
}

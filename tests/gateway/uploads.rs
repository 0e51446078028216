//! Uploads: what they cost in memory, how many are held at once, and files that mean harm.

use super::kit::{KEY, Kit, picture};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::post;
use futures::StreamExt;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;

const MEGABYTE: usize = 1 << 20;

/// The program in a process of its own, so that its memory can be read, with a plain server for OpenAI.
struct Program {
    process: Child,
    base: String,
    client: reqwest::Client,
    _home: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads an upload without keeping it, and answers with a picture after a while.
async fn provider(pause: Duration) -> String {
    let answer =
        json!({"created": 1, "data": [{"b64_json": base64_simd::STANDARD.encode_to_string(picture("png:64x64"))}]});
    let edit = move |body: Body| async move {
        let mut chunks = body.into_data_stream();
        let mut bytes = 0;
        while let Some(chunk) = chunks.next().await {
            bytes += chunk.unwrap().len();
        }
        tokio::time::sleep(pause).await;
        assert!(bytes > 0);
        axum::Json(answer)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(
        axum::serve(
            listener,
            Router::new().route("/images/edits", post(edit)).layer(axum::extract::DefaultBodyLimit::disable()),
        )
        .into_future(),
    );
    base
}

impl Program {
    async fn start(pause: Duration, settings: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lumenfall"));
        command.env_clear().current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
            .env("LUMENFALL_SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("LUMENFALL_AUTH__BOOTSTRAP_KEY", KEY)
            .env("LUMENFALL_PROVIDERS__OPENAI__BASE_URL", provider(pause).await)
            .env("LUMENFALL_PROVIDERS__OPENAI__API_KEY", "test-key")
            .env("LUMENFALL_OUTBOUND__ALLOW_PRIVATE", "true")
            .envs(settings.iter().copied());
        let process = command.spawn().unwrap();
        // Only the first of all tests in this process installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::ClientBuilder::new().no_proxy().build().unwrap();
        let program = Self { process, base: format!("http://127.0.0.1:{port}"), client, _home: home };
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if program.ready().await {
                return program;
            }
        }
        panic!("the gateway does not get ready");
    }

    async fn ready(&self) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the tests are the caller")]
        let answer = self.client.get(format!("{}/readyz", self.base)).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    async fn edit(&self, file: Bytes) -> (u16, Option<String>) {
        let part =
            Part::stream_with_length(file.clone(), file.len() as u64).file_name("a.png").mime_str("image/png").unwrap();
        let form = Form::new().text("model", "gpt-image-2").text("prompt", "a fox").part("image", part);
        let request = self.client.post(format!("{}/v1/images/edits", self.base)).bearer_auth(KEY).multipart(form);
        #[expect(clippy::disallowed_methods, reason = "the tests are the caller")]
        let answer = request.send().await.unwrap();
        let after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), after)
    }

    /// A line of the process's status, in bytes.
    fn memory(&self, line: &str) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let found = text.lines().find_map(|one| one.strip_prefix(line)).unwrap();
        found.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Forgets the peak so far; returns what is held now.
    fn forget_peak(&self) -> usize {
        let file = std::fs::OpenOptions::new().write(true).open(format!("/proc/{}/clear_refs", self.process.id()));
        file.unwrap().write_all(b"5").unwrap();
        self.memory("VmRSS")
    }
}

/// A sound PNG of about so many bytes: noise does not compress.
fn noise(bytes: usize) -> Bytes {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few thousand"
    )]
    let side = ((bytes / 3) as f64).sqrt() as u32;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    let pixels = image::RgbImage::from_fn(side, side, |_, _| image::Rgb([next(), next(), next()]));
    let mut file = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut file, image::ImageFormat::Png).unwrap();
    Bytes::from(file.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_costs_at_most_one_and_a_half_times_its_size() {
    let program = Program::start(Duration::from_millis(50), &[]).await;
    // What is allocated once (threads, connections, the log) is not an upload's.
    for _ in 0..3 {
        assert_eq!(program.edit(noise(MEGABYTE)).await.0, 200);
    }
    let file = noise(20 * MEGABYTE);
    assert!(file.len() >= 19 * MEGABYTE, "{}", file.len());
    let before = program.forget_peak();
    assert_eq!(program.edit(file.clone()).await.0, 200);
    let cost = program.memory("VmHWM") - before;
    assert!(cost * 2 <= file.len() * 3, "an upload of {} bytes took {cost} bytes", file.len());
    println!("an upload of {} bytes took {cost} bytes: {:.2}", file.len(), cost as f64 / file.len() as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_stay_under_the_cap_and_the_others_are_told_to_come_back() {
    let cap = 128 * MEGABYTE;
    let settings = [("LUMENFALL_SERVER__MAX_HELD_BYTES", "134217728")];
    let program = Program::start(Duration::from_secs(3), &settings).await;
    assert_eq!(program.edit(noise(MEGABYTE)).await.0, 200);
    let file = noise(10 * MEGABYTE);
    let before = program.forget_peak();
    let all = futures::future::join_all((0..100).map(|_| program.edit(file.clone()))).await;
    let cost = program.memory("VmHWM") - before;
    let served = all.iter().filter(|(status, _)| *status == 200).count();
    let refused = all.iter().filter(|(status, after)| *status == 503 && after.as_deref() == Some("1")).count();
    assert_eq!(served + refused, 100, "{all:?}");
    assert!((1..=60).contains(&served) && refused >= 40, "{served} served, {refused} refused");
    // Beside the uploads, a hundred connections have buffers.
    assert!(cost <= cap + cap / 2, "{cost} bytes for a cap of {cap}");
    assert_eq!(program.edit(file).await.0, 200, "the room is given back");
    println!("{served} served, {refused} refused, {} MB for a cap of {} MB", cost / MEGABYTE, cap / MEGABYTE);
}

/// `(what, file)`: each is refused before anything is asked of a provider.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let png = picture("png:64x64");
    let half = |spec: &str| {
        let file = picture(spec);
        file[..file.len() / 2].to_vec()
    };
    let header = |kind: &[u8; 4], content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        let crc = png_crc(kind, content).to_be_bytes();
        [&length[..], kind, content, &crc].concat()
    };
    let huge = [60_000u32.to_be_bytes(), 60_000u32.to_be_bytes()].concat();
    let start = &png[..8];
    let ihdr = [&huge[..], &[8, 2, 0, 0, 0]].concat();
    let bomb = [start, &header(b"IHDR", &ihdr), &header(b"IDAT", &[0; 64]), &header(b"IEND", &[])].concat();
    let mut liar = png.clone();
    let idat = liar.windows(4).position(|window| window == b"IDAT").unwrap();
    liar[idat - 4..idat].copy_from_slice(&0x7fff_0000u32.to_be_bytes());
    vec![
        ("an empty file", Vec::new()),
        ("half a PNG", half("png:64x64")),
        ("half a JPEG", half("jpeg:64x64")),
        ("half a WebP", half("webp:64x64")),
        ("half a GIF", half("gif:64x64")),
        ("half an AVIF", half("avif:64x64")),
        ("a PNG without pixels", [start, &header(b"IHDR", &[0; 13]), &header(b"IEND", &[])].concat()),
        ("a PNG of 3.6 gigapixels", bomb),
        ("a chunk longer than the file", liar),
        ("a GIF of 65535 by 65535", [b"GIF89a".as_slice(), &[0xff; 4], &[0, 0, 0, 0x3b]].concat()),
        ("a WebP of 38 bytes that claims 16383 by 16383", webp_bomb()),
        ("a text", b"hello, this is not a picture at all".to_vec()),
        ("a page", b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>".to_vec()),
        ("a ZIP", [b"PK\x03\x04".as_slice(), &[0; 60]].concat()),
        ("a program", [b"\x7fELF".as_slice(), &[0; 60]].concat()),
        ("a PDF", b"%PDF-1.7\n%%EOF\n".to_vec()),
        ("a video", [b"\0\0\0\x18ftypisom".as_slice(), &[0; 60]].concat()),
        ("a TIFF", [b"II*\0".as_slice(), &[0; 60]].concat()),
        ("an SVG without an end", b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><g>".to_vec()),
        (
            "an SVG of a billion laughs",
            laughs().into_bytes(),
        ),
        (
            "an SVG with entities",
            b"<!DOCTYPE svg [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\"><!ENTITY e \"&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;\">]><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><desc>&e;&e;&e;&e;&e;&e;</desc></svg>".to_vec(),
        ),
        (
            "an SVG of 100000 by 100000",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100000\" height=\"100000\"></svg>".to_vec(),
        ),
    ]
}

fn laughs() -> String {
    let levels = (1..40).map(|level| {
        let below = level - 1;
        format!("<g id=\"a{level}\"><use href=\"#a{below}\"/><use href=\"#a{below}\"/></g>")
    });
    let inner: String = levels.collect();
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><g id=\"a0\"/>{inner}</svg>")
}

/// A lossless WebP whose header claims the largest picture that the format has.
fn webp_bomb() -> Vec<u8> {
    let bits: u32 = 0x3ffe | 0x3ffe << 14;
    let mut body = vec![0x2f];
    body.extend_from_slice(&bits.to_le_bytes());
    body.resize(12, 0x88);
    let riff = u32::try_from(4 + 8 + body.len()).unwrap().to_le_bytes();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [b"RIFF", &riff[..], b"WEBPVP8L", &length, &body].concat()
}

fn png_crc(kind: &[u8], content: &[u8]) -> u32 {
    let bytes = kind.iter().chain(content);
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[tokio::test]
async fn files_that_are_broken_or_mean_harm_are_refused() {
    let kit = Kit::start().await;
    for (what, file) in corpus() {
        // As an upload, whatever it calls itself, and as base64.
        let part = Part::bytes(file.clone()).file_name("a.png").mime_str("image/png").unwrap();
        let form = Form::new().text("model", "openai/gpt-image-2").text("prompt", "a fox").part("image", part);
        let base = kit.base.clone();
        let got =
            kit.raw(|client, _| client.post(format!("{base}/v1/images/edits")).bearer_auth(KEY).multipart(form)).await;
        assert_eq!((got.error().0, got.error().1), (400, "INVALID_REQUEST"), "{what}: {}", got.json);
        let uri = format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(&file));
        let body = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "image": uri});
        let got = kit.post("/v1/images/edits", &body).await;
        assert_eq!((got.error().0, got.error().1), (400, "INVALID_REQUEST"), "{what}: {}", got.json);
        assert!(got.json["error"]["message"].as_str().unwrap().len() < 400, "{what}");
        let mask = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "mask": uri,
            "image": format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(picture("png:64x64")))});
        let got = kit.post("/v1/images/edits", &mask).await;
        assert_eq!(got.error().0, 400, "{what} as a mask: {}", got.json);
    }
    assert_eq!(kit.bills().await["totals"], json!({}), "nothing reached a provider");
    assert_ne!(kit.get("/v1/models").await.json, Value::Null);
    kit.running.stop().await;
}

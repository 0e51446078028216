//! Edits, against the API reference, with the real catalog.

use crate::Sandbox;
use crate::catalog::load;
use crate::media::{Format, Size, draw};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt;

fn sandbox() -> Sandbox {
    let models = include_str!("../../../../config/catalog/models.toml");
    let routes = include_str!("../../../../config/catalog/openai.toml");
    Sandbox::new(Arc::new(load([("models", models), ("openai", routes)]).unwrap()))
}

fn picture(width: u32, height: u32, format: Format) -> Vec<u8> {
    draw("in", Size::new(width, height), format).unwrap().to_vec()
}

/// A form of texts and files; a file's part has a file name.
fn form(texts: &[(&str, &str)], files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, text) in texts {
        let head = format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        body.extend_from_slice(head.as_bytes());
    }
    for (name, file) in files {
        let head = format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--x--\r\n");
    body
}

async fn edit(sandbox: &Sandbox, texts: &[(&str, &str)], files: &[(&str, Vec<u8>)]) -> (u16, Value) {
    let usual = [("prompt", "a hat"), ("model", "gpt-image-2"), ("quality", "low")];
    let said = |name: &str| texts.iter().any(|(other, _)| *other == name);
    let texts: Vec<_> = usual.iter().filter(|(name, _)| !said(name)).chain(texts).copied().collect();
    let request = Request::post("/openai/images/edits")
        .header("authorization", "Bearer sk-test")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Body::from(form(&texts, files)))
        .unwrap();
    let response = sandbox.router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn edits_read_pictures_and_bill_them() {
    let sandbox = sandbox();
    let files = [("image[]", picture(64, 64, Format::Png)), ("image[]", picture(1024, 1536, Format::Jpeg))];
    let (status, body) = edit(&sandbox, &[("size", "1024x1024"), ("n", "2")], &files).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["data"].as_array().unwrap().len(), 2);
    // 65 + 129 for one tile; the other is 768 at a short side of 512: two tiles.
    assert_eq!(body["usage"]["input_tokens_details"]["image_tokens"], 194 + 65 + 258);
    assert_eq!(body["usage"]["input_tokens"], 2 + 517);
    // 2 · $5 + 517 · $8 + 2 · 196 · $30 a million, as ceil(16 · 16 · 3,048,576 / 4,000,000) is 196
    let totals = serde_json::to_value(sandbox.world.book.read().totals["openai"]).unwrap();
    assert_eq!(totals["billed_usd"], "0.015906");
}

#[tokio::test(start_paused = true)]
async fn edits_refuse_bad_files_and_foreign_parameters() {
    let sandbox = sandbox();
    let image = || ("image", picture(64, 64, Format::Png));
    let mask = |width, format| ("mask", picture(width, 64, format));
    for (texts, files, param, code) in [
        (vec![], vec![], "image", "missing_required_parameter"),
        (vec![], vec![("image", b"GIF89a".to_vec())], "image", "invalid_image_file"),
        (vec![], vec![image(), mask(32, Format::Png)], "mask", "invalid_image_file"),
        (vec![], vec![image(), mask(64, Format::Jpeg)], "mask", "invalid_image_file"),
        (vec![], vec![image(); 17], "image", "array_above_max_length"),
        (vec![("moderation", "low")], vec![image()], "moderation", "unknown_parameter"),
        (vec![("response_format", "url")], vec![image()], "response_format", "unknown_parameter"),
        (vec![("input_fidelity", "high")], vec![image()], "input_fidelity", "invalid_input_fidelity_model"),
        (vec![("n", "two")], vec![image()], "n", "invalid_type"),
    ] {
        let (status, body) = edit(&sandbox, &texts, &files).await;
        let error = &body["error"];
        assert_eq!(status, 400, "{param}: {body}");
        assert_eq!((&error["param"], &error["code"]), (&param.into(), &code.into()), "{error}");
    }
    let older = [("model", "gpt-image-1.5"), ("input_fidelity", "high")];
    assert_eq!(edit(&sandbox, &older, &[image()]).await.0, 200);
    assert_eq!(edit(&sandbox, &[], &[image(), mask(64, Format::Png)]).await.0, 200);
    let vector = [("model", "gpt-image-2.6-flare"), ("output_format", "svg"), ("complexity", "low")];
    assert_eq!(edit(&sandbox, &vector, &[image()]).await.1["output_format"], "svg");
}

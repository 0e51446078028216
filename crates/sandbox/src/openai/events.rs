//! A streamed answer: unfinished pictures, then each finished one.

use super::super::easel::Motif;
use super::super::mischief;
use super::super::world::World;
use super::request::Order;
use super::usage;
use crate::base::Timestamp;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// The finished pictures, `data` as in an answer of one piece, with unfinished ones before them. Half of it when `cut`.
pub(super) async fn answer(world: &World, order: &Order, data: &[Value], cut: bool) -> Response {
    let family = if order.edit { "image_edit" } else { "image_generation" };
    let mut text = String::new();
    for (index, item) in (0u32..).zip(data) {
        for partial in 0..order.stream.unwrap_or(0) {
            // Another drawing stands for an unfinished one.
            let prompt: Arc<str> = format!("{} ({partial})", order.prompt).into();
            let motif = Motif { prompt, index, size: order.size, format: order.format, black: false };
            let Some(file) = world.easel.draw(&motif).await else { continue };
            let mut event = said(order, &format!("{family}.partial_image"));
            event["b64_json"] = base64_simd::STANDARD.encode_to_string(&file).into();
            event["partial_image_index"] = partial.into();
            write(&mut text, &event);
        }
        let mut event = said(order, &format!("{family}.completed"));
        event["b64_json"] = item["b64_json"].clone();
        event["usage"] = usage::report(order);
        write(&mut text, &event);
    }
    if cut {
        return mischief::truncate("text/event-stream; charset=utf-8", &text.into());
    }
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], text).into_response()
}

fn said(order: &Order, kind: &str) -> Value {
    json!({
        "type": kind,
        "created_at": Timestamp::now().seconds(),
        "size": order.size.to_string(),
        "quality": order.quality,
        "background": order.background,
        "output_format": order.format.name(),
    })
}

fn write(text: &mut String, event: &Value) {
    let kind = event["type"].as_str().unwrap_or_default();
    // Writing to a text cannot fail.
    let _ = write!(text, "event: {kind}\ndata: {event}\n\n");
}

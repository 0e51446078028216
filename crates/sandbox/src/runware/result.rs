//! What a finished task hands over: its items, and the files behind their links.

use super::super::book::{Entry, Operation};
use super::super::clip::clip;
use super::super::easel::Motif;
use super::super::identity::fresh_uuid;
use super::super::mischief;
use super::super::steering::Fault;
use super::request::{Handover, Order};
use super::{Desk, ID, hosted};
use crate::catalog::Route;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Linked files that are kept.
const KEPT: usize = 4_000;

/// A file behind a link: a picture, or the clip.
#[derive(Clone)]
struct Linked {
    name: String,
    route: Arc<Route>,
    motif: Option<Motif>,
}

/// What is behind the links.
#[derive(Default)]
pub(super) struct Shelf(Mutex<VecDeque<Linked>>);

impl Shelf {
    fn add(&self, name: &str, route: &Arc<Route>, motif: Option<Motif>) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.push_back(Linked { name: name.to_owned(), route: Arc::clone(route), motif });
        if files.len() > KEPT {
            files.pop_front();
        }
    }

    fn find(&self, name: &str) -> Option<Linked> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().find(|file| file.name == name).cloned()
    }
}

/// One item for each result; none when a fault takes them away.
pub(super) async fn items(
    desk: &Desk,
    route: &Arc<Route>,
    order: &Order,
    task: &str,
    base: &str,
    fault: Option<Fault>,
) -> Vec<Value> {
    let count = if fault == Some(Fault::Empty) { 0 } else { order.count };
    let mut items = Vec::new();
    for index in 0..count {
        let mut item =
            if order.video { video(desk, route, base) } else { picture(desk, route, order, index, base, fault).await };
        item["taskUUID"] = task.into();
        item["seed"] = (order.seed + i64::from(index)).into();
        if order.later {
            item["status"] = "success".into();
        }
        if let Some(price) = order.price.filter(|_| order.tells_cost) {
            item["cost"] = price.as_number().into();
        }
        items.push(item);
    }
    items
}

fn video(desk: &Desk, route: &Arc<Route>, base: &str) -> Value {
    let id = fresh_uuid();
    let name = format!("{id}.mp4");
    desk.shelf.add(&name, route, None);
    json!({"taskType": "videoInference", "videoUUID": id, "videoURL": format!("{base}/files/{name}")})
}

async fn picture(
    desk: &Desk,
    route: &Arc<Route>,
    order: &Order,
    index: u32,
    base: &str,
    fault: Option<Fault>,
) -> Value {
    let id = fresh_uuid();
    let plain =
        Motif { prompt: Arc::clone(&order.prompt), index, size: order.size, format: order.format, black: false };
    let mut item = json!({"taskType": "imageInference", "imageUUID": id});
    if order.checked {
        item["NSFWContent"] = (hosted(route) && order.prompt.contains("[refuse]")).into();
    }
    if order.handover == Handover::Link {
        let name = format!("{id}.{}", order.format.extension());
        item["imageURL"] = format!("{base}/files/{name}").into();
        desk.shelf.add(&name, route, Some(plain));
        return item;
    }
    let file = desk.world.easel.draw(&spoil(plain, fault)).await.unwrap_or_default();
    let data = base64_simd::STANDARD.encode_to_string(&file);
    if order.handover == Handover::Base64 {
        item["imageBase64Data"] = data.into();
    } else {
        item["imageDataURI"] = format!("data:{};base64,{data}", order.format.mime()).into();
    }
    item
}

fn spoil(motif: Motif, fault: Option<Fault>) -> Motif {
    match fault {
        Some(Fault::WrongType) => motif.wrong_type(),
        Some(Fault::WrongSize) => motif.wrong_size(),
        _ => motif,
    }
}

/// A result file: public.
pub(super) async fn file(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Response {
    let Some(Linked { route, motif, .. }) = desk.shelf.find(&name) else {
        desk.world.book.write(Entry::new(ID, Operation::File, 404));
        return StatusCode::NOT_FOUND.into_response();
    };
    let picked = desk.world.rules.pick(ID, &route, |fault| fault.is_some_and(Fault::at_file));
    let fault = picked.and_then(|rule| rule.fault);
    let (mime, file) = match motif {
        Some(motif) => (motif.format.mime(), desk.world.easel.draw(&spoil(motif, fault)).await.unwrap_or_default()),
        None => ("video/mp4", clip(route.video.as_ref().map_or(1, |video| video.default) * 1000)),
    };
    desk.world.book.write(Entry::new(ID, Operation::File, 200).model(&route.upstream));
    if fault == Some(Fault::Truncate) {
        return mischief::truncate(mime, &file);
    }
    ([(header::CONTENT_TYPE, mime)], file).into_response()
}

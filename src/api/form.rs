//! Reads `multipart/form-data` within bounds: text parts become JSON fields, files stay bytes.

use super::inputs::NAMES;
use super::intake::{Claim, Intake, discard};
use crate::error::{Error, ErrorKind};
use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde_json::{Map, Value};

/// Most parts that a form may have.
const MAX_PARTS: usize = 128;

/// A form, read whole.
pub(super) struct Form {
    /// Text parts, by name; the last of a name wins.
    pub(super) fields: Map<String, Value>,
    /// File parts, in order, and text parts that hold links where a file could stand.
    pub(super) files: Vec<(String, Part)>,
    /// Bytes of everything.
    pub(super) bytes: usize,
}

/// What stands where a picture could stand.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// An uploaded file.
    File(Bytes),
    /// An address, a data URI or base64.
    Text(String),
}

/// Whether a part of that name holds a picture or a video: `image`, `image[]`, `image[0]`, `images[]`, `mask`, …
fn holds_picture(name: &str) -> bool {
    let stem = name.split('[').next().unwrap_or_default();
    stem == "mask" || NAMES.contains(&stem)
}

/// Reads the form of `body`, at most `limit` bytes of it, each file into one piece of memory. Room for all of it is
/// claimed before it is read.
pub(super) async fn read(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    intake: &Intake,
    claim: &mut Claim,
) -> Result<Form, Error> {
    let said = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let boundary = multer::parse_boundary(said(header::CONTENT_TYPE).unwrap_or_default())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "The multipart Content-Type has no boundary."))?;
    let announced = said(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    if let Err(full) = intake.claim(claim, announced.unwrap_or(0)) {
        discard(body, limit).await;
        return Err(full);
    }
    let mut room = Room { intake, claim, announced, read: 0 };
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(limit as u64));
    let mut multipart = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
    let mut form = Form { fields: Map::new(), files: Vec::new(), bytes: 0 };
    let mut parts = 0;
    while let Some(part) = multipart.next_field().await.map_err(|error| broken(&error, limit))? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Error::new(ErrorKind::InvalidRequest, format!("The form has more than {MAX_PARTS} parts.")));
        }
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some();
        let bytes = room.collect(part, limit).await?;
        form.bytes += bytes.len();
        if holds_picture(&name) && (is_file || std::str::from_utf8(&bytes).is_err()) {
            form.files.push((name, picture_part(bytes)));
            continue;
        }
        let text = String::from_utf8(bytes.to_vec())
            .map_err(|_| Error::invalid(&name, format!("The form part '{name}' is not text.")))?;
        if holds_picture(&name) {
            form.files.push((name, Part::Text(text)));
        } else {
            form.fields.insert(name, Value::from(text));
        }
    }
    Ok(form)
}

/// The memory of one form.
struct Room<'a> {
    intake: &'a Intake,
    claim: &'a mut Claim,
    /// Bytes of the whole body, when the client says so beforehand: then room for them is claimed already.
    announced: Option<usize>,
    read: usize,
}

impl Room<'_> {
    /// Reads a part. A buffer that grows by doubling would hold twice the file.
    async fn collect(&mut self, mut part: Field<'_>, limit: usize) -> Result<Bytes, Error> {
        let left = self.announced.map_or(0, |all| all.saturating_sub(self.read));
        let expected = if part.file_name().is_some() { left } else { 0 };
        let mut whole = Vec::with_capacity(expected);
        while let Some(chunk) = part.chunk().await.map_err(|error| broken(&error, limit))? {
            self.read += chunk.len();
            if self.announced.is_none() {
                self.intake.claim(self.claim, chunk.len())?;
            }
            whole.extend_from_slice(&chunk);
        }
        whole.shrink_to_fit();
        Ok(Bytes::from(whole))
    }
}

/// Some clients send a link as the content of a file part.
fn picture_part(bytes: Bytes) -> Part {
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.starts_with("https://") || text.starts_with("data:") => Part::Text(text.trim().to_owned()),
        _ => Part::File(bytes),
    }
}

fn broken(error: &multer::Error, limit: usize) -> Error {
    match error {
        multer::Error::StreamSizeExceeded { .. } => too_large(limit),
        other => Error::new(ErrorKind::InvalidRequest, format!("The form could not be read: {other}.")),
    }
}

fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("The request body is larger than the limit of {limit} bytes."))
}

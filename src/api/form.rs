//! Reads `multipart/form-data` within bounds: text parts become JSON fields, files stay bytes.

use crate::error::{Error, ErrorKind};
use axum::body::Body;
use bytes::Bytes;
use multer::{Constraints, Multipart, SizeLimit};
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
    matches!(
        stem,
        "image" | "images" | "mask" | "image_url" | "image_base64" | "input_reference" | "video" | "video_url"
    )
}

/// Reads the form of `body`, at most `limit` bytes of it.
pub(super) async fn read(body: Body, content_type: &str, limit: usize) -> Result<Form, Error> {
    let boundary = multer::parse_boundary(content_type)
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "The multipart Content-Type has no boundary."))?;
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
        let bytes = part.bytes().await.map_err(|error| broken(&error, limit))?;
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

/// Some clients send a link as the content of a file part.
fn picture_part(bytes: Bytes) -> Part {
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.starts_with("https://") || text.starts_with("data:") => Part::Text(text.trim().to_owned()),
        _ => Part::File(bytes),
    }
}

fn broken(error: &multer::Error, limit: usize) -> Error {
    match error {
        multer::Error::StreamSizeExceeded { .. } => {
            Error::new(ErrorKind::TooLarge, format!("The request body is larger than the limit of {limit} bytes."))
        }
        other => Error::new(ErrorKind::InvalidRequest, format!("The form could not be read: {other}.")),
    }
}

//! Reads `multipart/form-data` within bounds: text parts become JSON fields, files stay bytes.

use super::input_source::{InputSource, is_input};
use crate::api::body_budget::{BodyBudget, BudgetPermit, drain};
use crate::api::state::Api;
use crate::error::{Error, ErrorKind};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, header};
use bytes::Bytes;
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde_json::{Map, Value};

/// Most parts that a form may have.
const MAX_PARTS: usize = 128;

/// A form, read whole.
pub(in crate::api) struct Form {
    /// Text parts, by name; the last of a name wins.
    pub(in crate::api) fields: Map<String, Value>,
    /// Pictures and videos, in order.
    pub(in crate::api) inputs: Vec<(String, InputSource)>,
    /// Bytes of everything.
    pub(in crate::api) bytes: usize,
    pub(in crate::api) permit: BudgetPermit,
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(in crate::api) fn is_form(headers: &HeaderMap) -> bool {
    header_text(headers, header::CONTENT_TYPE).unwrap_or_default().trim_start().starts_with("multipart/form-data")
}

/// Reads a form, each file into one piece of memory. The memory is reserved before anything is read.
pub(in crate::api) async fn read_form(api: &Api, headers: &HeaderMap, body: Body) -> Result<Form, Error> {
    let limit = api.max_body_bytes;
    let boundary = multer::parse_boundary(header_text(headers, header::CONTENT_TYPE).unwrap_or_default())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "The multipart Content-Type has no boundary."))?;
    let announced = header_text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut permit = BudgetPermit::default();
    if let Err(full) = api.body_budget.reserve(&mut permit, announced.unwrap_or(0)) {
        drain(body, limit).await;
        return Err(full);
    }
    let mut memory = FormMemory { budget: &api.body_budget, permit: &mut permit, announced, read: 0 };
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(limit as u64));
    let mut multipart = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
    let (mut fields, mut inputs, mut total) = (Map::new(), Vec::new(), 0);
    let mut parts = 0;
    while let Some(part) = multipart.next_field().await.map_err(|error| unreadable(&error, limit))? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Error::new(ErrorKind::InvalidRequest, format!("The form has more than {MAX_PARTS} parts.")));
        }
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some();
        let bytes = memory.read_part(part, limit).await?;
        total += bytes.len();
        if is_input(&name) && (is_file || std::str::from_utf8(&bytes).is_err()) {
            inputs.push((name, file_source(bytes)));
            continue;
        }
        let text = String::from_utf8(bytes.to_vec())
            .map_err(|_| Error::invalid(&name, format!("The form part '{name}' is not text.")))?;
        if is_input(&name) {
            inputs.push((name, InputSource::Text(text)));
        } else {
            fields.insert(name, Value::from(text));
        }
    }
    Ok(Form { fields, inputs, bytes: total, permit })
}

/// The memory of one form.
struct FormMemory<'a> {
    budget: &'a BodyBudget,
    permit: &'a mut BudgetPermit,
    /// The Content-Length; it is reserved already.
    announced: Option<usize>,
    read: usize,
}

impl FormMemory<'_> {
    /// Reads a part. A buffer that grows by doubling would take twice the file.
    async fn read_part(&mut self, mut part: Field<'_>, limit: usize) -> Result<Bytes, Error> {
        let left = self.announced.map_or(0, |all| all.saturating_sub(self.read));
        let expected = if part.file_name().is_some() { left } else { 0 };
        let mut whole = Vec::with_capacity(expected);
        while let Some(chunk) = part.chunk().await.map_err(|error| unreadable(&error, limit))? {
            self.read += chunk.len();
            if self.announced.is_none() {
                self.budget.reserve(self.permit, chunk.len())?;
            }
            whole.extend_from_slice(&chunk);
        }
        whole.shrink_to_fit();
        Ok(Bytes::from(whole))
    }
}

/// Some clients send a link as the content of a file part.
fn file_source(bytes: Bytes) -> InputSource {
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.starts_with("https://") || text.starts_with("data:") => {
            InputSource::Text(text.trim().to_owned())
        }
        _ => InputSource::File(bytes),
    }
}

fn unreadable(error: &multer::Error, limit: usize) -> Error {
    match error {
        multer::Error::StreamSizeExceeded { .. } => too_large(limit),
        other => Error::new(ErrorKind::InvalidRequest, format!("The form could not be read: {other}.")),
    }
}

fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("The request body is larger than the limit of {limit} bytes."))
}

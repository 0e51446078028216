//! Reads `multipart/form-data`: what `POST /images/edits` takes. No more of RFC 7578 than the SDKs send.

use super::error::Refusal;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde_json::{Map, Value};

/// More parts than any edit has.
const MOST_PARTS: usize = 64;

/// A form, taken apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    /// The text parts, with numbers and truth values read as such.
    pub(super) fields: Map<String, Value>,
    /// The file parts, by name, in order.
    pub(super) files: Vec<(String, Bytes)>,
}

impl Form {
    /// Reads a body by what its headers say of it.
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, Refusal> {
        let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = boundary(said).ok_or_else(|| Refusal::foreign(said))?;
        split(body, boundary).ok_or_else(Refusal::garbled)
    }

    /// The files of the parts with one of those names.
    pub(super) fn files(&self, names: &[&str]) -> Vec<Bytes> {
        self.files.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, file)| file.clone()).collect()
    }
}

/// `multipart/form-data; boundary=…`
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut parameters = parameters.split(';').filter_map(|one| one.trim().split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    Some(value.trim_matches('"')).filter(|value| !value.is_empty())
}

/// The parts between the boundaries; none when the body does not begin with one or does not end.
fn split(body: &Bytes, boundary: &str) -> Option<Form> {
    let mark = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&mark.as_bytes()[2..]).map(|rest| body.slice_ref(rest))?;
    let mut form = Form::default();
    for _ in 0..=MOST_PARTS {
        if rest.starts_with(b"--") {
            return Some(form);
        }
        let head = find(&rest, b"\r\n\r\n")?;
        let content = rest.slice(head + 4..);
        let end = find(&content, mark.as_bytes())?;
        form.add(std::str::from_utf8(&rest[..head]).ok()?, content.slice(..end))?;
        rest = content.slice(end + mark.len()..);
    }
    None
}

impl Form {
    /// A part by its headers: a file when it has a file name.
    fn add(&mut self, headers: &str, content: Bytes) -> Option<()> {
        let mut lines = headers.lines().filter_map(|line| line.split_once(':'));
        let (_, disposition) = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
        let parameter = |wanted: &str| {
            let mut all = disposition.split(';').filter_map(|one| one.trim().split_once('='));
            all.find(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"'))
        };
        let name = parameter("name")?.to_owned();
        if parameter("filename").is_some() {
            self.files.push((name, content));
        } else {
            self.fields.insert(name, value(std::str::from_utf8(&content).ok()?));
        }
        Some(())
    }
}

/// A form has texts only: what reads as a whole number or a truth value is one.
fn value(text: &str) -> Value {
    match (text.parse::<i64>(), text) {
        (Ok(number), _) => number.into(),
        (_, "true") => true.into(),
        (_, "false") => false.into(),
        _ => text.into(),
    }
}

/// Where `mark` begins.
fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    let first = *mark.first()?;
    let mut from = 0;
    loop {
        from += text.get(from..)?.iter().position(|byte| *byte == first)?;
        if text[from..].starts_with(mark) {
            return Some(from);
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_forms_apart() {
        let body = Bytes::from_static(
            b"--x\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n2\r\n--x\r\n\
              content-disposition: form-data; name=\"image[]\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
              \r\n--\x00\r\n--x--\r\n",
        );
        let form = split(&body, "x").unwrap();
        assert_eq!(form.fields["n"], 2);
        assert_eq!(form.files(&["image[]"]), [&b"\r\n--\x00"[..]]);
        assert!(split(&body.slice(..body.len() - 8), "x").is_none(), "cut off");
        assert!(split(&body, "y").is_none());
        assert_eq!(boundary("multipart/form-data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("application/json"), None);
    }
}

//! `multipart/form-data`: as much of RFC 7578 as the providers' clients send, for the simulators whose providers want it.
//! Bounded: so many parts, so much head for each; the listener bounds the whole.

#[cfg(test)]
pub(super) mod probe;

use crate::media::{Facts, Limits, inspect};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde_json::{Map, Value};

const MOST_PARTS: usize = 64;
const MOST_HEAD: usize = 8 * 1024;
const NEWLINE: &[u8] = b"\r\n";

/// A form as it came.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: String,
    /// A part with a file name is a file, whatever is in it.
    is_file: bool,
    content: Bytes,
}

impl Form {
    /// Reads a body, or says why it is none.
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, &'static str> {
        let delimiter = format!("--{}", boundary(headers).ok_or("the body must be multipart/form-data")?);
        let closing = [NEWLINE, delimiter.as_bytes()].concat();
        let mut fields = Vec::new();
        let mut at = find(body, 0, delimiter.as_bytes()).ok_or("the form has no parts")? + delimiter.len();
        while !body.get(at..).unwrap_or_default().starts_with(b"--") {
            if fields.len() == MOST_PARTS {
                return Err("the form has too many parts");
            }
            let start =
                find(body, at, b"\r\n\r\n").filter(|end| end - at <= MOST_HEAD).ok_or("a part has no head")? + 4;
            let end = find(body, start, &closing).ok_or("a part has no end")?;
            let head = String::from_utf8_lossy(body.get(at..start).unwrap_or_default());
            fields.push(Field::new(&head, body.slice(start..end)).ok_or("a part has no name")?);
            at = end + closing.len();
        }
        Ok(Self(fields))
    }

    /// The names of the parts, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|field| field.name.as_str())
    }

    /// A text part; `None` when there is none or it is not text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|field| field.name == name && !field.is_file)?;
        std::str::from_utf8(&field.content).ok()
    }

    /// Every text part, as a JSON body would hold it: for providers that take either.
    pub(super) fn texts(&self) -> Map<String, Value> {
        let texts = self.0.iter().filter(|field| !field.is_file);
        texts.map(|field| (field.name.clone(), String::from_utf8_lossy(&field.content).into())).collect()
    }

    /// The files of that name.
    pub(super) fn files<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.0.iter().filter(move |field| field.name == name && field.is_file).map(|field| &field.content)
    }

    /// What the picture of that name is; an error when there is a file that is no picture.
    pub(super) fn picture(&self, name: &str) -> Result<Option<Facts>, String> {
        let Some(file) = self.files(name).next() else { return Ok(None) };
        inspect(file, &Limits::default()).map(Some).map_err(|flaw| format!("{name}: {flaw}"))
    }

    /// A text that must be one of these.
    pub(super) fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, String> {
        match self.text(name) {
            Some(value) if !allowed.contains(&value) => Err(format!("{name}: must be one of {}", allowed.join(", "))),
            value => Ok(value),
        }
    }

    /// A number within these bounds.
    pub(super) fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.trim().parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| format!("{name}: must be a number from {least} to {most}"))
    }
}

impl Field {
    fn new(head: &str, content: Bytes) -> Option<Self> {
        let about = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        })?;
        let is_file = parameter(about, "filename").or_else(|| parameter(about, "filename*")).is_some();
        Some(Self { name: parameter(about, "name")?.to_owned(), is_file, content })
    }
}

fn boundary(headers: &HeaderMap) -> Option<&str> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let form = kind.split(';').next()?.trim().eq_ignore_ascii_case("multipart/form-data");
    parameter(kind, "boundary").filter(|boundary| form && !boundary.is_empty())
}

/// `; name="value"` or `; name=value`
fn parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// Where `needle` next stands.
fn find(body: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut at = from;
    loop {
        at += body.get(at..)?.iter().position(|byte| byte == first)?;
        if body.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &'static [u8]) -> Result<Form, &'static str> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        Form::read(&headers, &Bytes::from_static(body))
    }

    #[test]
    fn reads_texts_and_files() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na\r\nfox\r\n--b\r\n\
            content-disposition: form-data; name=\"image\"; filename=\"a;b.png\"\r\nContent-Type: image/png\r\n\r\n\
            \x00--b\r\n\r\n\r\n--b\r\ncontent-disposition: form-data; name=none; filename=\"\"\r\n\r\n\r\n--b--\r\n";
        let form = read("multipart/form-data; boundary=\"b\"", body).unwrap();
        assert_eq!(form.names().collect::<Vec<_>>(), ["prompt", "image", "none"]);
        assert_eq!((form.text("prompt"), form.text("image")), (Some("a\r\nfox"), None));
        assert_eq!(form.files("image").next().unwrap().as_ref(), b"\x00--b\r\n\r\n");
        assert_eq!(form.texts().len(), 1);
        assert!(form.picture("image").is_err() && form.picture("mask").unwrap().is_none());
    }

    #[test]
    fn says_what_is_wrong_with_a_form() {
        let kind = "multipart/form-data; boundary=b";
        assert!(read("application/json", b"{}").is_err());
        assert!(read("multipart/form-data", b"--b--").is_err());
        for broken in [&b""[..], b"--b", b"--b\r\nx", b"--b\r\nx: y\r\n\r\nz\r\n--b--", b"--b\r\nx: y\r\n\r\nz"] {
            assert!(read(kind, broken).is_err(), "{broken:?}");
        }
        assert!(read(kind, b"--b--").is_ok());
        let many = b"--b\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n".repeat(65);
        assert!(read(kind, many.leak()).is_err());
    }

    #[test]
    fn checks_values() {
        let body = b"--b\r\ncontent-disposition: form-data; name=n\r\n\r\n3\r\n--b--";
        let form = read("multipart/form-data; boundary=b", body).unwrap();
        assert_eq!(form.number("n", 1.0, 3.0), Ok(Some(3.0)));
        assert!(form.number("n", 1.0, 2.0).is_err() && form.one_of("n", &["1", "2"]).is_err());
        assert_eq!((form.number("m", 0.0, 1.0), form.one_of("n", &["3"])), (Ok(None), Ok(Some("3"))));
    }
}

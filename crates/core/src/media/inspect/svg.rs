//! SVG: the root tag for the size, the closing tag for completeness. Never rendered, never trusted.

use super::source::{HEAD, Source};
use super::{Flaw, Structure};
use crate::media::size::to_side;

/// Pixels a side when the drawing does not say.
const DEFAULT: f64 = 1024.0;

/// How far before the end of the file its closing tag may stand.
const TRAILER: usize = 4096;

/// Reads the root tag, and finds its end.
pub(super) fn walk(file: &impl Source) -> Result<Structure, Flaw> {
    let head = file.head(HEAD);
    let start = root(&head).ok_or(Flaw::Unknown)?;
    let rest = head.get(start..).unwrap_or_default();
    let tag = tag(rest).ok_or_else(|| {
        if file.len() > HEAD as u64 { Flaw::broken("the SVG's root tag has no end") } else { Flaw::Truncated }
    })?;
    let whole = tag.ends_with(b"/") || file.tail(TRAILER).windows(6).any(|end| end == b"</svg>");
    if !whole {
        return Err(Flaw::Truncated);
    }
    let (width, height) = size(&String::from_utf8_lossy(tag));
    Structure::still(width, height)
}

/// Where the root tag of an SVG starts, after what may precede it.
pub(super) fn root(head: &[u8]) -> Option<usize> {
    let mut at = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    loop {
        let rest = head.get(at..)?;
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let rest = rest.get(blank..)?;
        at += blank;
        at += if rest.starts_with(b"<?") {
            find(rest, b"?>")?
        } else if rest.starts_with(b"<!--") {
            find(rest, b"-->")?
        } else if rest.starts_with(b"<!DOCTYPE") {
            // With an internal subset the declaration ends after its bracket.
            let subset = find(rest, b">").and_then(|end| rest.get(..end)).is_some_and(|plain| plain.contains(&b'['));
            let start = if subset { find(rest, b"]")? } else { 0 };
            start + find(rest.get(start..)?, b">")?
        } else {
            let after = rest.strip_prefix(b"<svg")?;
            return matches!(after.first(), Some(b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n')).then_some(at);
        };
    }
}

/// The place after the first `needle`.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle).map(|at| at + needle.len())
}

/// The root tag without its brackets. A `>` in a quoted value does not end it.
fn tag(text: &[u8]) -> Option<&[u8]> {
    let mut quote = None;
    let end = text.iter().position(|byte| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), close) if open == *close => quote = None,
            _ => {}
        }
        quote.is_none() && *byte == b'>'
    })?;
    text.get(1..end)
}

fn size(tag: &str) -> (u32, u32) {
    let stated = (length(tag, "width"), length(tag, "height"));
    let shape = attribute(tag, "viewBox").and_then(|value| {
        let mut numbers = value.split([' ', ',', '\t', '\n', '\r']).filter(|part| !part.is_empty()).skip(2);
        let mut side = || numbers.next()?.parse::<f64>().ok().filter(|side| *side > 0.0 && side.is_finite());
        Some((side()?, side()?))
    });
    let (width, height) = match (stated, shape) {
        ((Some(width), Some(height)), _) => (width, height),
        ((Some(width), None), Some((w, h))) => (width, width * h / w),
        ((None, Some(height)), Some((w, h))) => (height * w / h, height),
        (_, Some(shape)) => shape,
        ((width, height), None) => (width.unwrap_or(DEFAULT), height.unwrap_or(DEFAULT)),
    };
    (to_side(width.round()), to_side(height.round()))
}

/// An absolute length in pixels; percentages and font sizes depend on the viewer and count as unstated.
fn length(tag: &str, name: &str) -> Option<f64> {
    let value = attribute(tag, name)?.trim();
    let unit = value.find(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E' || c == '%').unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(unit)?;
    let pixels = match unit {
        "" | "px" => 1.0,
        "pt" => 96.0 / 72.0,
        "pc" => 16.0,
        "in" => 96.0,
        "mm" => 96.0 / 25.4,
        "cm" => 96.0 / 2.54,
        _ => return None,
    };
    number.trim().parse::<f64>().ok().map(|number| number * pixels).filter(|side| *side > 0.0 && side.is_finite())
}

/// The value of an attribute of the tag. Quoted values are skipped whole, so a name inside one is not mistaken.
fn attribute<'a>(tag: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = tag.strip_prefix("svg")?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = after.get(1..)?.split_once(quote)?;
        if name.trim() == wanted {
            return Some(value);
        }
        rest = after;
    }
}

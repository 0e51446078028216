//! JPEG: marker segments up to the first scan, then compressed data up to the end marker.

use super::source::Source;
use super::{Flaw, Structure};

/// How far before the end of the file its end marker may stand: phones and editors append things.
const TRAILER: usize = 64 * 1024;

/// Scans the segments for the frame header, and the tail for the end marker.
pub(super) fn walk(file: &impl Source) -> Result<Structure, Flaw> {
    let mut at = 2u64;
    let mut frame: Option<Structure> = None;
    let mut credentials = false;
    let scan = loop {
        let [lead, marker] = file.bytes(at)?;
        if lead != 0xff {
            return Err(Flaw::broken("the JPEG has bytes between its segments"));
        }
        if marker == 0xff {
            at += 1; // Fill bytes may precede a marker.
            continue;
        }
        at += 2;
        if matches!(marker, 0x01 | 0xd0..=0xd7) {
            continue; // Markers without a segment.
        }
        if matches!(marker, 0x00 | 0xd8 | 0xd9) {
            return Err(Flaw::broken("the JPEG ends before its pixels"));
        }
        let length = u64::from(u16::from_be_bytes(file.bytes(at)?));
        if length < 2 {
            return Err(Flaw::broken("a segment of the JPEG has no length"));
        }
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let [_, h0, h1, w0, w1] = file.bytes(at + 2)?;
                let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
                frame = Some(Structure::still(width.into(), height.into())?);
            }
            // JUMBF, the box that C2PA travels in: a common identifier of "JP".
            0xeb if length >= 4 => credentials |= file.bytes::<2>(at + 2)? == *b"JP",
            0xda => break at + length,
            _ => {}
        }
        at += length;
        if at > file.len() {
            return Err(Flaw::Truncated);
        }
    };
    let found = frame.ok_or_else(|| Flaw::broken("the JPEG has no frame header"))?;
    // Inside a scan FF is always stuffed, so this pair can only be the end, of this picture or of one appended to it.
    let data = usize::try_from(file.len().saturating_sub(scan)).unwrap_or(usize::MAX);
    let tail = file.tail(TRAILER.min(data));
    if tail.windows(2).rev().any(|pair| pair == [0xff, 0xd9]) {
        Ok(Structure { credentials, ..found })
    } else {
        Err(Flaw::Truncated)
    }
}

//! PNG: a signature and chunks from IHDR to IEND.

use super::source::Source;
use super::{Flaw, Structure};

/// Encoders write chunks of 8 KiB and more; a file of millions of empty ones only wants to keep us busy.
const MOST_CHUNKS: u32 = 1 << 18;

/// Walks every chunk; each must fit into the file.
pub(super) fn walk(file: &impl Source) -> Result<Structure, Flaw> {
    let header: [u8; 16] = file.bytes(8)?;
    if header[..8] != *b"\0\0\0\x0dIHDR" {
        return Err(Flaw::broken("the PNG does not start with its header"));
    }
    let [w0, w1, w2, w3, h0, h1, h2, h3] = file.bytes(16)?;
    let mut found = Structure::still(u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]))?;
    let (mut at, mut pixels) = (8u64, false);
    for _ in 0..MOST_CHUNKS {
        let [l0, l1, l2, l3, kind @ ..] = file.bytes::<8>(at)?;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length > i32::MAX as u32 {
            return Err(Flaw::broken("a chunk of the PNG is longer than the format allows"));
        }
        let end = at + 12 + u64::from(length);
        if end > file.len() {
            return Err(Flaw::Truncated);
        }
        match &kind {
            b"IDAT" => pixels = true,
            b"acTL" if length >= 8 => {
                let [f0, f1, f2, f3, p0, p1, p2, p3] = file.bytes(at + 8)?;
                found.frames = u32::from_be_bytes([f0, f1, f2, f3]).max(1);
                found.animated = found.frames > 1;
                found.plays = u32::from_be_bytes([p0, p1, p2, p3]);
            }
            b"caBX" => found.credentials = true,
            b"IEND" if pixels => return Ok(found),
            b"IEND" => return Err(Flaw::broken("the PNG holds no pixels")),
            _ => {}
        }
        at = end;
    }
    Err(Flaw::broken("the PNG has too many chunks"))
}

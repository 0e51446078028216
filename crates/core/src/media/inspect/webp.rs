//! WebP: a RIFF file of VP8 (lossy), VP8L (lossless) or VP8X (with more chunks) pictures.

use super::source::Source;
use super::{Flaw, Structure};

/// No camera, tool or animation within limits writes more; see the PNG walk.
const MOST_CHUNKS: u32 = 1 << 16;

/// Walks every chunk; each must fit into the RIFF file, and that into the bytes.
pub(super) fn walk(file: &impl Source) -> Result<Structure, Flaw> {
    let end = u64::from(u32::from_le_bytes(file.bytes(4)?)) + 8;
    if end > file.len() {
        return Err(Flaw::Truncated);
    }
    let (mut at, mut frames, mut pixels) = (12u64, 0u32, false);
    let mut found: Option<Structure> = None;
    let (mut plays, mut credentials) = (1, false);
    for _ in 0..MOST_CHUNKS {
        if at + 8 > end {
            break;
        }
        let [k0, k1, k2, k3, length @ ..] = file.bytes::<8>(at)?;
        let (body, length) = (at + 8, u32::from_le_bytes(length));
        // The last chunk's padding byte is forgotten by some writers.
        if body + u64::from(length) > end {
            return Err(Flaw::Truncated);
        }
        match &[k0, k1, k2, k3] {
            b"VP8X" if found.is_none() => found = Some(extended(file, body)?),
            b"VP8 " => {
                pixels = true;
                found = Some(found.map_or_else(|| lossy(file, body), Ok)?);
            }
            b"VP8L" => {
                pixels = true;
                found = Some(found.map_or_else(|| lossless(file, body), Ok)?);
            }
            b"ANMF" => frames += 1,
            b"ANIM" => plays = u16::from_le_bytes(file.bytes(body + 4)?).into(),
            b"C2PA" => credentials = true,
            _ => {}
        }
        at = body + u64::from(length) + u64::from(length & 1);
    }
    let found = found.ok_or_else(|| Flaw::broken("the WebP holds no picture"))?;
    if found.animated && frames == 0 || !found.animated && !pixels {
        return Err(Flaw::broken("the WebP holds no pixels"));
    }
    Ok(Structure { frames: frames.max(1), plays, credentials, ..found })
}

fn extended(file: &impl Source, at: u64) -> Result<Structure, Flaw> {
    let [flags, _, _, _, w0, w1, w2, h0, h1, h2] = file.bytes(at)?;
    let side = |a, b, c| u32::from_le_bytes([a, b, c, 0]) + 1;
    let canvas = Structure::still(side(w0, w1, w2), side(h0, h1, h2))?;
    Ok(Structure { animated: flags & 0b10 != 0, ..canvas })
}

fn lossy(file: &impl Source, at: u64) -> Result<Structure, Flaw> {
    let [tag, _, _, s0, s1, s2, w0, w1, h0, h1] = file.bytes(at)?;
    if tag & 1 != 0 || [s0, s1, s2] != [0x9d, 0x01, 0x2a] {
        return Err(Flaw::broken("the WebP's picture does not start with a key frame"));
    }
    let side = |a, b| u32::from(u16::from_le_bytes([a, b]) & 0x3fff); // The upper two bits ask for scaling.
    Structure::still(side(w0, w1), side(h0, h1))
}

fn lossless(file: &impl Source, at: u64) -> Result<Structure, Flaw> {
    let [signature, bits @ ..] = file.bytes::<5>(at)?;
    if signature != 0x2f {
        return Err(Flaw::broken("the WebP's lossless picture has no signature"));
    }
    let bits = u32::from_le_bytes(bits);
    Structure::still((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
}

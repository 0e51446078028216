//! AVIF: boxes. The size is the `ispe` property of the primary item.

use super::source::Source;
use super::{Flaw, Structure};

/// A `meta` box holds a few hundred bytes; one of megabytes is not for pictures.
const MOST_META: u64 = 1 << 20;

/// The `uuid` of a C2PA box.
const C2PA: [u8; 16] = [0xd8, 0xfe, 0xc3, 0xd6, 0x1b, 0x0e, 0x48, 0x3c, 0x92, 0x97, 0x58, 0x28, 0x87, 0x7e, 0xc4, 0x81];

/// Whether the `ftyp` box at the start names AVIF, as its own or as a compatible brand.
pub(super) fn branded(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<4>() else { return false };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let brands = rest.get(4..length.saturating_sub(4).min(rest.len())).unwrap_or_default();
    // The minor version stands between the first brand and the others.
    brands.as_chunks::<4>().0.iter().enumerate().any(|(n, brand)| n != 1 && matches!(brand, b"avif" | b"avis"))
}

/// Walks the boxes of the file; each must fit, and there must be data.
pub(super) fn walk(file: &impl Source) -> Result<Structure, Flaw> {
    let (mut at, mut data, mut sequence, mut credentials) = (0u64, false, false, false);
    let mut size: Option<(u32, u32)> = None;
    let mut described = false;
    while at < file.len() {
        let [l0, l1, l2, l3, kind @ ..] = file.bytes::<8>(at)?;
        let (body, length) = match u32::from_be_bytes([l0, l1, l2, l3]) {
            0 => (at + 8, file.len() - at),
            1 => (at + 16, u64::from_be_bytes(file.bytes(at + 8)?)),
            length => (at + 8, length.into()),
        };
        let end = at.checked_add(length).ok_or(Flaw::Truncated)?;
        if end < body {
            return Err(Flaw::broken("a box of the AVIF is shorter than its header"));
        }
        if end > file.len() {
            return Err(Flaw::Truncated);
        }
        match &kind {
            b"meta" if end - body > MOST_META => return Err(Flaw::broken("the AVIF's description is too long")),
            b"meta" if described => return Err(Flaw::broken("the AVIF is described twice")),
            b"meta" => {
                described = true;
                let meta = file.piece(body, usize::try_from(end - body).unwrap_or_default())?;
                data |= inner(full(&meta).1, *b"idat").is_some();
                size = primary_size(full(&meta).1);
            }
            b"mdat" => data |= end > body,
            b"moov" => sequence = true,
            b"uuid" if end - body >= 16 => credentials |= file.bytes::<16>(body)? == C2PA,
            b"jumb" => credentials = true,
            _ => {}
        }
        at = end;
    }
    let (width, height) = size.ok_or_else(|| Flaw::broken("the AVIF does not tell its size"))?;
    if !data {
        return Err(Flaw::Truncated);
    }
    Ok(Structure { animated: sequence, credentials, ..Structure::still(width, height)? })
}

/// The boxes in a box, as kind and content. Stops at the first that does not fit.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, _) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let content = rest.get(8..length)?;
        rest = rest.get(length..)?;
        Some((*kind, content))
    })
}

/// The content of the first box of that kind.
fn inner(content: &[u8], wanted: [u8; 4]) -> Option<&[u8]> {
    boxes(content).find(|(kind, _)| *kind == wanted).map(|(_, content)| content)
}

/// Version with flags, and content, of a box that has them.
fn full(content: &[u8]) -> ([u8; 4], &[u8]) {
    content.split_first_chunk::<4>().map_or(([0; 4], &[]), |(head, rest)| (*head, rest))
}

/// The size of the primary item; of the largest image when the file does not say which is which.
fn primary_size(meta: &[u8]) -> Option<(u32, u32)> {
    let properties = inner(meta, *b"iprp")?;
    let container = inner(properties, *b"ipco")?;
    let extent = |content| {
        let [w0, w1, w2, w3, h0, h1, h2, h3] = *full(content).1.first_chunk::<8>()?;
        Some((u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3])))
    };
    let listed: Vec<_> = boxes(container).collect();
    let of_primary = || {
        let (version, id) = full(inner(meta, *b"pitm")?);
        let primary = if version[0] == 0 {
            u16::from_be_bytes(*id.first_chunk()?).into()
        } else {
            u32::from_be_bytes(*id.first_chunk()?)
        };
        let indices = associations(inner(properties, *b"ipma")?, primary)?;
        indices.into_iter().find_map(|index| {
            let (kind, content) = listed.get(index.checked_sub(1)?)?;
            (kind == b"ispe").then(|| extent(content))?
        })
    };
    let all = listed.iter().filter(|(kind, _)| kind == b"ispe").filter_map(|(_, content)| extent(content));
    of_primary().or_else(|| all.max_by_key(|(width, height)| u64::from(*width) * u64::from(*height)))
}

/// The property indices (from 1) of an item, out of an `ipma` box.
fn associations(content: &[u8], item: u32) -> Option<Vec<usize>> {
    let ([version, _, _, flags], rest) = full(content);
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    for _ in 0..u32::from_be_bytes(*count) {
        let id = if version == 0 {
            u16::from_be_bytes(*take(&mut rest)?).into()
        } else {
            u32::from_be_bytes(*take(&mut rest)?)
        };
        let [amount] = *take(&mut rest)?;
        let mut indices = Vec::with_capacity(amount.into());
        for _ in 0..amount {
            // The top bit says "essential".
            indices.push(if flags & 1 == 0 {
                let [index] = *take(&mut rest)?;
                usize::from(index & 0x7f)
            } else {
                usize::from(u16::from_be_bytes(*take(&mut rest)?) & 0x7fff)
            });
        }
        if id == item {
            return Some(indices);
        }
    }
    None
}

/// Takes `N` bytes off the front.
fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(head)
}

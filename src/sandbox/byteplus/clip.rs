//! The smallest film: an MP4 of a given length without a track.

use bytes::Bytes;

/// Ticks of a second.
const TIMESCALE: u32 = 1000;

/// An MP4 that says it lasts so many seconds.
pub(in super::super) fn clip(seconds: u32) -> Bytes {
    let mut header = vec![0u8; 12];
    header.extend(TIMESCALE.to_be_bytes());
    header.extend(seconds.saturating_mul(TIMESCALE).to_be_bytes());
    // Rate 1.0, volume 1.0, ten reserved bytes.
    header.extend(0x0001_0000_u32.to_be_bytes());
    header.extend([1, 0]);
    header.extend([0; 10]);
    for unit in [0x0001_0000_u32, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        header.extend(unit.to_be_bytes());
    }
    header.extend([0; 24]);
    header.extend(1_u32.to_be_bytes());
    let mut file = frame(*b"ftyp", b"isom\0\0\x02\0isommp42");
    file.extend(frame(*b"moov", &frame(*b"mvhd", &header)));
    file.into()
}

/// A box: length, kind, content.
fn frame(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &kind[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_add_up() {
        let file = clip(5);
        let length = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(&file[4..8], b"ftyp");
        let moov = length(0);
        assert_eq!((&file[moov + 4..moov + 8], moov + length(moov)), (&b"moov"[..], file.len()));
        assert_eq!((length(moov + 8), &file[moov + 12..moov + 16]), (108, &b"mvhd"[..]));
        assert_eq!((length(moov + 28), length(moov + 32)), (1000, 5000));
    }
}

//! The smallest file that is a video: an MP4 of one second without a track.

use bytes::Bytes;

/// One second, a thousand ticks.
const SECOND: u32 = 1_000;

/// The file.
pub(super) fn clip() -> Bytes {
    let kind: Vec<u8> = [b"isom".as_slice(), &512_u32.to_be_bytes(), b"isom", b"iso2", b"mp41"].concat();
    [atom(*b"ftyp", &kind), atom(*b"moov", &atom(*b"mvhd", &header()))].concat().into()
}

fn atom(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), name.as_slice(), content].concat()
}

/// `mvhd`, version 0: no dates, the time scale, the duration, normal speed and loudness, the unit matrix.
fn header() -> Vec<u8> {
    let words = [0, 0, 0, SECOND, SECOND, 0x0001_0000, 0x0100_0000, 0, 0];
    let matrix = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
    let next_track = 1;
    let all = words.into_iter().chain(matrix).chain([0; 6]).chain([next_track]);
    all.flat_map(u32::to_be_bytes).collect()
}

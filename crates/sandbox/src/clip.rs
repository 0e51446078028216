//! A video to stand for all videos: the least that is a valid MP4, with a length and without a track.

use bytes::Bytes;

/// Ticks of a second in the header.
const TIMESCALE: u32 = 1_000;

/// An MP4 of so many milliseconds.
pub(super) fn clip(millis: u32) -> Bytes {
    let ftyp = boxed(*b"ftyp", &[b"isom", &512_u32.to_be_bytes()[..], b"isomiso2mp41"].concat());
    let moov = boxed(*b"moov", &boxed(*b"mvhd", &header(millis)));
    [ftyp, moov, boxed(*b"mdat", &[])].concat().into()
}

/// `mvhd`, version 0.
fn header(millis: u32) -> Vec<u8> {
    let identity: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    let rate_and_volume: [u32; 4] = [0x1_0000, 0x0100_0000, 0, 0];
    // Version and flags, both dates, the time scale, the length.
    let start = [0, 0, 0, TIMESCALE, millis];
    // Six obsolete fields, then the id of the next track.
    let end = [0, 0, 0, 0, 0, 0, 1];
    start.iter().chain(&rate_and_volume).chain(&identity).chain(&end).flat_map(|word| word.to_be_bytes()).collect()
}

fn boxed(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &name, content].concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_as_long_as_it_says() {
        let file = super::clip(5_000);
        assert_eq!(&file[4..12], b"ftypisom");
        let at = file.windows(4).position(|four| four == b"mvhd").unwrap();
        assert_eq!(&file[at - 4..at], 108_u32.to_be_bytes(), "the size of every mvhd of version 0");
        assert_eq!(&file[at + 16..at + 24], [1_000_u32.to_be_bytes(), 5_000_u32.to_be_bytes()].concat());
    }
}

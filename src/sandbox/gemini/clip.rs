//! A video file without a picture: a header that any reader takes for an MP4 of the right length.

use bytes::Bytes;

/// An MP4 of so many milliseconds: `ftyp`, and `moov` with its `mvhd`.
pub(in crate::sandbox) fn clip(millis: u32) -> Bytes {
    let mut header = Vec::new();
    // Version and flags, made, changed, units in a second, length.
    for field in [0, 0, 0, 1000, millis] {
        header.extend_from_slice(&u32::to_be_bytes(field));
    }
    // Rate 1.0, volume 1.0, reserved.
    header.extend_from_slice(&[0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // The identity matrix.
    for field in [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000] {
        header.extend_from_slice(&u32::to_be_bytes(field));
    }
    // Predefined, and the number of the next track.
    header.extend_from_slice(&[0; 24]);
    header.extend_from_slice(&u32::to_be_bytes(1));
    let movie = atom(*b"moov", &atom(*b"mvhd", &header));
    [atom(*b"ftyp", b"isom\0\0\x02\0isommp42"), movie].concat().into()
}

fn atom(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    [&u32::to_be_bytes(length)[..], &name[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_it_is() {
        let file = clip(6_000);
        assert_eq!(&file[4..12], b"ftypisom");
        let at = file.windows(4).position(|four| four == b"mvhd").unwrap() + 4;
        assert_eq!(
            (&file[at + 12..at + 16], &file[at + 16..at + 20]),
            (&1000u32.to_be_bytes()[..], &6000u32.to_be_bytes()[..])
        );
        assert_eq!(file.len(), 24 + 8 + 108);
    }
}

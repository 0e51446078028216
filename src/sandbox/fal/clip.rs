//! A video that is one by its boxes: `ftyp`, a `moov` whose header says how long it lasts, and a little `mdat`.

use bytes::Bytes;

/// Time units of a second.
const SCALE: u32 = 1_000;

/// The identity matrix of a movie header.
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// An MP4 file of that duration, marked by the prompt so that two orders differ.
pub(super) fn clip(seconds: u32, prompt: &str) -> Bytes {
    let brands = [b"isom".as_slice(), &[0, 0, 2, 0], b"isom", b"iso2", b"mp41"].concat();
    let file = [
        boxed(*b"ftyp", &brands),
        boxed(*b"moov", &boxed(*b"mvhd", &header(seconds))),
        boxed(*b"mdat", prompt.as_bytes()),
    ];
    file.concat().into()
}

/// The fields of `mvhd`, version 0.
fn header(seconds: u32) -> Vec<u8> {
    let words = [0, 0, 0, SCALE, seconds.saturating_mul(SCALE), 0x0001_0000, 0x0100_0000, 0, 0];
    let rest = [0; 6].into_iter().chain([2]);
    words.into_iter().chain(MATRIX).chain(rest).flat_map(u32::to_be_bytes).collect()
}

fn boxed(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), name.as_slice(), content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_add_up() {
        let file = clip(5, "a fox");
        let (mut at, mut names) = (0, Vec::new());
        while at < file.len() {
            let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            names.push(String::from_utf8(file[at + 4..at + 8].to_vec()).unwrap());
            at += length;
        }
        assert_eq!((at, names), (file.len(), vec!["ftyp".to_owned(), "moov".into(), "mdat".into()]));
        let header = file.windows(4).position(|four| four == b"mvhd").unwrap();
        // After the name: version, creation, modification, scale, duration.
        assert_eq!(file[header + 16..header + 24], [SCALE.to_be_bytes(), 5_000u32.to_be_bytes()].concat());
        assert_eq!(file[header - 4..header], 108u32.to_be_bytes());
    }
}

//! The video that the simulator hands over: a container with a duration of one second and no track.

/// A minimal MP4.
pub(super) fn clip() -> Vec<u8> {
    let mut header = vec![0; 100];
    header[12..16].copy_from_slice(&1000_u32.to_be_bytes()); // ticks in a second
    header[16..20].copy_from_slice(&1000_u32.to_be_bytes()); // ticks in all
    header[20..24].copy_from_slice(&0x0001_0000_u32.to_be_bytes()); // speed 1.0
    header[24..26].copy_from_slice(&0x0100_u16.to_be_bytes()); // volume 1.0
    for (place, one) in [(36, 0x0001_0000_u32), (52, 0x0001_0000), (68, 0x4000_0000)] {
        header[place..place + 4].copy_from_slice(&one.to_be_bytes()); // an upright picture
    }
    header[96..].copy_from_slice(&1_u32.to_be_bytes()); // the next track's number
    let kind = [b"isom".as_slice(), &512_u32.to_be_bytes(), b"isommp42"].concat();
    [atom(*b"ftyp", &kind), atom(*b"moov", &atom(*b"mvhd", &header))].concat()
}

fn atom(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), &name, content].concat()
}

//! What a video file is: container, length and pixels, read from the file itself while it streams by. Nothing but the
//! index of an MP4 (`moov`) or the head of a WebM is ever held in memory, and both are bounded.
//!
//! MP4: ISO/IEC 14496-12, boxes `ftyp`, `moov`, `mvhd`, `trak`, `tkhd`. WebM: EBML (RFC 8794) and Matroska (RFC 9559).

use super::Size;

/// A video container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// MP4 and its kin (QuickTime included).
    Mp4,
    /// WebM and Matroska.
    Webm,
}

impl Container {
    /// The file extension, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
        }
    }

    /// The media type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
        }
    }

    /// The container that a file of that extension holds.
    pub fn of_extension(extension: &str) -> Option<Self> {
        [Self::Mp4, Self::Webm].into_iter().find(|container| container.extension() == extension)
    }

    /// The container that these first bytes begin.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        match head {
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Self::Mp4),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Self::Webm),
            _ => None,
        }
    }
}

/// What a sound video file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoFacts {
    /// The real container, whatever the file was called.
    pub container: Container,
    /// The length in milliseconds; unknown when the file does not say.
    pub millis: Option<u64>,
    /// Pixels of the largest picture track; unknown when no track says.
    pub size: Option<Size>,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// Why a video is refused. The texts are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VideoFlaw {
    /// Neither MP4 nor WebM.
    #[error("not an MP4 or WebM video")]
    Unknown,
    /// The file stops before its end.
    #[error("the video file is cut off")]
    Truncated,
    /// The file contradicts its format.
    #[error("the video file is broken")]
    Broken,
}

/// Largest index of an MP4. An hour of video has one of a few megabytes.
const MAX_INDEX: u64 = 16 << 20;
/// How much of a WebM is looked at: its head names length and tracks before the first frame.
const MAX_HEAD: usize = 256 << 10;
/// How deep boxes are followed.
const MAX_DEPTH: u8 = 6;

/// Reads a file that streams by.
#[derive(Debug, Default)]
pub struct Probe {
    seen: u64,
    /// The container, once eight bytes were seen.
    container: Option<Container>,
    /// Bytes that are being collected: a box's header, the index, the head.
    held: Vec<u8>,
    /// Bytes of the current box that are of no interest.
    skip: u64,
    /// The box that runs to the end of the file.
    open_ended: bool,
    /// Bytes that the index has, while it is collected.
    index: Option<u64>,
    found: Option<Vec<u8>>,
    flaw: Option<VideoFlaw>,
}

impl Probe {
    /// The container, once its first bytes were seen.
    pub const fn container(&self) -> Option<Container> {
        self.container
    }

    /// Looks at the next piece. Says early when the file can no longer become a video.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), VideoFlaw> {
        self.seen += piece.len() as u64;
        let walked = match self.container {
            Some(Container::Mp4) => self.walk(piece),
            Some(Container::Webm) => {
                self.hold_head(piece);
                Ok(())
            }
            None => self.begin(piece),
        };
        walked.inspect_err(|flaw| self.flaw = Some(*flaw))
    }

    fn begin(&mut self, piece: &[u8]) -> Result<(), VideoFlaw> {
        self.held.extend_from_slice(piece);
        if self.held.len() < 8 {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.container = Container::sniff(&held);
        match self.container {
            Some(Container::Mp4) => self.walk(&held),
            Some(Container::Webm) => {
                self.hold_head(&held);
                Ok(())
            }
            None => Err(VideoFlaw::Unknown),
        }
    }

    fn hold_head(&mut self, piece: &[u8]) {
        let room = MAX_HEAD.saturating_sub(self.held.len());
        self.held.extend_from_slice(&piece[..room.min(piece.len())]);
    }

    /// From box to box: the index is collected, everything else is counted and passed over.
    fn walk(&mut self, mut piece: &[u8]) -> Result<(), VideoFlaw> {
        while !piece.is_empty() {
            if self.open_ended {
                return Ok(());
            }
            if self.skip > 0 {
                let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
                self.skip -= step as u64;
                piece = &piece[step..];
                continue;
            }
            let wanted = match self.index {
                Some(length) => usize::try_from(length).map_err(|_| VideoFlaw::Broken)?,
                None if self.held.len() >= 8 && self.held.starts_with(&[0, 0, 0, 1]) => 16,
                None => 8,
            };
            let step = wanted.saturating_sub(self.held.len()).min(piece.len());
            self.held.extend_from_slice(&piece[..step]);
            piece = &piece[step..];
            if self.held.len() >= wanted {
                self.settle(wanted)?;
            }
        }
        Ok(())
    }

    /// A box's header, or the whole index, has been collected.
    fn settle(&mut self, wanted: usize) -> Result<(), VideoFlaw> {
        if self.index.take().is_some() {
            self.found = Some(std::mem::take(&mut self.held));
            return Ok(());
        }
        if wanted == 8 && self.held.starts_with(&[0, 0, 0, 1]) {
            return Ok(());
        }
        let header = std::mem::take(&mut self.held);
        let short = u64::from(number32(&header, 0).ok_or(VideoFlaw::Broken)?);
        let length = if short == 1 { number64(&header, 8).ok_or(VideoFlaw::Broken)? } else { short };
        let name = header.get(4..8).ok_or(VideoFlaw::Broken)?;
        if short == 0 {
            // The last box reaches to the end of the file. An index there would have no length to check: refused.
            self.open_ended = true;
            return if name == b"moov" { Err(VideoFlaw::Broken) } else { Ok(()) };
        }
        let content = length.checked_sub(header.len() as u64).ok_or(VideoFlaw::Broken)?;
        if name == b"moov" && self.found.is_none() {
            if content == 0 || content > MAX_INDEX {
                return Err(VideoFlaw::Broken);
            }
            self.index = Some(content);
        } else {
            self.skip = content;
        }
        Ok(())
    }

    /// The file is over: what was it?
    pub fn finish(self) -> Result<VideoFacts, VideoFlaw> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let (millis, size) = match self.container.ok_or(VideoFlaw::Unknown)? {
            Container::Mp4 => {
                if self.skip > 0 || self.index.is_some() || !self.held.is_empty() {
                    return Err(VideoFlaw::Truncated);
                }
                read_index(&self.found.ok_or(VideoFlaw::Truncated)?)
            }
            Container::Webm => read_head(&self.held).ok_or(VideoFlaw::Broken)?,
        };
        let container = self.container.ok_or(VideoFlaw::Unknown)?;
        Ok(VideoFacts { container, millis, size, bytes: self.seen })
    }
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

fn number64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_be_bytes)
}

type Told = (Option<u64>, Option<Size>);

/// Length and pixels from the content of `moov`.
fn read_index(index: &[u8]) -> Told {
    let mut told = (None, None);
    visit(index, MAX_DEPTH, &mut told);
    told
}

fn visit(mut rest: &[u8], depth: u8, told: &mut Told) {
    while let (Some(short), Some(name)) = (number32(rest, 0), rest.get(4..8)) {
        let (head, length) = match short {
            1 => (16, number64(rest, 8).and_then(|long| usize::try_from(long).ok()).unwrap_or(0)),
            0 => (8, rest.len()),
            short => (8, usize::try_from(short).unwrap_or(0)),
        };
        let Some(content) = rest.get(head..length) else { return };
        match name {
            b"mvhd" => told.0 = length_of(content),
            b"trak" if depth > 0 => visit(content, depth - 1, told),
            b"tkhd" => {
                let size = track_size(content);
                let area = |size: Option<Size>| size.map_or(0, Size::area);
                if area(size) > area(told.1) {
                    told.1 = size;
                }
            }
            _ => {}
        }
        rest = &rest[length..];
    }
}

/// `mvhd`: version 0 has 32-bit times, version 1 64-bit ones.
fn length_of(content: &[u8]) -> Option<u64> {
    let (scale, length) = match content.first()? {
        0 => (number32(content, 12)?, u64::from(number32(content, 16)?)),
        _ => (number32(content, 20)?, number64(content, 24)?),
    };
    let unknown = length == u64::from(u32::MAX) || length == u64::MAX;
    (scale > 0 && !unknown).then(|| u64::try_from(u128::from(length) * 1000 / u128::from(scale)).ok()).flatten()
}

/// `tkhd`: the last two words are width and height, 16.16 fixed point. Sound has none.
fn track_size(content: &[u8]) -> Option<Size> {
    let at = if *content.first()? == 0 { 76 } else { 88 };
    let (width, height) = (number32(content, at)? >> 16, number32(content, at + 4)? >> 16);
    (width > 0 && height > 0).then(|| Size::new(width, height))
}

/// Length and pixels from the head of a WebM.
fn read_head(head: &[u8]) -> Option<Told> {
    let mut told = Webm { scale: 1_000_000, ..Webm::default() };
    elements(head, MAX_DEPTH, &mut told);
    told.segment.then(|| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "checked to be a small positive, in milliseconds"
        )]
        let millis = told
            .duration
            .map(|ticks| ticks * told.scale as f64 / 1e6)
            .filter(|millis| (0.0..1e12).contains(millis))
            .map(|millis| millis.round() as u64);
        let side = |side: Option<u64>| side.and_then(|side| u32::try_from(side).ok()).filter(|side| *side > 0);
        (millis, side(told.width).zip(side(told.height)).map(|(width, height)| Size::new(width, height)))
    })
}

#[derive(Default)]
struct Webm {
    segment: bool,
    scale: u64,
    duration: Option<f64>,
    width: Option<u64>,
    height: Option<u64>,
}

fn elements(mut rest: &[u8], depth: u8, told: &mut Webm) {
    while let Some((id, id_length)) = variable(rest, false) {
        let Some((size, size_length)) = rest.get(id_length..).and_then(|rest| variable(rest, true)) else { return };
        let start = id_length + size_length;
        let unknown = size == (1 << (7 * size_length)) - 1;
        let whole = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
        // A segment of a stream has no length, and one that is longer than what we hold is cut here.
        let end = whole.filter(|_| !unknown).unwrap_or(rest.len()).min(rest.len());
        let content = rest.get(start..end).unwrap_or_default();
        let number = || content.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        match id {
            // Segment, Info, Tracks, TrackEntry, Video: walked into.
            0x1853_8067 | 0x1549_a966 | 0x1654_ae6b | 0xae | 0xe0 if depth > 0 => {
                told.segment |= id == 0x1853_8067;
                elements(content, depth - 1, told);
            }
            0x002a_d7b1 => told.scale = number().max(1),
            0x4489 => {
                told.duration = match content {
                    &[a, b, c, d] => Some(f64::from(f32::from_be_bytes([a, b, c, d]))),
                    _ => content.try_into().ok().map(f64::from_be_bytes),
                }
            }
            0xb0 => told.width = Some(number()),
            0xba => told.height = Some(number()),
            // The first cluster: frames from here on.
            0x1f43_b675 => return,
            _ => {}
        }
        match rest.get(end..) {
            Some(next) if end > 0 => rest = next,
            _ => return,
        }
    }
}

/// A number of variable length, with or without its length marker; and how many bytes it took.
fn variable(bytes: &[u8], unmarked: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let all = bytes.get(..length).filter(|_| length <= 8)?;
    let value = all.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let marker = 1u64 << (7 * length);
    Some((if unmarked { value & (marker - 1) } else { value }, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 8).unwrap();
        [&length.to_be_bytes(), name.as_slice(), content].concat()
    }

    fn mp4(millis: u32, width: u32, height: u32) -> Vec<u8> {
        let mut mvhd = vec![0; 100];
        mvhd[12..16].copy_from_slice(&1000u32.to_be_bytes());
        mvhd[16..20].copy_from_slice(&millis.to_be_bytes());
        let mut tkhd = vec![0; 84];
        tkhd[76..80].copy_from_slice(&(width << 16).to_be_bytes());
        tkhd[80..84].copy_from_slice(&(height << 16).to_be_bytes());
        let moov = [boxed(b"mvhd", &mvhd), boxed(b"trak", &boxed(b"tkhd", &tkhd))].concat();
        [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"mdat", &[7; 5000]), boxed(b"moov", &moov)].concat()
    }

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len()).unwrap() | 0x1000_0000;
        [id, &size.to_be_bytes(), content].concat()
    }

    fn webm() -> Vec<u8> {
        let info = element(&[0x15, 0x49, 0xa9, 0x66], &element(&[0x44, 0x89], &4_000.0f32.to_be_bytes()));
        let video = [element(&[0xb0], &[0x05, 0x00]), element(&[0xba], &[0x02, 0xd0])].concat();
        let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &element(&[0xe0], &video)));
        let segment = element(&[0x18, 0x53, 0x80, 0x67], &[info, tracks].concat());
        [element(&[0x1a, 0x45, 0xdf, 0xa3], &[0; 4]), segment].concat()
    }

    fn probe(file: &[u8], piece: usize) -> Result<VideoFacts, VideoFlaw> {
        let mut probe = Probe::default();
        for piece in file.chunks(piece) {
            probe.feed(piece)?;
        }
        probe.finish()
    }

    #[test]
    fn reads_length_and_pixels_in_any_pieces() {
        for piece in [1, 3, 7, 100, 100_000] {
            let file = mp4(5_000, 1280, 720);
            let facts = probe(&file, piece).unwrap();
            assert_eq!((facts.container, facts.millis), (Container::Mp4, Some(5_000)));
            assert_eq!((facts.size, facts.bytes), (Some(Size::new(1280, 720)), file.len() as u64));
            let facts = probe(&webm(), piece).unwrap();
            assert_eq!((facts.container, facts.millis), (Container::Webm, Some(4_000)));
            assert_eq!(facts.size, Some(Size::new(1280, 720)));
        }
    }

    #[test]
    fn refuses_what_is_no_whole_video() {
        let whole = mp4(5_000, 16, 16);
        assert_eq!(probe(&whole[..whole.len() - 1], 64), Err(VideoFlaw::Truncated));
        assert_eq!(probe(&whole[..5_030], 64), Err(VideoFlaw::Truncated), "no index");
        assert_eq!(probe(b"<html>not found</html>", 64), Err(VideoFlaw::Unknown));
        assert_eq!(probe(b"", 64), Err(VideoFlaw::Unknown));
        let huge = [boxed(b"ftyp", b"isom"), vec![0x7f, 0xff, 0xff, 0xff], b"moov".to_vec()].concat();
        assert_eq!(probe(&huge, 64), Err(VideoFlaw::Broken), "an index is not held beyond its limit");
    }

    proptest! {
        #[test]
        fn no_file_panics(head in 0usize..3, body in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
            let start: &[u8] = [b"\0\0\0\x08ftyp".as_slice(), &[0x1a, 0x45, 0xdf, 0xa3, 0x80], b""][head];
            let _ = probe(&[start, &body].concat(), piece);
        }

        #[test]
        fn no_damage_panics(at in 0usize..5300, byte in any::<u8>()) {
            for mut file in [mp4(1, 2, 3), webm()] {
                let at = at % file.len();
                file[at] = byte;
                let _ = probe(&file, 33);
            }
        }
    }
}

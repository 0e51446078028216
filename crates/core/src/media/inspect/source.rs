//! A file that can be read at any place: plain bytes, or base64 of which only the asked-for bytes are decoded.

use super::Flaw;
use base64_simd::{Out, STANDARD};

/// How many bytes may be needed to recognise a format (an SVG may open with a long comment).
pub(super) const HEAD: usize = 64 * 1024;

/// Bytes by position. Reading past the end is [`Flaw::Truncated`].
pub(crate) trait Source {
    /// Number of bytes.
    fn len(&self) -> u64;

    /// Fills `out` with the bytes from `at`, all of which exist: [`Source::read`] has checked.
    fn copy(&self, at: usize, out: &mut [u8]) -> Result<(), Flaw>;

    /// Fills `out` with the bytes from `at`.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Flaw> {
        let fits = at.checked_add(out.len() as u64).is_some_and(|end| end <= self.len());
        match usize::try_from(at) {
            Ok(at) if fits => self.copy(at, out),
            _ => Err(Flaw::Truncated),
        }
    }

    /// `N` bytes from `at`.
    fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], Flaw> {
        let mut out = [0; N];
        self.read(at, &mut out)?;
        Ok(out)
    }

    /// `length` bytes from `at`.
    fn piece(&self, at: u64, length: usize) -> Result<Vec<u8>, Flaw> {
        // Checked first: a claimed length must not allocate what the file cannot fill.
        if at.checked_add(length as u64).is_none_or(|end| end > self.len()) {
            return Err(Flaw::Truncated);
        }
        let mut out = vec![0; length];
        self.read(at, &mut out)?;
        Ok(out)
    }

    /// The first bytes, at most `most` of them.
    fn head(&self, most: usize) -> Vec<u8> {
        let length = usize::try_from(self.len()).unwrap_or(usize::MAX).min(most);
        self.piece(0, length).unwrap_or_default()
    }

    /// The last bytes, at most `most` of them.
    fn tail(&self, most: usize) -> Vec<u8> {
        let length = usize::try_from(self.len()).unwrap_or(usize::MAX).min(most);
        self.piece(self.len() - length as u64, length).unwrap_or_default()
    }
}

impl Source for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn copy(&self, at: usize, out: &mut [u8]) -> Result<(), Flaw> {
        let piece = self.get(at..).and_then(|rest| rest.get(..out.len())).ok_or(Flaw::Truncated)?;
        out.copy_from_slice(piece);
        Ok(())
    }
}

/// Base64 text whose alphabet and padding have been verified.
pub(super) struct Encoded<'a> {
    text: &'a [u8],
    length: usize,
}

impl<'a> Encoded<'a> {
    /// Verifies the text without decoding it.
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Flaw> {
        let bad = |_| Flaw::broken("the image is not valid base64");
        STANDARD.check(text).map_err(bad)?;
        Ok(Self { text, length: STANDARD.decoded_length(text).map_err(bad)? })
    }
}

impl Source for Encoded<'_> {
    fn len(&self) -> u64 {
        self.length as u64
    }

    fn copy(&self, at: usize, out: &mut [u8]) -> Result<(), Flaw> {
        // Four characters hold three bytes, so whole groups around the wanted bytes are decoded.
        let (first, last) = (at / 3, at.saturating_add(out.len()).div_ceil(3));
        let end = last.saturating_mul(4).min(self.text.len());
        let groups = self.text.get(first * 4..end).ok_or(Flaw::Truncated)?;
        let mut small = [0u8; 48];
        let mut large = Vec::new();
        let room = if groups.len() / 4 * 3 <= small.len() {
            &mut small[..]
        } else {
            large.resize(groups.len() / 4 * 3, 0);
            &mut large[..]
        };
        let decoded = STANDARD
            .decode(groups, Out::from_slice(room))
            .map_err(|_| Flaw::broken("the image is not valid base64"))?;
        (&*decoded).copy(at - first * 3, out)
    }
}

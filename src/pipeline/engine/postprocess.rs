//! Makes of one output of a provider the picture that the caller asked for: verifies it, and converts it where the route
//! could not. Untouched base64 stays a slice of the provider's reply all the way to the caller.

use crate::fault::{Accepted, Fault, FaultKind};
use crate::media::inspect::{Facts, Flaw, Limits, inspect_base64};
use crate::media::picture::Picture;
use crate::media::transcode::{Recipe, transcode};
use crate::media::workers::Workers;
use crate::media::{Format, Size};
use crate::pipeline::planning::Debts;
use bytes::Bytes;

/// Verifies and converts pictures on a bounded pool of threads.
#[derive(Debug, Clone)]
pub struct PostProcessor {
    pub workers: Workers,
    /// The bounds of an acceptable picture.
    pub limits: Limits,
}

/// A verified picture in the form that the caller asked for.
#[derive(Debug, Clone)]
pub struct Finished {
    pub body: Body,
    pub facts: Facts,
    /// The provider's own size, before any resize of ours: what it bills.
    pub provider_size: Size,
    /// What the conversion lost.
    pub notes: Vec<&'static str>,
}

/// A file: base64 that needed no decoding, or bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Base64 text, untouched.
    Base64(Bytes),
    /// The file.
    Bytes(Bytes),
}

impl PostProcessor {
    /// Verifies one picture and converts it as `debts` says.
    pub async fn finish(&self, body: Body, debts: &Debts) -> Result<Finished, Fault> {
        let (body, facts) = match body {
            Body::Base64(text) => {
                let facts = inspect_base64(&text, &self.limits).map_err(|flaw| unusable(&flaw))?;
                (Body::Base64(text), facts)
            }
            Body::Bytes(bytes) => {
                let picture = Picture::verify(bytes, &self.limits).map_err(|flaw| unusable(&flaw))?;
                (Body::Bytes(picture.bytes), picture.facts)
            }
        };
        let provider_size = facts.size;
        let resize = debts.resize.filter(|resize| resize.size != provider_size);
        let drawn = resize.is_some() && facts.format == Format::Svg;
        let wanted = debts.format.unwrap_or(if drawn { Format::Png } else { facts.format });
        let recompress = debts.recompress && wanted.lossy();
        if wanted == facts.format && !recompress && resize.is_none() {
            return Ok(Finished { body, facts, provider_size, notes: Vec::new() });
        }
        let picture = Picture { bytes: body.into_bytes()?, facts };
        let recipe = Recipe { format: wanted, resize, canvas: Some(debts.canvas), quality: debts.quality };
        let limits = self.limits;
        let done = self.workers.run(move || transcode(&picture, &recipe, &limits)).await;
        let done = done.and_then(|outcome| outcome).map_err(|flaw| unusable(&flaw))?;
        let Picture { bytes, facts } = done.picture;
        Ok(Finished { body: Body::Bytes(bytes), facts, provider_size, notes: done.notes })
    }
}

impl Body {
    /// The length of the file in bytes.
    pub fn file_len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Base64(text) => {
                let padding = text.iter().rev().take(2).filter(|byte| **byte == b'=').count();
                (text.len() / 4 * 3).saturating_sub(padding)
            }
        }
    }

    /// The file's bytes, decoded if need be.
    pub fn into_bytes(self) -> Result<Bytes, Fault> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Base64(text) => decode(&text),
        }
    }

    /// The file as base64, encoded if need be.
    pub fn into_base64(self) -> Bytes {
        match self {
            Self::Base64(text) => text,
            Self::Bytes(bytes) => Bytes::from(base64_simd::STANDARD.encode_to_string(&bytes)),
        }
    }
}

fn decode(text: &[u8]) -> Result<Bytes, Fault> {
    let bytes = base64_simd::STANDARD.decode_to_vec(text);
    bytes.map(Bytes::from).map_err(|_| Fault::new(FaultKind::Empty, "the provider's picture is not valid base64"))
}

/// `image/png;base64,…` after the scheme.
pub(super) fn decode_data_uri(data: &str) -> Result<Bytes, Fault> {
    match data.split_once(";base64,") {
        Some((_, text)) => decode(text.as_bytes()),
        None => Err(Fault::new(FaultKind::Empty, "the provider's picture is a data address without base64")),
    }
}

fn unusable(flaw: &Flaw) -> Fault {
    Fault::new(FaultKind::Empty, format!("the provider's picture is not usable: {flaw}")).accepted(Accepted::Yes)
}

//! Pays the debts of one output: obtain the bytes, verify them, transcode if owed. Untouched base64 stays a slice of
//! the provider's reply all the way to the caller.

use super::fit::Debts;
use crate::fault::{Fault, FaultKind};
use crate::job::{Output, Source};
use crate::media::inspect::{Facts, Flaw, Limits, inspect_base64};
use crate::media::picture::Picture;
use crate::media::transcode::{Recipe, transcode};
use crate::media::workers::Workers;
use crate::media::{Format, Size};
use crate::outbound::Client;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What finishing needs.
#[derive(Debug, Clone)]
pub struct Finisher {
    /// Downloads result links.
    pub client: Client,
    /// Does the CPU work.
    pub workers: Workers,
    /// What a picture may be.
    pub limits: Limits,
}

/// A picture that is what was asked for.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The file, in whichever form it already is.
    pub body: Body,
    /// Verified facts.
    pub facts: Facts,
    /// The provider's own size, before anything of ours: what it bills.
    pub came: Size,
    /// The prompt as the provider rewrote it.
    pub revised_prompt: Option<String>,
    /// What was lost on the way.
    pub notes: Vec<&'static str>,
}

/// A finished file: base64 that needed no decoding, or bytes.
#[derive(Debug, Clone)]
pub enum Body {
    /// Base64 text, untouched.
    Base64(Bytes),
    /// The file.
    Bytes(Bytes),
}

impl Finisher {
    /// Finishes one output. Everything wrong with it is the provider's fault and moves on to the next route.
    pub async fn finish(&self, output: Output, debts: &Debts, deadline: Instant) -> Result<Finished, Fault> {
        let revised_prompt = output.revised_prompt;
        let (body, facts) = match output.source {
            Source::Base64(text) => {
                let facts = inspect_base64(&text, &self.limits).map_err(|flaw| unusable(&flaw))?;
                (Body::Base64(text), facts)
            }
            Source::Bytes(bytes) => self.verify(bytes)?,
            Source::Link(link) => match link.strip_prefix("data:") {
                Some(data) => self.verify(decode_data_uri(data)?)?,
                None => self.verify(self.download(&link, deadline).await?)?,
            },
        };
        let came = facts.size;
        let resize = debts.resize.filter(|resize| resize.size != came);
        let drawn = resize.is_some() && facts.format == Format::Svg;
        let wanted = debts.format.unwrap_or(if drawn { Format::Png } else { facts.format });
        let recompress = debts.recompress && wanted.lossy();
        if wanted == facts.format && !recompress && resize.is_none() {
            return Ok(Finished { body, facts, came, revised_prompt, notes: Vec::new() });
        }
        let picture = Picture { bytes: body.into_bytes()?, facts };
        let recipe = Recipe { format: wanted, resize, canvas: Some(debts.canvas), quality: debts.quality };
        let limits = self.limits;
        let done = self.workers.run(move || transcode(&picture, &recipe, &limits)).await;
        let done = done.and_then(|outcome| outcome).map_err(|flaw| unusable(&flaw))?;
        let Picture { bytes, facts } = done.picture;
        Ok(Finished { body: Body::Bytes(bytes), facts, came, revised_prompt, notes: done.notes })
    }

    fn verify(&self, bytes: Bytes) -> Result<(Body, Facts), Fault> {
        let picture = Picture::verify(bytes, &self.limits).map_err(|flaw| unusable(&flaw))?;
        Ok((Body::Bytes(picture.bytes), picture.facts))
    }

    /// Reading buys nothing: a link that fails is tried again, a few times. When time runs out over that, what the link
    /// answered says more than that it is late.
    async fn download(&self, link: &str, deadline: Instant) -> Result<Bytes, Fault> {
        let (mut tries, mut seen) = (0, None);
        loop {
            tries += 1;
            let pause = Duration::from_millis(150) * tries;
            match self.client.download(link, deadline).await {
                Err(fault)
                    if fault.kind == FaultKind::Unavailable && tries < 4 && Instant::now() + pause < deadline =>
                {
                    seen = Some(fault);
                    sleep(pause).await;
                }
                Err(fault) if fault.kind == FaultKind::Timeout => return Err(seen.unwrap_or(fault)),
                outcome => return outcome,
            }
        }
    }
}

impl Body {
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
fn decode_data_uri(data: &str) -> Result<Bytes, Fault> {
    match data.split_once(";base64,") {
        Some((_, text)) => decode(text.as_bytes()),
        None => Err(Fault::new(FaultKind::Empty, "the provider's picture is a data address without base64")),
    }
}

fn unusable(flaw: &Flaw) -> Fault {
    Fault::new(FaultKind::Empty, format!("the provider's picture is not usable: {flaw}"))
}

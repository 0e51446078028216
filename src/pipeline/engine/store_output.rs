//! Fetches and verifies what a provider made. Pictures are post-processed and kept in memory or stored; videos are streamed
//! into the media store and read as they pass.

use super::postprocess::{Body, Finished, PostProcessor, decode_data_uri};
use super::state::OutputFile;
use crate::base::Backoff;
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Output, Source};
use crate::media::storage::{Storage, StorageError};
use crate::media::{Probe, VideoFlaw};
use crate::outbound::Client;
use crate::pipeline::planning::Debts;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The delays between tries of a result link.
const DOWNLOAD_BACKOFF: Backoff = Backoff::new(Duration::from_millis(150), Duration::from_secs(1));

/// Why an output is not available.
pub(super) enum OutputError {
    /// The provider's file is of no use.
    Invalid(Fault),
    /// It could not be fetched or stored this time.
    Retryable(Fault),
}

impl OutputError {
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Invalid(fault) | Self::Retryable(fault) => fault,
        }
    }
}

/// Where outputs are kept.
#[derive(Clone, Copy)]
pub(in crate::pipeline) enum OutputTarget<'a> {
    /// In memory, for a caller who waits for pictures.
    Memory,
    /// In the media store.
    Store(&'a Storage),
}

/// Fetches outputs.
pub(super) struct OutputReader<'a> {
    pub client: &'a Client,
    pub post: &'a PostProcessor,
    pub target: OutputTarget<'a>,
    pub debts: &'a Debts,
    /// When fetching is given up.
    pub deadline: Instant,
}

impl OutputReader<'_> {
    /// Fetches, verifies and keeps one picture.
    pub(super) async fn picture(&self, output: Output) -> Result<OutputFile, OutputError> {
        let body = match output.source {
            Source::Base64(text) => Body::Base64(text),
            Source::Bytes(bytes) => Body::Bytes(bytes),
            Source::Link(link) => Body::Bytes(match link.strip_prefix("data:") {
                Some(data) => decode_data_uri(data).map_err(OutputError::Invalid)?,
                None => self.download(&link).await.map_err(sort)?,
            }),
        };
        let Finished { body, facts, provider_size, notes } = self.post.finish(body, self.debts).await.map_err(sort)?;
        let mut file = OutputFile {
            name: String::new(),
            content_type: facts.format.mime().to_owned(),
            size_bytes: body.file_len() as u64,
            size: Some(facts.size),
            provider_size: Some(provider_size),
            millis: None,
            revised_prompt: output.revised_prompt,
            body: None,
            notes,
        };
        match self.target {
            OutputTarget::Memory => file.body = Some(body),
            OutputTarget::Store(storage) => {
                let bytes = body.into_bytes().map_err(OutputError::Invalid)?;
                file.name = storage.put(bytes, facts.format).await.map_err(unstored)?;
            }
        }
        Ok(file)
    }

    /// Downloads a picture. Reading buys nothing, so a link that fails is tried again, a few times. When time runs out over
    /// that, the answer of the link is reported rather than the time-out.
    async fn download(&self, link: &str) -> Result<Bytes, Fault> {
        let (mut tries, mut seen) = (0, None);
        loop {
            tries += 1;
            let pause = DOWNLOAD_BACKOFF.delay(tries);
            match self.client.download(link, self.deadline).await {
                Err(fault)
                    if fault.kind == FaultKind::Unavailable && tries < 4 && Instant::now() + pause < self.deadline =>
                {
                    seen = Some(fault);
                    sleep(pause).await;
                }
                Err(fault) if fault.kind == FaultKind::Timeout => return Err(seen.unwrap_or(fault)),
                outcome => return outcome,
            }
        }
    }

    /// Streams a video into the media store piece by piece, and reads container, length and pixels on the way.
    pub(super) async fn video(&self, output: Output) -> Result<OutputFile, OutputError> {
        let OutputTarget::Store(storage) = self.target else {
            return Err(OutputError::Invalid(Fault::new(FaultKind::Malformed, "a video is not kept in memory")));
        };
        let mut pieces = match output.source {
            Source::Link(link) if !link.starts_with("data:") => {
                Pieces::Arriving(self.client.open(&link, self.deadline).await.map_err(sort)?)
            }
            Source::Link(link) => {
                let text = link.split_once(";base64,").map(|(_, text)| Bytes::copy_from_slice(text.as_bytes()));
                let text = text.ok_or_else(|| unusable(VideoFlaw::Unknown))?;
                Pieces::Here(Some(Body::Base64(text).into_bytes().map_err(OutputError::Invalid)?))
            }
            Source::Base64(text) => Pieces::Here(Some(Body::Base64(text).into_bytes().map_err(OutputError::Invalid)?)),
            Source::Bytes(bytes) => Pieces::Here(Some(bytes)),
        };
        let (mut probe, mut draft) = (Probe::default(), None);
        let mut early = Vec::new();
        let read = async {
            while let Some(piece) = pieces.next().await.map_err(sort)? {
                probe.feed(&piece).map_err(unusable)?;
                early.push(piece);
                // The file's name says what it is, so it begins once that is known.
                let Some(container) = probe.container() else { continue };
                let draft = match &mut draft {
                    Some(draft) => draft,
                    empty => empty.insert(storage.draft(container.extension()).await.map_err(unstored)?),
                };
                for piece in early.drain(..) {
                    draft.write(piece).await.map_err(unstored)?;
                }
            }
            probe.finish().map_err(unusable)
        };
        let read = read.await;
        let (facts, draft) = match (read, draft) {
            (Ok(facts), Some(draft)) => (facts, draft),
            (read, draft) => {
                if let Some(draft) = draft {
                    draft.abort().await;
                }
                return Err(read.err().unwrap_or_else(|| unusable(VideoFlaw::Unknown)));
            }
        };
        let name = draft.finish().await.map_err(unstored)?;
        let file = OutputFile {
            name,
            content_type: facts.container.mime().to_owned(),
            size_bytes: facts.bytes,
            size: facts.size,
            provider_size: None,
            millis: facts.millis,
            revised_prompt: output.revised_prompt,
            body: None,
            notes: Vec::new(),
        };
        Ok(file)
    }
}

enum Pieces {
    Here(Option<Bytes>),
    Arriving(crate::outbound::Download),
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Here(bytes) => Ok(bytes.take()),
            Self::Arriving(download) => download.next().await,
        }
    }
}

/// Trouble on the way passes; anything else is what the provider made.
fn sort(fault: Fault) -> OutputError {
    match fault.kind {
        FaultKind::Unavailable | FaultKind::Timeout => OutputError::Retryable(fault),
        _ => OutputError::Invalid(fault),
    }
}

fn unusable(flaw: VideoFlaw) -> OutputError {
    let text = format!("the provider's video is not usable: {flaw}");
    let fault = Fault::new(FaultKind::Empty, text).accepted(Accepted::Yes);
    // A connection that closes early looks like a file that ends early.
    if flaw == VideoFlaw::Truncated { OutputError::Retryable(fault) } else { OutputError::Invalid(fault) }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn unstored(error: StorageError) -> OutputError {
    tracing::error!(%error, "media could not be stored");
    OutputError::Retryable(
        Fault::new(FaultKind::Unavailable, "what the provider made could not be stored").accepted(Accepted::Yes),
    )
}

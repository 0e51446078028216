//! Brings what a provider made into the media store: pictures through the finisher, videos streamed and read on the way.

use super::failover::Runner;
use super::finish::Body;
use super::fit::Debts;
use super::papers::Made;
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Output, Source};
use crate::media::storage::{Storage, StorageError};
use crate::media::{Probe, VideoFlaw};
use bytes::Bytes;
use tokio::time::Instant;

/// Why something was not kept.
pub(super) enum Unkept {
    /// It is no use to anybody.
    Unusable(Fault),
    /// It could not be fetched or stored this time.
    Later(Fault),
}

impl Unkept {
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Unusable(fault) | Self::Later(fault) => fault,
        }
    }
}

/// Keeps one output.
pub(super) async fn keep(
    runner: &Runner,
    storage: &Storage,
    output: Output,
    debts: &Debts,
    video: bool,
    deadline: Instant,
) -> Result<(Made, Vec<&'static str>), Unkept> {
    if video {
        keep_video(runner, storage, output, deadline).await
    } else {
        keep_picture(runner, storage, output, debts, deadline).await
    }
}

async fn keep_picture(
    runner: &Runner,
    storage: &Storage,
    output: Output,
    debts: &Debts,
    deadline: Instant,
) -> Result<(Made, Vec<&'static str>), Unkept> {
    let done = runner.finisher.finish(output, debts, deadline).await.map_err(sort)?;
    let (facts, notes) = (done.facts, done.notes);
    let bytes = done.body.into_bytes().map_err(Unkept::Unusable)?;
    let size_bytes = bytes.len() as u64;
    let name = storage.put(bytes, facts.format).await.map_err(unstored)?;
    let made = Made {
        name,
        content_type: facts.format.mime().to_owned(),
        size_bytes,
        size: Some(facts.size),
        came: Some(done.came),
        millis: None,
        revised_prompt: done.revised_prompt,
    };
    Ok((made, notes))
}

/// A video goes from the provider to the store piece by piece, and is read as it passes.
async fn keep_video(
    runner: &Runner,
    storage: &Storage,
    output: Output,
    deadline: Instant,
) -> Result<(Made, Vec<&'static str>), Unkept> {
    let mut pieces = match output.source {
        Source::Link(link) if !link.starts_with("data:") => {
            Pieces::Arriving(runner.finisher.client.open(&link, deadline).await.map_err(sort)?)
        }
        Source::Link(link) => {
            let text = link.split_once(";base64,").map(|(_, text)| Bytes::copy_from_slice(text.as_bytes()));
            let text = text.ok_or_else(|| unusable(VideoFlaw::Unknown))?;
            Pieces::Here(Some(Body::Base64(text).into_bytes().map_err(Unkept::Unusable)?))
        }
        Source::Base64(text) => Pieces::Here(Some(Body::Base64(text).into_bytes().map_err(Unkept::Unusable)?)),
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
    let made = Made {
        name,
        content_type: facts.container.mime().to_owned(),
        size_bytes: facts.bytes,
        size: facts.size,
        came: None,
        millis: facts.millis,
        revised_prompt: output.revised_prompt,
    };
    Ok((made, Vec::new()))
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
fn sort(fault: Fault) -> Unkept {
    match fault.kind {
        FaultKind::Unavailable | FaultKind::Timeout => Unkept::Later(fault),
        _ => Unkept::Unusable(fault),
    }
}

fn unusable(flaw: VideoFlaw) -> Unkept {
    let text = format!("the provider's video is not usable: {flaw}");
    let fault = Fault::new(FaultKind::Empty, text).accepted(Accepted::Yes);
    // A connection that closes early looks like a file that ends early.
    if flaw == VideoFlaw::Truncated { Unkept::Later(fault) } else { Unkept::Unusable(fault) }
}

fn unstored(error: StorageError) -> Unkept {
    tracing::error!(%error, "media could not be stored");
    Unkept::Later(
        Fault::new(FaultKind::Unavailable, "what the provider made could not be stored").accepted(Accepted::Yes),
    )
}

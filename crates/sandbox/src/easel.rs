//! Where result files come from: drawn on demand, off the async threads, and kept for as long as they are asked for
//! often. A file is made from its description alone, so that nothing has to be stored.

use crate::media::draw::{draw, draw_black};
use crate::media::{Format, Size};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Bytes of finished files that are kept.
const KEPT: usize = 32 * 1024 * 1024;

/// What is to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Motif {
    pub(super) prompt: Arc<str>,
    /// Which picture of the call; each is different.
    pub(super) index: u32,
    pub(super) size: Size,
    pub(super) format: Format,
    /// All black, as safety checkers of open models leave it.
    pub(super) black: bool,
}

impl Motif {
    /// Another format than the one announced.
    #[must_use]
    pub(super) fn wrong_type(self) -> Self {
        let format = if self.format == Format::Png { Format::Jpeg } else { Format::Png };
        Self { format, ..self }
    }

    /// Another size than the one announced.
    #[must_use]
    pub(super) fn wrong_size(self) -> Self {
        let size = Size::new((self.size.width / 2).max(1), (self.size.height / 2).max(1));
        Self { size, ..self }
    }

    fn paint(&self) -> Option<Bytes> {
        if self.format == Format::Svg {
            return Some(self.vector());
        }
        let drawn =
            if self.black { draw_black(self.size, self.format) } else { draw(&self.text(), self.size, self.format) };
        drawn.inspect_err(|flaw| tracing::error!(%flaw, "the sandbox could not draw a picture")).ok()
    }

    fn text(&self) -> String {
        if self.index == 0 { self.prompt.to_string() } else { format!("{} #{}", self.prompt, self.index + 1) }
    }

    fn vector(&self) -> Bytes {
        let Size { width, height } = self.size;
        let text = self.text().replace('&', "&amp;").replace('<', "&lt;");
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"><rect width="100%" height="100%" fill="#335"/><text x="16" y="48" fill="#fff">{text}</text></svg>"##
        )
        .into()
    }
}

/// Draws, on as many cores as there are.
pub(super) struct Easel {
    cores: Semaphore,
    finished: Mutex<VecDeque<(Motif, Bytes)>>,
}

impl Default for Easel {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cores: Semaphore::new(cores), finished: Mutex::default() }
    }
}

impl Easel {
    /// The file; `None` when it cannot be drawn, which the log explains.
    pub(super) async fn draw(&self, motif: &Motif) -> Option<Bytes> {
        if let Some(file) = self.find(motif) {
            return Some(file);
        }
        let _core = self.cores.acquire().await.ok()?;
        let work = motif.clone();
        let file = tokio::task::spawn_blocking(move || work.paint()).await.ok().flatten()?;
        self.keep(motif.clone(), file.clone());
        Some(file)
    }

    fn find(&self, motif: &Motif) -> Option<Bytes> {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.iter().find(|(known, _)| known == motif).map(|(_, file)| file.clone())
    }

    fn keep(&self, motif: Motif, file: Bytes) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.push_back((motif, file));
        let mut total: usize = finished.iter().map(|(_, file)| file.len()).sum();
        while total > KEPT || finished.len() > 256 {
            let Some((_, oldest)) = finished.pop_front() else { break };
            total -= oldest.len();
        }
    }
}

//! What is read again while the gateway serves: when its files change, and on SIGHUP. A reading with mistakes is told and
//! changes nothing.

use crate::config::Problems;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::interval;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Something that is made of files and can be made again.
pub(super) struct Reloadable {
    /// What it is, for the log.
    pub what: &'static str,
    /// The files, and the directories whose files it is made of.
    pub places: Vec<PathBuf>,
    /// Reads it and puts it where it is used; nothing is put anywhere when there is a problem. It may block.
    pub reload: Box<dyn Fn() -> Result<(), Problems> + Send + Sync>,
}

/// Reloads what changes, until the gateway stops.
pub(super) async fn watch(things: Vec<Reloadable>, mut stopped: watch::Receiver<bool>) {
    let hangups = signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!(%error, "SIGHUP is not heard"));
    let mut hangups = hangups.ok();
    let mut ticks = interval(LOOK);
    let mut watched: Vec<(Reloadable, Vec<Trace>)> = Vec::new();
    for thing in things {
        let traces = traces(&thing.places);
        watched.push((thing, traces));
    }
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            Some(()) = hangup(&mut hangups) => true,
            _ = stopped.changed() => return,
        };
        let looked = tokio::task::spawn_blocking(move || {
            watched.into_iter().map(|(thing, known)| look(thing, &known, asked)).collect()
        });
        match looked.await {
            Ok(again) => watched = again,
            Err(error) => return tracing::error!(%error, "files are no longer watched"),
        }
    }
}

async fn hangup(hangups: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match hangups {
        Some(hangups) => hangups.recv().await,
        None => std::future::pending().await,
    }
}

fn look(thing: Reloadable, known: &[Trace], asked: bool) -> (Reloadable, Vec<Trace>) {
    let now = traces(&thing.places);
    if asked || now != known {
        match (thing.reload)() {
            Ok(()) => tracing::info!("{} reloaded", thing.what),
            Err(Problems(problems)) => {
                for problem in problems {
                    tracing::error!("{} not reloaded, the old one stays: {problem}", thing.what);
                }
            }
        }
    }
    (thing, now)
}

/// What tells one state of a file from another.
type Trace = (PathBuf, Option<SystemTime>, u64);

fn traces(places: &[PathBuf]) -> Vec<Trace> {
    let mut found: Vec<Trace> = places.iter().flat_map(|place| files(place)).map(trace).collect();
    found.sort();
    found
}

fn trace(path: PathBuf) -> Trace {
    let about = std::fs::metadata(&path).ok();
    let changed = about.as_ref().and_then(|about| about.modified().ok());
    (path, changed, about.map_or(0, |about| about.len()))
}

/// The file, or the files of the directory.
fn files(place: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(place) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => vec![place.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_change_is_read_once_and_a_request_always() {
        let directory = tempfile::tempdir().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let reload = {
            let count = Arc::clone(&count);
            Box::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
                Err(Problems(vec!["bad".to_owned()]))
            })
        };
        let thing = Reloadable { what: "a thing", places: vec![directory.path().to_owned()], reload };
        let known = traces(&thing.places);
        let (thing, known) = look(thing, &known, false);
        assert_eq!(count.load(Ordering::SeqCst), 0, "nothing changed");
        std::fs::write(directory.path().join("fal.toml"), "x = 1").unwrap();
        let (thing, known) = look(thing, &known, false);
        let (thing, known) = look(thing, &known, false);
        assert_eq!(count.load(Ordering::SeqCst), 1, "a bad file is told once, not every second");
        look(thing, &known, true);
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}

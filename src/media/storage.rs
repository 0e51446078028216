//! Finished media that callers fetch by link: a directory now, a bucket by configuration. A name holds the time it was
//! made and 120 random bits, so that a link cannot be guessed and its age needs no lookup.

use super::{Container, Format};
use crate::base::{Timestamp, id};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Where kept answers lie, apart from what has a link.
const ANSWERS: &str = "answers";
/// For how long; a little more than their keys are valid.
const ANSWER_LIFETIME: Duration = Duration::from_hours(25);

/// Where finished media live, and for how long.
#[derive(Debug, Clone)]
pub struct Storage {
    objects: Arc<dyn ObjectStore>,
    lifetime: Duration,
}

/// Media could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The configured place is not one we know or can make.
    #[error("media.storage '{0}': {1}")]
    Place(String, String),
    /// Reading or writing failed.
    #[error("media storage: {0}")]
    Io(#[from] object_store::Error),
}

/// A stored file.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The bytes.
    pub bytes: Bytes,
    /// The media type, by the name's extension.
    pub mime: &'static str,
}

/// A stored file, or a part of one, that has not been read yet.
pub struct Opened {
    /// The bytes, piece by piece.
    pub pieces: BoxStream<'static, Result<Bytes, StorageError>>,
    /// The media type, by the name's extension.
    pub mime: &'static str,
    /// Which bytes these are.
    pub range: Range<u64>,
    /// Bytes of the whole file.
    pub size: u64,
}

/// A file in the making. Nobody can read it before it is finished; one that is dropped or aborted never existed.
pub struct Draft {
    /// The name that it will have.
    pub name: String,
    writer: WriteMultipart,
}

/// Pieces that are being written at once.
const WRITES: usize = 4;

impl Draft {
    /// Adds a piece; waits when the storage is slower than the source.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), StorageError> {
        self.writer.wait_for_capacity(WRITES).await?;
        self.writer.put(piece);
        Ok(())
    }

    /// Makes the file readable.
    pub async fn finish(self) -> Result<String, StorageError> {
        self.writer.finish().await?;
        Ok(self.name)
    }

    /// Throws it away.
    pub async fn abort(self) {
        if let Err(error) = self.writer.abort().await {
            tracing::debug!(%error, "a half-written file could not be removed");
        }
    }
}

/// The media type of a file by its extension.
fn mime_of(extension: &str) -> Option<&'static str> {
    let picture = || Format::parse(extension).map(Format::mime);
    Container::of_extension(extension).map(Container::mime).or_else(picture)
}

impl Storage {
    /// Opens `file:///absolute/dir` or `file://relative/dir`, making the directory.
    pub fn open(place: &str, lifetime: Duration) -> Result<Self, StorageError> {
        let wrong = |why: String| StorageError::Place(place.to_owned(), why);
        let directory = place
            .strip_prefix("file://")
            .filter(|directory| !directory.is_empty())
            .ok_or_else(|| wrong("it should be file:///var/lib/lumenfall/media or the like".to_owned()))?;
        std::fs::create_dir_all(directory).map_err(|error| wrong(error.to_string()))?;
        let objects = LocalFileSystem::new_with_prefix(directory).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { objects: Arc::new(objects), lifetime })
    }

    /// How long a link lives.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Stores a file and returns its name, `<id>.<extension>`.
    pub async fn put(&self, bytes: Bytes, format: Format) -> Result<String, StorageError> {
        let name = format!("{}.{}", id::fresh(Timestamp::now()), format.extension());
        self.objects.put(&Path::from(name.as_str()), PutPayload::from_bytes(bytes)).await?;
        Ok(name)
    }

    /// Reads a file. `None` when there is none of that name, or it is past its time.
    pub async fn get(&self, name: &str) -> Result<Option<Stored>, StorageError> {
        let Some((id, extension)) = name.split_once('.') else { return Ok(None) };
        let (Some(made), Some(mime)) = (id::made_at(id), mime_of(extension)) else { return Ok(None) };
        if made.plus(self.lifetime) < Timestamp::now() {
            return Ok(None);
        }
        match self.objects.get(&Path::from(name)).await {
            Ok(found) => Ok(Some(Stored { bytes: found.bytes().await?, mime })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a file of that extension, to be written piece by piece.
    pub async fn draft(&self, extension: &str) -> Result<Draft, StorageError> {
        let name = format!("{}.{extension}", id::fresh(Timestamp::now()));
        let upload = self.objects.put_multipart(&Path::from(name.as_str())).await?;
        Ok(Draft { name, writer: WriteMultipart::new(upload) })
    }

    /// Opens a file, or these bytes of it. `None` when there is none of that name, or it is past its time.
    pub async fn open_part(&self, name: &str, part: Option<Range<u64>>) -> Result<Option<Opened>, StorageError> {
        let Some((id, extension)) = name.split_once('.') else { return Ok(None) };
        let (Some(made), Some(mime)) = (id::made_at(id), mime_of(extension)) else { return Ok(None) };
        if made.plus(self.lifetime) < Timestamp::now() {
            return Ok(None);
        }
        let options = GetOptions { range: part.map(GetRange::Bounded), ..GetOptions::default() };
        match self.objects.get_opts(&Path::from(name), options).await {
            Ok(found) => {
                let (range, size) = (found.range.clone(), found.meta.size);
                let pieces = found.into_stream().map_err(StorageError::from).boxed();
                Ok(Some(Opened { pieces, mime, range, size }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps an answer for those who ask for it again with their idempotency key, and returns its name. It has no link.
    pub async fn put_answer(&self, chunks: &[Bytes]) -> Result<String, StorageError> {
        let name = format!("{ANSWERS}/{}", id::fresh(Timestamp::now()));
        self.objects.put(&Path::from(name.as_str()), chunks.iter().cloned().collect()).await?;
        Ok(name)
    }

    /// Reads an answer. `None` when it is gone.
    pub async fn read_answer(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        match self.objects.get(&Path::from(name)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes of a stored file; `None` when it is not there any more.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, StorageError> {
        match self.objects.head(&Path::from(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a file; one that is gone already is fine.
    pub async fn delete(&self, name: &str) -> Result<(), StorageError> {
        match self.objects.delete(&Path::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes what is past its time; returns how many.
    pub async fn sweep(&self) -> Result<usize, StorageError> {
        let now = Timestamp::now();
        let mut listed = self.objects.list(None);
        let mut gone = 0;
        while let Some(meta) = listed.try_next().await? {
            let name = meta.location.as_ref();
            let (made, lifetime) = match name.strip_prefix(ANSWERS) {
                Some(id) => (id::made_at(id.trim_start_matches('/')), ANSWER_LIFETIME),
                None => (name.split_once('.').and_then(|(id, _)| id::made_at(id)), self.lifetime),
            };
            if made.is_some_and(|made| made.plus(lifetime) < now) {
                self.objects.delete(&meta.location).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_files_for_their_time_and_no_longer() {
        let place = tempfile::tempdir().unwrap();
        let url = format!("file://{}", place.path().join("deep/media").display());
        let storage = Storage::open(&url, Duration::from_hours(1)).unwrap();
        let name = storage.put(Bytes::from_static(b"picture"), Format::Png).await.unwrap();
        let found = storage.get(&name).await.unwrap().unwrap();
        assert_eq!((found.bytes.as_ref(), found.mime), (b"picture".as_slice(), "image/png"));

        let old = format!("{}.png", id::fresh(Timestamp::now().minus(Duration::from_secs(3601))));
        storage.objects.put(&Path::from(old.as_str()), PutPayload::from_static(b"old")).await.unwrap();
        assert!(storage.get(&old).await.unwrap().is_none(), "expired before it is swept");
        assert_eq!(storage.sweep().await.unwrap(), 1);
        assert!(storage.get(&name).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn answers_are_kept_apart_from_media_and_for_a_day() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::open(&format!("file://{}", place.path().display()), Duration::from_secs(1)).unwrap();
        let name = storage.put_answer(&[Bytes::from_static(b"{\"a\":"), Bytes::from_static(b"1}")]).await.unwrap();
        assert_eq!(storage.read_answer(&name).await.unwrap().unwrap().as_ref(), b"{\"a\":1}");
        assert!(storage.get(&name).await.unwrap().is_none(), "no link leads there");
        let aged = |hours: u64| format!("answers/{}", id::fresh(Timestamp::now().minus(Duration::from_hours(hours))));
        for old in [aged(3), aged(26)] {
            storage.objects.put(&Path::from(old.as_str()), PutPayload::from_static(b"old")).await.unwrap();
        }
        assert_eq!(storage.sweep().await.unwrap(), 1);
        assert!(storage.read_answer("answers/none").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn strange_names_are_not_found() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::open(&format!("file://{}", place.path().display()), Duration::from_secs(1)).unwrap();
        for name in ["", "x", "../../etc/passwd", "a.png", "0000000000000000000000000000.exe", "%2e%2e/x.png"] {
            assert!(storage.get(name).await.unwrap().is_none(), "{name}");
        }
        assert!(Storage::open("ftp://x", Duration::ZERO).is_err());
    }
}

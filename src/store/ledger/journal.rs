//! Write-ahead journal used while the database is unavailable: append, fsync, replay in order.
//!
//! A file belongs to one process, which holds a lock on it for as long as it lives; the file's name is the process's. So a
//! file that nobody holds was left behind by a process that is gone: the next process that starts writes its rows into the
//! database and settles the requests that were running.
//!
//! A line is a checksum, a space and an entry as JSON. A last line that is incomplete (the machine stopped while it was
//! written) was never acknowledged to anybody and is skipped; a damaged line elsewhere is logged and skipped.

use super::transaction::LedgerEntry;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// How many characters of the checksum are kept.
const CHECKSUM_CHARS: usize = 16;
const EXTENSION: &str = "journal";

/// A file that this process holds.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    /// Where its last whole line ends.
    end: u64,
    /// Where the first line begins that the database does not have.
    replayed: u64,
    /// The length from which on no request is admitted.
    limit: u64,
}

/// Entries to replay, and where the next ones begin.
pub(crate) struct Chunk {
    pub(crate) entries: Vec<LedgerEntry>,
    next: u64,
}

impl Journal {
    /// Makes the file of the process of that name.
    pub(crate) fn create(directory: &Path, owner: &str, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{owner}.{EXTENSION}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.try_lock()?;
        // The name itself has to survive a power cut.
        File::open(directory)?.sync_all()?;
        Ok(Self { file, path, end: 0, replayed: 0, limit })
    }

    /// Takes over the files of processes that are gone.
    pub(crate) fn abandoned(directory: &Path) -> io::Result<Vec<Self>> {
        fs::create_dir_all(directory)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                found.extend(Self::adopt(path)?);
            }
        }
        Ok(found)
    }

    /// Takes over a file; `None` when its process lives, or another took it first.
    fn adopt(path: PathBuf) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        let end = file.metadata()?.len();
        Ok(Some(Self { file, path, end, replayed: 0, limit: 0 }))
    }

    /// The process whose file it is or was.
    pub(crate) fn owner(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether it holds rows that the database does not have.
    pub(crate) fn has_rows(&self) -> bool {
        self.replayed < self.end
    }

    /// Whether new requests may be admitted. Final rows of running requests are always accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.end < self.limit
    }

    /// Appends entries; they are durable when this returns. After an error the file is as it was.
    pub(crate) fn append(&mut self, entries: &[LedgerEntry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            let json = serde_json::to_string(entry)?;
            writeln!(lines, "{} {json}", checksum(&json))?;
        }
        let written = self.write(&lines);
        if written.is_err() {
            // An incomplete line must not stand before the next one.
            self.file.set_len(self.end)?;
        } else {
            self.end += lines.len() as u64;
        }
        written
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(lines)?;
        self.file.sync_data()
    }

    /// The next entries that the database does not have.
    pub(crate) fn read(&mut self, max_entries: usize) -> io::Result<Chunk> {
        self.file.seek(SeekFrom::Start(self.replayed))?;
        let mut reader = BufReader::new(&self.file);
        let mut chunk = Chunk { entries: Vec::new(), next: self.replayed };
        let mut line = Vec::new();
        while chunk.entries.len() < max_entries && chunk.next < self.end {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                chunk.next = self.end;
                break;
            }
            chunk.next += read;
            match parse(&line) {
                Some(entry) => chunk.entries.push(entry),
                None if line.last() != Some(&b'\n') => {
                    tracing::warn!(path = %self.path.display(), "skipped an incomplete last line of the journal");
                }
                None => {
                    let line = String::from_utf8_lossy(&line);
                    tracing::error!(path = %self.path.display(), %line, "skipped a damaged line of the journal");
                }
            }
        }
        Ok(chunk)
    }

    /// Notes that the database has that chunk. When it has everything, the file is emptied.
    pub(crate) fn finish(&mut self, chunk: &Chunk) -> io::Result<()> {
        self.replayed = chunk.next;
        if !self.has_rows() {
            self.file.set_len(0)?;
            self.file.sync_data()?;
            (self.replayed, self.end) = (0, 0);
        }
        Ok(())
    }

    /// Removes the file, which must have no rows left.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn checksum(json: &str) -> String {
    let mut text = hex::encode(Sha256::digest(json));
    text.truncate(CHECKSUM_CHARS);
    text
}

fn parse(line: &[u8]) -> Option<LedgerEntry> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (stored, json) = line.split_once(' ')?;
    if stored != checksum(json) {
        return None;
    }
    serde_json::from_str(json).ok()
}

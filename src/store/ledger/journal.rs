//! Rows on disk while the database is away: appended, flushed to the platter, read back in order when it is there again.
//!
//! A file belongs to one process, which holds a lock on it for as long as it lives; the file's name is the process's. So a
//! file that nobody holds was left behind by a process that is gone: whoever starts next writes its rows into the
//! database and settles what that process was running.
//!
//! A line is a checksum, a space and a step as JSON. A last line that is torn (the machine stopped while it was written)
//! was never acknowledged to anybody and is passed over; a bad line elsewhere is told and passed over.

use super::transaction::Step;
use crate::store::keys::credential::hash;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// How many characters of the checksum are kept.
const CHECK: usize = 16;
const ENDING: &str = "journal";

/// A file that is ours.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    /// Up to here it holds whole lines.
    end: u64,
    /// Up to here the database has it.
    done: u64,
    /// Beyond this, no request is let in.
    limit: u64,
}

/// Steps read back, and where the next ones begin.
pub(crate) struct Chunk {
    pub(crate) steps: Vec<Step>,
    next: u64,
}

impl Journal {
    /// A new file for the process of that name.
    pub(crate) fn create(directory: &Path, owner: &str, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{owner}.{ENDING}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.try_lock()?;
        // The name itself has to survive a power cut.
        File::open(directory)?.sync_all()?;
        Ok(Self { file, path, end: 0, done: 0, limit })
    }

    /// The files that processes left behind which are gone.
    pub(crate) fn abandoned(directory: &Path) -> io::Result<Vec<Self>> {
        fs::create_dir_all(directory)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                found.extend(Self::adopt(path)?);
            }
        }
        Ok(found)
    }

    /// Takes a file over; `None` when its process lives, or another took it first.
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
        Ok(Some(Self { file, path, end, done: 0, limit: 0 }))
    }

    /// Whose it is or was.
    pub(crate) fn owner(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether it holds rows that the database does not have.
    pub(crate) fn has_rows(&self) -> bool {
        self.done < self.end
    }

    /// Whether new requests may still be let in. Final rows of those that run are always taken.
    pub(crate) fn has_room(&self) -> bool {
        self.end < self.limit
    }

    /// Adds steps; they are durable when this returns. After an error the file is as it was.
    pub(crate) fn append(&mut self, steps: &[Step]) -> io::Result<()> {
        let mut lines = Vec::new();
        for step in steps {
            let json = serde_json::to_string(step)?;
            writeln!(lines, "{} {json}", checksum(&json))?;
        }
        let written = self.write(&lines);
        if written.is_err() {
            // What was half written must not stand before what comes next.
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

    /// The next steps that the database does not have.
    pub(crate) fn read(&mut self, most: usize) -> io::Result<Chunk> {
        self.file.seek(SeekFrom::Start(self.done))?;
        let mut reader = BufReader::new(&self.file);
        let mut chunk = Chunk { steps: Vec::new(), next: self.done };
        let mut line = Vec::new();
        while chunk.steps.len() < most && chunk.next < self.end {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                chunk.next = self.end;
                break;
            }
            chunk.next += read;
            match parse(&line) {
                Some(step) => chunk.steps.push(step),
                None if line.last() != Some(&b'\n') => {
                    tracing::warn!(path = %self.path.display(), "the journal ends in a torn line, which is passed over");
                }
                None => {
                    let line = String::from_utf8_lossy(&line);
                    tracing::error!(path = %self.path.display(), %line, "a line of the journal is damaged");
                }
            }
        }
        Ok(chunk)
    }

    /// The database has that chunk. When it has everything, the file starts anew.
    pub(crate) fn finish(&mut self, chunk: &Chunk) -> io::Result<()> {
        self.done = chunk.next;
        if !self.has_rows() {
            self.file.set_len(0)?;
            self.file.sync_data()?;
            (self.done, self.end) = (0, 0);
        }
        Ok(())
    }

    /// Removes the file, which must have nothing left in it.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn checksum(json: &str) -> String {
    let mut text = hash(json);
    text.truncate(CHECK);
    text
}

fn parse(line: &[u8]) -> Option<Step> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (check, json) = line.split_once(' ')?;
    if check != checksum(json) {
        return None;
    }
    serde_json::from_str(json).ok()
}

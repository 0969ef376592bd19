//! What the runs of an experiment wrote down: who began, finished or failed what, and when.
//!
//! For people and their screens: no result depends on it. Several runs on several hosts append to one file,
//! a line at a time; a line that a kill or a full disk tore is skipped.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use titer_plan::StageHash;

use crate::clock;
use crate::error::{Error, Result};
use crate::lease;
use crate::links;

/// The longest text that an entry carries, in bytes: a line must reach the file in one piece.
const LONGEST: usize = 2000;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since the Unix epoch.
    pub time: f64,
    /// On which host.
    pub host: String,
    /// By which process there.
    pub pid: u32,
    /// What happened.
    #[serde(flatten)]
    pub note: Note,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// A run began.
    Began {
        /// Stages of its plan.
        stages: usize,
        /// Of these, sealed before.
        cached: usize,
        /// Stages at once.
        jobs: usize,
        /// The number of the last request before it: those up to it are none of its business.
        #[serde(default)]
        since: u64,
    },
    /// A stage began, or goes on from a checkpoint.
    Started {
        /// Which.
        stage: StageHash,
    },
    /// A stage is sealed.
    Finished {
        /// Which.
        stage: StageHash,
        /// What it took in this run.
        seconds: f64,
    },
    /// A stage failed.
    Failed {
        /// Which.
        stage: StageHash,
        /// Why, with causes.
        error: String,
        /// Whether something around it failed, so that it may go well when it is run again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// An artifact was not what was sealed; it was moved away, and the stage is done anew.
    Distrusted {
        /// Which.
        stage: StageHash,
        /// What was wrong with it, and where.
        problem: String,
    },
    /// A stage was not tried because one that it needs failed.
    Skipped {
        /// Which.
        stage: StageHash,
        /// The label of the one that failed.
        because: String,
    },
    /// A look is over, of an experiment that adds seeds until all is decided.
    Looked {
        /// Its number, from 1.
        look: usize,
        /// Looks that were planned.
        of: usize,
        /// How many comparisons are open after it.
        open: usize,
    },
    /// A run does what it was asked to.
    Heard {
        /// In words.
        request: String,
    },
    /// A run ended by itself: one that was killed has no such entry.
    Ended {
        /// Stages that it sealed.
        computed: usize,
        /// Stages that failed or were not tried.
        failed: usize,
        /// Whether it was stopped before its end.
        interrupted: bool,
        /// Processor time of its process meanwhile, in seconds; none where the system does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        processor_seconds: Option<f64>,
    },
}

/// The end of a journal to which a run appends.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let open = || {
            let mut file = links::options().read(true).append(true).create(true).open(&path)?;
            // Whoever was killed in the middle of a line must not spoil the next one.
            if file.seek(SeekFrom::End(0))? > 0 {
                file.seek(SeekFrom::End(-1))?;
                let mut last = [0];
                file.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                }
            }
            Ok(file)
        };
        let file = open().map_err(Error::writing(&path))?;
        Ok(Self { path, file })
    }

    /// Appends one entry in this process's name.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn write(&self, note: Note) -> Result<()> {
        let note = shortened(note);
        let entry = Entry { time: clock::now_seconds(), host: lease::host(), pid: std::process::id(), note };
        let mut line =
            serde_json::to_vec(&entry).map_err(|source| Error::writing(&self.path)(source.into()))?;
        line.push(b'\n');
        (&self.file).write_all(&line).map_err(Error::writing(&self.path))
    }
}

fn shortened(note: Note) -> Note {
    let cut = |mut text: String| {
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        text
    };
    match note {
        Note::Failed { stage, error, again } => Note::Failed { stage, error: cut(error), again },
        Note::Skipped { stage, because } => Note::Skipped { stage, because: cut(because) },
        Note::Distrusted { stage, problem } => Note::Distrusted { stage, problem: cut(problem) },
        Note::Heard { request } => Note::Heard { request: cut(request) },
        other => other,
    }
}

/// Follows a journal. Never writes.
#[derive(Debug, Clone)]
pub struct JournalReader {
    path: PathBuf,
    offset: u64,
}

impl JournalReader {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entries that came since the last call; none while there is no journal. A journal that became
    /// shorter was replaced, and is read again from its start.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self) -> Result<Vec<Entry>> {
        let mut file = match links::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.offset = 0;
                return Ok(Vec::new());
            }
            other => other.map_err(Error::reading(&self.path))?,
        };
        let mut read = || {
            let length = file.metadata()?.len();
            if length < self.offset {
                self.offset = 0;
            }
            let mut bytes = Vec::new();
            if length > self.offset {
                file.seek(SeekFrom::Start(self.offset))?;
                file.read_to_end(&mut bytes)?;
            }
            Ok(bytes)
        };
        let bytes = read().map_err(Error::reading(&self.path))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.offset += whole as u64;
        let lines = bytes[..whole].split(|&byte| byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(entries: Vec<Entry>) -> Vec<Note> {
        entries.into_iter().map(|entry| entry.note).collect()
    }

    #[test]
    fn what_is_written_is_read_once_and_torn_lines_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut reader = JournalReader::new(path.clone());
        assert_eq!(reader.read().unwrap(), []);
        let began = Note::Began { stages: 3, cached: 1, jobs: 2, since: 4 };
        Journal::open(path.clone()).unwrap().write(began.clone()).unwrap();
        assert_eq!(notes(reader.read().unwrap()), [began]);
        // A process was killed in the middle of a line.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"time\":1,\"no").unwrap();
        assert_eq!(reader.read().unwrap(), []);
        let ended = Note::Ended { computed: 2, failed: 0, interrupted: false, processor_seconds: Some(1.5) };
        Journal::open(path.clone()).unwrap().write(ended.clone()).unwrap();
        assert_eq!(notes(reader.read().unwrap()), std::slice::from_ref(&ended));
        assert_eq!(reader.read().unwrap(), []);
        // The store was cleaned, and a new run began.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(reader.read().unwrap(), []);
        Journal::open(path).unwrap().write(ended.clone()).unwrap();
        assert_eq!(notes(reader.read().unwrap()), [ended]);
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::open(path.clone()).unwrap();
        let stage = StageHash("ab".into());
        journal.write(Note::Failed { stage, error: "é".repeat(100_000), again: false }).unwrap();
        let Note::Failed { error, .. } = notes(JournalReader::new(path).read().unwrap()).remove(0) else {
            panic!("another note");
        };
        assert!(error.len() < LONGEST + 10 && error.ends_with("é…"), "{}", error.len());
    }
}

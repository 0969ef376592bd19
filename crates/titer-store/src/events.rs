//! The event log: append-only, one JSON event per line, numbered from 0.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic;
use crate::clock;
use crate::error::{Error, Result};
use crate::links;

/// Something that happened in a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened: `step`, `probe`, `checkpoint`, …
    pub kind: String,
    /// The optimiser step at which it happened, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The values that go with the kind. JSON has no NaN and no infinity: they are written as null.
    #[serde(default)]
    pub data: Value,
}

impl Event {
    /// An event of this kind, at this step, with these values.
    pub fn new(kind: impl Into<String>, step: impl Into<Option<u64>>, data: Value) -> Self {
        Self { kind: kind.into(), step: step.into(), data }
    }
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the log, from 0 and without gaps.
    pub sequence: u64,
    /// When it was logged, in seconds since the Unix epoch. The only part that differs between an
    /// interrupted run and an uninterrupted one.
    pub time: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The good records at the start of a piece of the log.
struct Scan {
    records: Vec<Record>,
    /// Where each record's line ends, in bytes from the start of the piece.
    ends: Vec<u64>,
    /// Whether a whole line follows that is no record, or not the next one. A torn last line, which
    /// has no line feed yet, is not damage.
    damaged: bool,
}

impl Scan {
    fn of(bytes: &[u8], first: u64) -> Self {
        let mut scan = Self { records: Vec::new(), ends: Vec::new(), damaged: false };
        let (mut end, mut next) = (0, first);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !line.ends_with(b"\n") {
                break;
            }
            match serde_json::from_slice::<Record>(line) {
                // Nothing can come after the largest number: no log is that long.
                Ok(record) if record.sequence == next && next < u64::MAX => scan.records.push(record),
                _ => {
                    scan.damaged = true;
                    break;
                }
            }
            end += line.len() as u64;
            next += 1;
            scan.ends.push(end);
        }
        scan
    }

    fn length(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }
}

/// All records of a log that nobody follows; a torn last line is ignored.
pub(crate) fn read_all(path: &Path) -> Result<Vec<Record>> {
    let scan = Scan::of(&read_from(path, 0)?.1, 0);
    if scan.damaged { Err(damaged(path, scan.records.len() as u64)) } else { Ok(scan.records) }
}

/// The records in the last 64 KiB of a log, without reading the rest.
pub(crate) fn read_tail(path: &Path) -> Result<Vec<Record>> {
    const WINDOW: u64 = 64 << 10;
    let length = path.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let start = length.saturating_sub(WINDOW);
    let bytes = read_from(path, start)?.1;
    // The first line may be cut by the window: begin after it.
    let whole = match start {
        0 => &bytes[..],
        _ => bytes.iter().position(|&byte| byte == b'\n').map_or(&[][..], |at| &bytes[at + 1..]),
    };
    let first = whole
        .split(|&byte| byte == b'\n')
        .next()
        .and_then(|line| serde_json::from_slice::<Record>(line).ok())
        .map_or(0, |record| record.sequence);
    Ok(Scan::of(whole, first).records)
}

/// The log's length and its bytes from `offset` on; nothing where there is no log yet.
fn read_from(path: &Path, offset: u64) -> Result<(u64, Vec<u8>)> {
    let mut file = match links::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, Vec::new())),
        other => other.map_err(Error::reading(path))?,
    };
    let mut read = || {
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut bytes)?;
        Ok((length, bytes))
    };
    read().map_err(Error::reading(path))
}

fn damaged(path: &Path, line: u64) -> Error {
    let problem = format!("line {} is no event, or not the next one", line + 1);
    Error::Unreadable { path: path.to_owned(), problem }
}

/// The log as its one writer holds it.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    file: File,
    next: u64,
    length: u64,
}

impl EventLog {
    /// Opens or creates the log, cuts what is torn, and goes on with the next sequence number.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let options = links::options().read(true).append(true).create(true).clone();
        atomic::moment();
        let file = options.open(&path).map_err(Error::writing(&path))?;
        let mut log = Self { path, file, next: 0, length: 0 };
        log.cut(usize::MAX)?;
        Ok(log)
    }

    /// How many events there are: the next one's sequence number.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Appends one event and returns its sequence number.
    pub(crate) fn append(&mut self, event: &Event) -> Result<u64> {
        let record = Record { sequence: self.next, time: clock::now_seconds(), event: event.clone() };
        let mut line =
            serde_json::to_vec(&record).map_err(|source| Error::writing(&self.path)(source.into()))?;
        line.push(b'\n');
        atomic::moment();
        if let Err(error) = self.file.write_all(&line) {
            // A full disk may have taken half of the line: the log must still end with a whole one.
            let _ = self.file.set_len(self.length);
            return Err(Error::writing(&self.path)(error));
        }
        self.length += line.len() as u64;
        self.next += 1;
        Ok(record.sequence)
    }

    /// Keeps the first `keep` events at most, and of these only what is whole.
    pub(crate) fn cut(&mut self, keep: usize) -> Result<()> {
        let (length, bytes) = read_from(&self.path, 0)?;
        let scan = Scan::of(&bytes, 0);
        let kept = scan.ends.len().min(keep);
        self.length = scan.ends[..kept].last().copied().unwrap_or(0);
        self.next = kept as u64;
        if self.length < length {
            atomic::moment();
            self.file.set_len(self.length).map_err(Error::writing(&self.path))?;
            self.sync()?;
        }
        Ok(())
    }

    /// Cuts the first event of a step beyond `step`, and all after it.
    pub(crate) fn cut_after(&mut self, step: u64) -> Result<()> {
        let records = read_all(&self.path)?;
        let beyond = |record: &Record| record.event.step.is_some_and(|at| at > step);
        self.cut(records.iter().position(beyond).unwrap_or(records.len()))
    }

    /// Makes what was logged durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::writing(&self.path))
    }
}

/// Follows a log, live or finished. Never writes, and needs nothing from the writer.
#[derive(Debug, Clone)]
pub struct EventReader {
    path: PathBuf,
    offset: u64,
    next: u64,
}

impl EventReader {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, next: 0 }
    }

    /// The records that came since the last call; none while there is no log.
    ///
    /// A stage that resumes from a checkpoint cuts its log. The log is then read again from its
    /// start: a record with sequence number 0 says that earlier ones are to be forgotten.
    ///
    /// # Errors
    /// When the log cannot be read, or has a line that is no event.
    pub fn read(&mut self) -> Result<Vec<Record>> {
        self.path.parent().map_or(Ok(()), links::refuse)?;
        let (length, bytes) = read_from(&self.path, self.offset)?;
        let scan = Scan::of(&bytes, self.next);
        let moved_on = length >= self.offset && !(scan.damaged && scan.records.is_empty());
        if moved_on {
            return Ok(self.take(scan));
        }
        let again = Scan::of(&read_from(&self.path, 0)?.1, 0);
        if again.damaged && again.length() == self.offset {
            return Err(damaged(&self.path, self.next));
        }
        (self.offset, self.next) = (0, 0);
        Ok(self.take(again))
    }

    fn take(&mut self, scan: Scan) -> Vec<Record> {
        self.offset += scan.length();
        self.next += scan.records.len() as u64;
        scan.records
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(step: u64) -> Event {
        Event::new("step", step, json!({ "loss": 1.0 / (step as f64 + 3.0), "note": "zwölf\n" }))
    }

    fn written(path: &Path, steps: std::ops::Range<u64>) -> Vec<u8> {
        let mut log = EventLog::open(path.to_owned()).unwrap();
        for step in steps {
            log.append(&event(step)).unwrap();
        }
        std::fs::read(path).unwrap()
    }

    fn steps(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.event.step.unwrap()).collect()
    }

    #[test]
    fn records_come_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        written(&path, 0..50);
        let read = read_all(&path).unwrap();
        assert!(read.iter().enumerate().all(|(at, record)| record.sequence == at as u64));
        assert!(read.iter().zip(0..).all(|(record, step)| record.event == event(step)));
    }

    proptest! {
        #[test]
        fn a_log_torn_at_any_byte_goes_on(events in 1u64..6, cut in 0.0f64..=1.0, junk in "[^\n]{0,12}") {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("events.jsonl");
            let bytes = written(&path, 0..events);
            let torn = &bytes[..(cut * bytes.len() as f64) as usize];
            let whole = torn.iter().filter(|&&byte| byte == b'\n').count() as u64;
            std::fs::write(&path, [torn, junk.as_bytes()].concat()).unwrap();

            let mut reader = EventReader::new(path.clone());
            prop_assert_eq!(reader.read().unwrap().len() as u64, whole);
            prop_assert_eq!(read_all(&path).unwrap().len() as u64, whole);

            let mut log = EventLog::open(path.clone()).unwrap();
            prop_assert_eq!(log.next(), whole);
            prop_assert_eq!(log.append(&event(99)).unwrap(), whole);
            prop_assert_eq!(steps(&reader.read().unwrap()), [99]);
            prop_assert_eq!(read_all(&path).unwrap().len() as u64, whole + 1);
        }
    }

    #[test]
    fn every_torn_length_of_the_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let bytes = written(&path, 0..3);
        let second = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        for length in second..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(EventLog::open(path.clone()).unwrap().next(), 2, "at {length}");
            assert_eq!(std::fs::read(&path).unwrap(), &bytes[..second], "at {length}");
        }
    }

    #[test]
    fn a_reader_follows_and_notices_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut reader = EventReader::new(path.clone());
        assert!(reader.read().unwrap().is_empty());
        let mut log = EventLog::open(path.clone()).unwrap();
        for step in 0..4 {
            log.append(&event(step)).unwrap();
        }
        assert_eq!(steps(&reader.read().unwrap()), [0, 1, 2, 3]);
        assert!(reader.read().unwrap().is_empty());
        log.cut_after(1).unwrap();
        log.append(&event(7)).unwrap();
        assert_eq!(steps(&reader.read().unwrap()), [0, 1, 7]);
        log.append(&event(8)).unwrap();
        assert_eq!(steps(&reader.read().unwrap()), [8]);
    }

    #[test]
    fn a_cut_log_that_outgrew_the_reader_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut log = EventLog::open(path.clone()).unwrap();
        log.append(&event(0)).unwrap();
        log.append(&event(1)).unwrap();
        let mut reader = EventReader::new(path);
        reader.read().unwrap();
        log.cut(1).unwrap();
        log.append(&Event::new("note", None, json!("x".repeat(500)))).unwrap();
        let read = reader.read().unwrap();
        assert_eq!(read.iter().map(|record| record.sequence).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_damaged_line_is_named_once_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut bytes = written(&path, 0..2);
        bytes.extend_from_slice(b"nonsense\n");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = EventReader::new(path.clone());
        assert_eq!(reader.read().unwrap().len(), 2);
        for error in [reader.read().unwrap_err(), read_all(&path).unwrap_err()] {
            assert!(error.to_string().contains("events.jsonl: line 3 "), "{error}");
        }
    }

    #[test]
    fn the_tail_is_enough_to_know_the_last_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let check = |steps: std::ops::Range<u64>| {
            let last = steps.end - 1;
            written(&path, steps);
            assert_eq!(read_tail(&path).unwrap().last().unwrap().sequence, last);
        };
        check(0..3);
        check(3..2000);
    }
}

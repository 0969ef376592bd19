//! Processes that hold something, in words.

use std::fmt;
use std::time::Duration;

/// Who writes an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The host's name.
    pub host: String,
    /// The process id there.
    pub pid: u32,
    /// Since the last heartbeat.
    pub age: Duration,
}

/// `process 12 on a`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// `process 12 on a, process 3 on b`.
pub fn processes(holders: &[Holder]) -> String {
    let words: Vec<String> = holders.iter().map(Holder::to_string).collect();
    words.join(", ")
}

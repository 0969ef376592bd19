//! How a command ended and what it said.

use std::process::Output;

use serde_json::Value;

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ran {
    command: String,
    code: Option<i32>,
    /// Results.
    pub stdout: String,
    /// Messages.
    pub stderr: String,
}

impl Ran {
    /// What `command` printed and how it ended.
    pub fn new(command: String, output: &Output) -> Self {
        Self {
            command,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The exit code; none where a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// Asserts the exit code. Whatever the code, nothing panicked.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"), "{self}");
        self
    }

    /// Asserts that stderr has each of the texts.
    ///
    /// # Panics
    /// When it lacks one.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "nothing on stderr says {text:?}\n{self}");
        }
        self
    }

    /// Asserts that stdout has each of the texts.
    ///
    /// # Panics
    /// When it lacks one.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "nothing on stdout says {text:?}\n{self}");
        }
        self
    }

    /// Asserts that there was no result.
    ///
    /// # Panics
    /// When stdout has something.
    #[track_caller]
    pub fn without_result(self) -> Self {
        assert!(self.stdout.is_empty(), "{self}");
        self
    }

    /// Stdout, which is one JSON document and nothing else.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "$ {command}\nexit code {code:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}

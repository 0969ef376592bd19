//! How the program ends: exit codes, and errors in one line with their causes and advice.

use std::io;
use std::process::ExitCode;

use titer_plan::Mistakes;

use crate::output;

/// How the program ends. The codes are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done,
    /// Something went wrong.
    Failed,
    /// The command line or the spec is wrong.
    Usage,
    /// All was tried, but some stages failed.
    Partial,
    /// What was checked is not what it should be.
    Found,
    /// Stopped by the user; another run goes on from here.
    Interrupted,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Found => 4,
            Self::Interrupted => 130,
        }
    }

    /// Says what went wrong on stderr, and how the program ends because of it.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        // The reader of a pipe that has seen enough is no failure: `titer show x | head`.
        if error.chain().any(is_broken_pipe) {
            return Self::Done;
        }
        if let Some(mistakes) = error.chain().find_map(|cause| cause.downcast_ref::<Mistakes>()) {
            output::lines(&mistakes.to_string());
            return Self::Usage;
        }
        let refusal = error.downcast_ref::<Refusal>();
        output::error(&message(error), refusal.map(|refusal| refusal.hint.as_str()));
        let bad_usage = error.downcast_ref::<titer_lab::Error>().is_some_and(titer_lab::Error::is_usage);
        if bad_usage || refusal.is_some() { Self::Usage } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What was asked for cannot be had, and what to do instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What cannot be had.
    pub(crate) problem: String,
    /// What to do instead.
    pub(crate) hint: String,
}

impl Refusal {
    /// A refusal with its advice.
    pub(crate) fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Refusal {}

/// The error and its causes, joined by `: `; a cause that its effect already quotes is not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !message.contains(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    message
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let disk = io::Error::other("disk on fire");
        let error = anyhow!(disk).context("cannot write x: disk on fire").context("stage failed");
        assert_eq!(message(&error), "stage failed: cannot write x: disk on fire");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = anyhow!(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert_eq!(Exit::of(&error), Exit::Done);
    }

    #[test]
    fn refusals_are_bad_usage() {
        assert_eq!(Exit::of(&Refusal::new("no", "do this").into()), Exit::Usage);
        assert_eq!(Exit::of(&anyhow!("broken")), Exit::Failed);
    }
}

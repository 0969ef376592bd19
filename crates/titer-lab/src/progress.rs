//! What happens in a run, for whoever shows it.

use std::time::Duration;

use titer_plan::{Open, Plan, StageHash};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum RunEvent<'a> {
    /// Before anything runs.
    Planned {
        /// Stages of the plan.
        stages: usize,
        /// Of these, sealed by earlier runs.
        cached: usize,
    },
    /// A stage begins, or goes on from a checkpoint.
    Started {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
    },
    /// A stage made optimiser steps.
    Advanced {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// Steps made.
        done: u64,
        /// Steps at most.
        of: u64,
    },
    /// A stage is sealed.
    Finished {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// Wall-clock time in this run.
        seconds: f64,
    },
    /// A stage failed; others go on.
    Failed {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// Why, with causes.
        error: &'a str,
        /// Whether something around it failed, so that it may go well when it is run again.
        again: bool,
    },
    /// A stage failed by something that may be over in a moment, and is done again after a pause.
    Retried {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// What failed, with causes.
        error: &'a str,
        /// The pause.
        pause: Duration,
    },
    /// A stage cannot run because another failed.
    Skipped {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// The label of the stage that failed.
        because: &'a str,
    },
    /// An artifact was not what was sealed: it was moved away, and the stage is done anew.
    Distrusted {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// What was wrong with it, and where.
        problem: &'a str,
    },
    /// Another run does this stage; this one waits for it, or takes it over when that one dies.
    Elsewhere {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// Who does it.
        holder: &'a str,
    },
    /// A stage waits for the weights of another, which were dropped to save room: that one is done anew.
    Lacking {
        /// Its hash.
        hash: &'a StageHash,
        /// Its label.
        label: &'a str,
        /// The label of the other.
        input: &'a str,
        /// Whether it is the first that waits for that one.
        first: bool,
    },
    /// A look is over, of an experiment that adds seeds until all is decided.
    Looked {
        /// Its number, from 1.
        look: usize,
        /// Looks that were planned.
        of: usize,
        /// What more seeds may decide, after each look so far.
        open: &'a [Vec<Open>],
        /// What of the plan was asked for by now.
        part: &'a Plan,
        /// How many of its stages are done.
        done: usize,
    },
    /// The run does what someone asked of it through the store.
    Heard {
        /// In words.
        request: &'a str,
    },
}

/// Shows a run. Called from several threads.
pub trait Progress: Sync {
    /// Takes note of an event.
    fn event(&self, event: RunEvent<'_>);
}

/// Shows nothing.
impl Progress for () {
    fn event(&self, _: RunEvent<'_>) {}
}

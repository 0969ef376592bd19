//! What can go wrong with jobs of a cluster.

use std::path::PathBuf;

/// What can go wrong with jobs of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A program of Slurm that did not do what it was asked to.
    #[error("{program}: {problem}")]
    Slurm {
        /// The program.
        program: &'static str,
        /// What it said, or why it could not be asked.
        problem: String,
    },
    /// A job without anything to do: it was not submitted by titer, or by another titer.
    #[error(
        "round {round} of jobs has {packs} packs and no number {number}; submit anew: titer resume EXPERIMENT --on slurm"
    )]
    NoPack {
        /// The round.
        round: u64,
        /// What was asked for.
        number: usize,
        /// Packs that there are.
        packs: usize,
    },
    /// Jobs that were submitted for another plan of the same name.
    #[error(
        "jobs of {experiment} are not over that were submitted by another spec; end them first: titer stop {experiment}"
    )]
    OtherPlan {
        /// The experiment.
        experiment: String,
    },
    /// A stage that a job is to do and that the plan does not have.
    #[error(
        "{stage} is no stage of the plan of {experiment}, which was changed since; submit anew: titer resume {experiment} --on slurm"
    )]
    NotPlanned {
        /// The experiment.
        experiment: String,
        /// The stage.
        stage: String,
    },
    /// Round after round of jobs, and nothing comes of it.
    #[error(
        "{rounds} rounds of jobs have sealed nothing{}; what they said is in {}; mend what they fail by, then \
         titer resume EXPERIMENT --on slurm", in_brackets(ended), logs.display()
    )]
    NothingComes {
        /// The rounds.
        rounds: u32,
        /// How jobs of the last one ended.
        ended: Vec<String>,
        /// The folder of their logs.
        logs: PathBuf,
    },
}

/// ` (a, b)`; nothing where there is nothing.
fn in_brackets(words: &[String]) -> String {
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

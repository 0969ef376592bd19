//! The arguments that say how an experiment is run: of `titer run` and `titer resume`.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use titer_lab::Compute;
use titer_lab::cluster::SlurmOptions;

use super::parse_time;

/// How an experiment is run.
#[derive(Debug, Clone, Args)]
pub(crate) struct HowArgs {
    /// Run in the background, in a session of its own: closing the terminal does not end it
    #[arg(long)]
    pub(crate) detach: bool,
    /// Run in the background, and open the terminal app on it; closing the app does not end the run
    #[arg(long, conflicts_with_all = ["detach", "json"])]
    pub(crate) tui: bool,
    /// Set by `--detach` on the process that it starts
    #[arg(long, hide = true, conflicts_with_all = ["detach", "tui"])]
    pub(crate) own_session: bool,
    /// Stages that run at the same time [default: as many as cores and memory allow]; jobs at once with --on slurm
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Time after which no new stage begins; what runs is finished, and running again goes on
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) budget: Option<Duration>,
    /// Compute each layer again in the backward pass instead of keeping it: much less memory, about a third more
    /// time, the same results
    #[arg(long)]
    pub(crate) recompute: bool,
    /// Make weights anew that `titer gc` has dropped, though no stage needs them
    #[arg(long)]
    pub(crate) weights: bool,
    /// What the stages compute on
    #[arg(long, value_name = "cpu|cuda[:N,…]|metal", default_value = "cpu")]
    pub(crate) device: Compute,
    /// Where the stages run: in this process, or as jobs of a cluster
    #[arg(long, value_name = "local|slurm", default_value = "local")]
    pub(crate) on: RunOn,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// What is asked of Slurm.
    #[command(flatten)]
    pub(crate) slurm: SlurmArgs,
}

/// What is asked of Slurm for each job.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "With --on slurm")]
pub(crate) struct SlurmArgs {
    /// Partition of the jobs [default: the cluster's]
    #[arg(long, value_name = "NAME")]
    pub(crate) partition: Option<String>,
    /// Account that pays [default: the user's]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Cores of a job
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) cores: NonZeroUsize,
    /// The longest that a job may take [default: three times what is estimated, at least 20 minutes]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) time: Option<Duration>,
    /// Memory of a job, in GiB [default: what is estimated, and 1 GiB]
    #[arg(long, value_name = "GIB")]
    pub(crate) memory: Option<NonZeroUsize>,
    /// Work that is put together in one job [default: by the plan, from 1 to 30 minutes]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) pack_time: Option<Duration>,
    /// An argument for sbatch, as it is; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) sbatch_arg: Vec<String>,
    /// Set on the job that closes a round: it submits what is left
    #[arg(long, hide = true)]
    pub(crate) closes: bool,
    /// Set on jobs: which part of the work is theirs
    #[arg(long, hide = true, value_name = "ROUND:FIRST")]
    pub(crate) pack: Option<PackArg>,
}

impl SlurmArgs {
    /// What is asked of Slurm, with `at_once` jobs at most.
    pub(crate) fn options(&self, at_once: Option<NonZeroUsize>) -> SlurmOptions {
        SlurmOptions {
            partition: self.partition.clone(),
            account: self.account.clone(),
            cores: self.cores.get(),
            time: self.time.map(|time| time.as_secs()),
            memory: self.memory.map(|memory| (memory.get() as u64) << 30),
            pack: self.pack_time.map(|time| time.as_secs_f64()),
            at_once: at_once.map(NonZeroUsize::get),
            arguments: self.sbatch_arg.clone(),
        }
    }

    /// The same as words of a command.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![format!("--cores={}", self.cores)];
        words.extend(self.partition.iter().map(|name| format!("--partition={name}")));
        words.extend(self.account.iter().map(|name| format!("--account={name}")));
        words.extend(self.time.iter().map(|time| format!("--time={}s", time.as_secs_f64())));
        words.extend(self.memory.iter().map(|memory| format!("--memory={memory}")));
        words.extend(self.pack_time.iter().map(|time| format!("--pack-time={}s", time.as_secs_f64())));
        words.extend(self.sbatch_arg.iter().map(|argument| format!("--sbatch-arg={argument}")));
        words
    }

    /// Whether anything was asked that Slurm alone can give.
    pub(crate) fn asks(&self) -> bool {
        self.words() != ["--cores=1"]
    }
}

/// Where stages run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunOn {
    /// In this process.
    Local,
    /// As jobs of a cluster.
    Slurm,
}

impl FromStr for RunOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "slurm" => Ok(Self::Slurm),
            _ => Err("expected local or slurm".to_owned()),
        }
    }
}

/// The round of a job, and the pack of the first element of its array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackArg {
    pub(crate) round: u64,
    pub(crate) first: usize,
}

impl FromStr for PackArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed =
            text.split_once(':').and_then(|(round, first)| Some((round.parse().ok()?, first.parse().ok()?)));
        let (round, first) =
            parsed.ok_or_else(|| "expected ROUND:FIRST, as `titer run --on slurm` says it".to_owned())?;
        Ok(Self { round, first })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb};

    #[test]
    fn what_is_asked_of_slurm_comes_back_as_words() {
        let how = |words: &[&str]| match Cli::try_parse_from(words).map(|cli| cli.verb) {
            Ok(Verb::Resume(arguments)) => arguments.how,
            other => panic!("{other:?}"),
        };
        let asked = how(&[
            "titer",
            "resume",
            "x",
            "--on",
            "slurm",
            "--partition",
            "gpu",
            "--account=a",
            "--cores",
            "4",
            "--time",
            "2h",
            "--memory",
            "32",
            "--pack-time",
            "90s",
            "--sbatch-arg",
            "--exclude=n1",
            "--sbatch-arg=--qos=low",
        ]);
        let words = asked.slurm.words();
        let again = how(&["titer", "resume", "x"]
            .iter()
            .copied()
            .chain(words.iter().map(String::as_str))
            .collect::<Vec<_>>());
        assert_eq!(again.slurm, asked.slurm);
        let options = asked.slurm.options(None);
        assert_eq!((options.time, options.memory, options.pack), (Some(7200), Some(32 << 30), Some(90.0)));
        assert_eq!(options.arguments, ["--exclude=n1", "--qos=low"]);
        assert!(asked.slurm.asks() && !how(&["titer", "resume", "x"]).slurm.asks());
    }
}

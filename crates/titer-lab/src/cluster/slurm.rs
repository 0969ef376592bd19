//! Slurm by its own four programs: `sbatch`, `squeue`, `sacct` and `scancel`, of any version since 20.02.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::ClusterError;
use crate::{Error, Result};

/// The longest array of jobs that every Slurm takes (`MaxArraySize` is 1001 unless its administrator said otherwise).
pub(super) const LONGEST_ARRAY: usize = 1000;
/// Before its time is over, or it has to make room, a job is told so by SIGTERM, so many seconds ahead.
const WARNING: u64 = 90;

/// What is asked of Slurm for each job, beside what the work needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlurmOptions {
    /// The partition; the cluster's default where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Cores of a job.
    pub cores: usize,
    /// The longest that a job may take, in seconds; from the estimate where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// Memory of a job, in bytes; from the estimate where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Work that is put together in one job, in seconds; from the plan where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<f64>,
    /// Jobs at once at most; as many as Slurm starts where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
    /// Other arguments for `sbatch`, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// What a job is asked to be.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    /// What `squeue` calls it.
    pub(super) name: String,
    /// The numbers of its elements; none where it is one job.
    pub(super) elements: Option<Range<usize>>,
    /// Jobs, or elements of jobs as `12_3`, that must have ended, however that was.
    pub(super) after: Vec<String>,
    /// In seconds.
    pub(super) time: u64,
    /// In bytes.
    pub(super) memory: u64,
    pub(super) cores: usize,
    pub(super) gpus: usize,
    /// Where what it says is written: a pattern of Slurm's.
    pub(super) log: PathBuf,
    /// What it runs.
    pub(super) command: &'a [String],
}

impl Request<'_> {
    /// The arguments of `sbatch`.
    pub(super) fn arguments(&self, options: &SlurmOptions) -> Vec<String> {
        let mut arguments = vec![
            "--parsable".to_owned(),
            format!("--job-name={}", self.name),
            format!("--output={}", self.log.display()),
            // A job that is begun again goes on in the same file.
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
            format!("--signal=B:TERM@{WARNING}"),
            // Minutes, of which a part counts as one more.
            format!("--time={}", (self.time + WARNING).div_ceil(60)),
            format!("--mem={}M", self.memory.div_ceil(1 << 20)),
            "--nodes=1".to_owned(),
            "--ntasks=1".to_owned(),
            format!("--cpus-per-task={}", self.cores),
        ];
        if let Some(elements) = &self.elements {
            let last = elements.end.saturating_sub(1);
            let at_once = options.at_once.map(|most| format!("%{most}")).unwrap_or_default();
            arguments.push(format!("--array={}-{last}{at_once}", elements.start));
        }
        if !self.after.is_empty() {
            arguments.push(format!("--dependency=afterany:{}", self.after.join(":")));
        }
        if self.gpus > 0 {
            arguments.push(format!("--gres=gpu:{}", self.gpus));
        }
        arguments.extend(options.partition.iter().map(|name| format!("--partition={name}")));
        arguments.extend(options.account.iter().map(|name| format!("--account={name}")));
        // The user's own come last, so that they win.
        arguments.extend(options.arguments.iter().cloned());
        arguments
    }

    /// The script of the job: a signal to it reaches the program itself.
    pub(super) fn script(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        format!("#!/bin/sh\nexec {}\n", words.join(" "))
    }
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Submits a job and returns its number.
pub(super) fn submit(request: &Request<'_>, options: &SlurmOptions) -> Result<u64> {
    let said = ask("sbatch", &request.arguments(options), Some(&request.script()))?;
    // `12`, or `12;cluster`.
    let number = said.lines().last().and_then(|line| line.split(';').next()?.trim().parse().ok());
    number.ok_or_else(|| {
        refused("sbatch", format!("it answered {:?} and not the number of a job", said.trim()))
    })
}

/// A job, or an element of one, that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// `12`, `12_3`, or `12_[3-5]` for those of an array that wait.
    pub id: String,
    /// As Slurm calls it: `PENDING`, `RUNNING`, …
    pub state: String,
    /// The node, or why it waits.
    pub place: String,
}

impl Job {
    /// Whether it computes.
    pub fn runs(&self) -> bool {
        !matches!(self.state.as_str(), "PENDING" | "SUSPENDED" | "REQUEUED" | "REQUEUE_HOLD" | "SPECIAL_EXIT")
    }

    /// How many elements stand in this line.
    pub fn count(&self) -> usize {
        let Some((_, list)) = self.id.split_once("_[") else { return 1 };
        let list = list.trim_end_matches(']').split('%').next().unwrap_or_default();
        let elements = list.split(',').map(|part| match part.split_once('-') {
            Some((first, last)) => {
                let number = |text: &str| text.parse::<usize>().unwrap_or(0);
                (number(last) + 1).saturating_sub(number(first))
            }
            None => 1,
        });
        elements.sum()
    }
}

/// What of these jobs is not over.
pub(super) fn queue(jobs: &[u64]) -> Result<Vec<Job>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let arguments =
        ["--noheader", "--states=all", "--format=%i|%T|%R", "--jobs", &list(jobs)].map(str::to_owned);
    let said = match ask("squeue", &arguments, None) {
        // Slurm forgets jobs some minutes after their end, and all of these are forgotten.
        Err(Error::Cluster(ClusterError::Slurm { problem, .. })) if problem.contains("Invalid job id") => {
            return Ok(Vec::new());
        }
        said => said?,
    };
    Ok(said.lines().filter_map(job).filter(|job| !is_over(&job.state)).collect())
}

fn job(line: &str) -> Option<Job> {
    let mut words = line.trim().splitn(3, '|').map(str::to_owned);
    Some(Job { id: words.next().filter(|id| !id.is_empty())?, state: words.next()?, place: words.next()? })
}

fn is_over(state: &str) -> bool {
    const OVER: [&str; 11] = [
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "BOOT_FAIL",
        "DEADLINE",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "STOPPED",
    ];
    OVER.contains(&state)
}

/// How elements of these jobs ended that did not end well: `12_3 OUT_OF_MEMORY`. None where the cluster keeps no
/// accounts, or does not say.
pub(super) fn ended_badly(jobs: &[u64]) -> Option<Vec<String>> {
    let arguments =
        ["--noheader", "--allocations", "--parsable2", "--format=JobID,State", "--jobs", &list(jobs)]
            .map(str::to_owned);
    let said = ask("sacct", &arguments, None).ok()?;
    let lines = said.lines().filter_map(|line| line.split_once('|'));
    // `CANCELLED by 1000` says who.
    let states = lines.map(|(id, state)| (id, state.split_whitespace().next().unwrap_or_default()));
    let bad = states.filter(|(_, state)| is_over(state) && *state != "COMPLETED");
    Some(bad.map(|(id, state)| format!("{id} {state}")).collect())
}

/// Ends jobs: those that wait only, or all.
pub(super) fn cancel(jobs: &[u64], waiting: bool) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut arguments: Vec<String> = Vec::new();
    if waiting {
        arguments.push("--state=PENDING".to_owned());
    }
    // A job that is over by now is no failure.
    arguments.push("--quiet".to_owned());
    arguments.extend(jobs.iter().map(u64::to_string));
    ask("scancel", &arguments, None).map(drop)
}

fn list(jobs: &[u64]) -> String {
    let jobs: BTreeSet<u64> = jobs.iter().copied().collect();
    jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Runs one of Slurm's programs; what it writes.
fn ask(program: &'static str, arguments: &[String], input: Option<&str>) -> Result<String> {
    let run = || -> io::Result<_> {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn()?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            match stdin.write_all(input.as_bytes()) {
                // It has read enough to refuse, and says why.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refused(
            program,
            "there is no such program on this machine: run titer where jobs are submitted, or leave out --on slurm".to_owned(),
        ),
        _ => refused(program, error.to_string()),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(refused(program, if said.is_empty() { output.status.to_string() } else { said }))
}

fn refused(program: &'static str, problem: String) -> Error {
    ClusterError::Slurm { program, problem }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: &[String]) -> Request<'_> {
        Request {
            name: "titer-x".to_owned(),
            elements: Some(0..4),
            after: vec!["7_0".to_owned(), "8".to_owned()],
            time: 600,
            memory: 3 << 29,
            cores: 2,
            gpus: 1,
            log: "/s/cluster/1-%A_%a.log".into(),
            command,
        }
    }

    #[test]
    fn a_job_is_asked_for_as_the_options_say() {
        let options = SlurmOptions {
            partition: Some("gpu".to_owned()),
            account: Some("lab".to_owned()),
            at_once: Some(8),
            arguments: vec!["--exclude=n7".to_owned()],
            ..SlurmOptions::default()
        };
        let command = ["/bin/titer".to_owned(), "it's".to_owned()];
        let request = request(&command);
        let arguments = request.arguments(&options);
        for argument in [
            "--parsable",
            "--requeue",
            "--array=0-3%8",
            "--dependency=afterany:7_0:8",
            // Ten minutes of work and ninety seconds of warning.
            "--time=12",
            "--mem=1536M",
            "--cpus-per-task=2",
            "--gres=gpu:1",
            "--partition=gpu",
            "--account=lab",
            "--signal=B:TERM@90",
        ] {
            assert!(arguments.contains(&argument.to_owned()), "{argument}: {arguments:?}");
        }
        assert_eq!(arguments.last().unwrap(), "--exclude=n7");
        assert_eq!(request.script(), "#!/bin/sh\nexec '/bin/titer' 'it'\\''s'\n");
    }

    #[test]
    fn lines_of_the_queue_are_understood() {
        let of = |line: &str| job(line).unwrap();
        let counts = |line: &str| (of(line).count(), of(line).runs(), is_over(&of(line).state));
        assert_eq!(counts("12|RUNNING|n1"), (1, true, false));
        assert_eq!(counts("12_3|COMPLETING|n1"), (1, true, false));
        assert_eq!(counts("12_[0,4-9%2]|PENDING|(Dependency)"), (7, false, false));
        assert_eq!(counts("12_[0-999]|PENDING|(Resources)"), (1000, false, false));
        assert_eq!(counts("12_7|FAILED|(NonZeroExitCode)"), (1, true, true));
        assert_eq!(job(""), None);
        assert_eq!(of("5|PENDING|(Dep|x)").place, "(Dep|x)");
    }

    #[test]
    fn a_machine_without_slurm_says_so() {
        let error = ask("squeue-that-is-not-there", &[], None).unwrap_err().to_string();
        assert!(error.contains("no such program") && error.contains("--on slurm"), "{error}");
        let error = ask("false", &[], None).unwrap_err().to_string();
        assert!(error.starts_with("false: exit status"), "{error}");
    }
}

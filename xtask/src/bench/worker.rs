//! A process that does one case again and again, a turn for each line that it is sent.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::command::root;

/// What a turn took.
#[derive(Debug, Deserialize)]
pub(crate) struct Turn {
    /// By the clock.
    pub(crate) seconds: f64,
    /// Of all threads.
    pub(crate) processor_seconds: f64,
    /// Steps, tokens or pairs.
    pub(crate) units: u64,
    /// Operations of the products that the answer needs; 0 where nobody counts.
    pub(crate) flops: f64,
    /// The process's resident memory at its highest so far.
    pub(crate) peak_bytes: u64,
}

/// What a worker does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) case: &'a str,
    /// A checkpoint, a shape or a size, as the case has it.
    pub(crate) model: Option<&'a Path>,
    /// 0 for as many as there are cores.
    pub(crate) threads: usize,
    /// Where models of random weights are.
    pub(crate) device: &'a str,
}

pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Our own worker, ready.
    pub(crate) fn ours(program: &Path, work: &Work<'_>) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(work.case).args(work.model).env("RAYON_NUM_THREADS", work.threads.to_string());
        // As the program has it.
        command.env("CANDLE_NUM_THREADS", "1");
        Self::start(command, work)
    }

    /// The peer's worker, ready.
    pub(crate) fn peer(python: &Path, work: &Work<'_>) -> Result<Self> {
        let mut command = Command::new(python);
        command.arg(root().join("tests/peers/bench_worker.py")).arg(work.case);
        command.arg(work.model.unwrap_or(Path::new("-"))).arg(work.threads.to_string());
        Self::start(command, work)
    }

    fn start(mut command: Command, Work { case, device, .. }: &Work<'_>) -> Result<Self> {
        command.env("BENCH_DEVICE", device);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut child = child.with_context(|| format!("cannot start {program}"))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{program} has no stdin or stdout");
        };
        let mut worker = Self { child, orders, answers: BufReader::new(answers) };
        let ready = worker.answer().with_context(|| format!("{case}: {program} did not get ready"))?;
        if !ready.contains("ready") {
            bail!("{case}: {program} said {ready:?} in place of being ready");
        }
        Ok(worker)
    }

    /// Does the work once.
    pub(crate) fn turn(&mut self) -> Result<Turn> {
        writeln!(self.orders).and_then(|()| self.orders.flush()).context("a worker has ended")?;
        let answer = self.answer()?;
        serde_json::from_str(&answer).with_context(|| format!("a worker said {answer:?}"))
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("it ended with {}", self.child.wait()?);
        }
        Ok(line)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

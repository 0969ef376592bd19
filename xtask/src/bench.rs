//! `cargo xtask bench`: milliseconds per training step of the embedded world's decoder, against PyTorch.
//!
//! Timings drift with the machine's load, so the two run in turn and are compared pair by pair.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{cargo, root, run, say};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A Python that has torch
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Training steps of each run
    #[arg(long, value_name = "N", default_value_t = 60)]
    steps: usize,
}

/// Builds the example and times it against its peer.
///
/// # Errors
/// When either cannot be run or prints no number.
pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.pairs > 0 && arguments.steps > 0, "--pairs and --steps must be at least 1");
    let torch = Command::new(&arguments.python)
        .args(["-c", "import torch"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", arguments.python))?;
    ensure!(torch.success(), "{} has no torch: name one that has with --python", arguments.python);
    run(&mut cargo(&["build", "--release", "--package", "titer-train", "--example", "step_speed"]))?;
    let mut ratios = Vec::new();
    say("ms per step, one thread: titer, PyTorch, ratio");
    for _ in 0..arguments.pairs {
        let ours = cargo(&[
            "run",
            "--quiet",
            "--release",
            "--package",
            "titer-train",
            "--example",
            "step_speed",
            "--",
        ])
        .arg(arguments.steps.to_string())
        .envs([("CANDLE_NUM_THREADS", "1"), ("RAYON_NUM_THREADS", "1")])
        .output()?;
        let peer = Command::new(&arguments.python)
            .arg(root().join("tests/peers/step_speed.py"))
            .arg(arguments.steps.to_string())
            .output()?;
        let (ours, peer) = (number(&ours.stdout)?, number(&peer.stdout)?);
        say(&format!("{ours:8.2} {peer:8.2} {:6.2}", ours / peer));
        ratios.push(ours / peer);
    }
    ratios.sort_by(f64::total_cmp);
    say(&format!("median ratio {:.2} (below 1 is faster than PyTorch)", ratios[ratios.len() / 2]));
    Ok(())
}

fn number(output: &[u8]) -> Result<f64> {
    let text = String::from_utf8_lossy(output);
    text.trim().parse().with_context(|| format!("expected milliseconds, got {text:?}"))
}

//! `cargo xtask reproduce`: the paper's demonstration, or another preset, from nothing to a report.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::command::{build_titer, root, run, say};
use crate::model;

const PRESET: &str = "apothecary";

/// The presets that measure a model of `cargo xtask model`.
const MODELS: [(&str, &str); 2] = [("smollm2-policy", "smollm2-135m"), ("gemma3-policy", "gemma3-270m")];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Fewer steps, seeds and points: does everything work?
    #[arg(long)]
    smoke: bool,
    /// Another preset of `titer list presets`; its model is obtained first
    #[arg(long, value_name = "NAME", default_value = PRESET)]
    preset: String,
    /// Folder for the store, which keeps the report as well
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
}

/// Builds titer, runs the preset and writes its report.
///
/// # Errors
/// When one of the three does not end well.
pub(crate) fn reproduce(arguments: &Arguments) -> Result<()> {
    let chosen = &arguments.preset;
    if let Some((_, model)) = MODELS.iter().find(|(preset, _)| preset == chosen) {
        model::obtain(model)?;
    }
    let preset = if arguments.smoke { format!("{chosen}-smoke") } else { chosen.clone() };
    let titer = build_titer()?;
    let took = run_and_report(&titer, &preset, &root().join(&arguments.out))?;
    say(&format!("reproduced {preset} in {:.1} s, without the build", took.as_secs_f64()));
    Ok(())
}

/// Runs a preset and writes its report; returns how long that took.
///
/// # Errors
/// When one of the two does not end well.
pub(crate) fn run_and_report(titer: &Path, preset: &str, out: &Path) -> Result<Duration> {
    let store = out.join("store");
    let started = Instant::now();
    run(Command::new(titer).args(["run", preset, "--store"]).arg(&store))?;
    run(Command::new(titer).args(["report", preset, "--store"]).arg(&store))?;
    Ok(started.elapsed())
}

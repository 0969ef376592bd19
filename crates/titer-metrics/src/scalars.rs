//! Frames as named scalars over steps: one run per stage or curve, as experiment trackers want them.

use std::collections::BTreeMap;

use polars::prelude::DataFrame;
use titer_plan::{Arm, Before, Cell, Marks, Probe};

use crate::cell::Befores;
use crate::error::Error;
use crate::frames::{CURVES, TRAINING};
use crate::schema::check;

/// Scalars by the name of their run.
pub type Runs = BTreeMap<String, Vec<Scalar>>;

/// One value at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// What it is: `loss/keep`, `harmfulness/unseen`.
    pub tag: String,
    /// Optimiser steps before it.
    pub step: u64,
    /// When it was, in seconds since 1970.
    pub wall_time: f64,
    /// The value.
    pub value: f64,
}

/// The name of the run whose curve a cell holds: `tar#0 full-finetune/rate=3e-5#1`.
pub fn curve_name(cell: &Cell) -> String {
    run_name((&cell.defence, cell.defence_seed), cell.arm.name(), (&cell.before, cell.attack_seed))
}

fn run_name(defence: (&str, u64), arm: &str, attack: (&Before, u64)) -> String {
    let arm = if arm == Arm::Main.name() { String::new() } else { format!("{arm} ") };
    format!("{}#{} {arm}{}#{}", defence.0, defence.1, attack.0, attack.1)
}

/// A [`TRAINING`] frame: a run per artifact, named by its hash, with `loss/TERM`, `learning_rate`,
/// `gradient_norm` and `tokens`. `started`: when an artifact was begun, in seconds since 1970.
///
/// # Errors
/// Where `training` is not a [`TRAINING`] frame.
pub fn training_scalars(training: &DataFrame, started: impl Fn(&str) -> f64) -> Result<Runs, Error> {
    check(training, &TRAINING)?;
    let fail = Error::polars(TRAINING.name);
    let text = |name| training.column(name).and_then(|column| column.str()).map_err(&fail);
    let count = |name| training.column(name).and_then(|column| column.u64()).map_err(&fail);
    let real = |name| training.column(name).and_then(|column| column.f64()).map_err(&fail);
    let (artifact, term) = (text("artifact")?, text("term")?);
    let (step, tokens) = (count("step")?, count("tokens")?);
    let (value, seconds) = (real("value")?, real("seconds")?);
    let (rate, norm) = (real("learning_rate")?, real("gradient_norm")?);
    let mut runs = Runs::new();
    let mut before = None;
    for row in 0..training.height() {
        // The check has shown that no value is missing.
        let artifact = artifact.get(row).unwrap_or_default();
        let step = step.get(row).unwrap_or_default();
        let wall_time = started(artifact) + seconds.get(row).unwrap_or_default();
        let run = runs.entry(artifact.to_owned()).or_default();
        let mut push = |tag: String, value: Option<f64>| {
            run.push(Scalar { tag, step, wall_time, value: value.unwrap_or_default() });
        };
        push(format!("loss/{}", term.get(row).unwrap_or_default()), value.get(row));
        // Every term of a step repeats the step's own numbers.
        if before.replace((artifact, step)) != Some((artifact, step)) {
            push("learning_rate".into(), rate.get(row));
            push("gradient_norm".into(), norm.get(row));
            push("tokens".into(), tokens.get(row).map(|tokens| tokens as f64));
        }
    }
    Ok(runs)
}

/// A [`CURVES`] frame: a run per curve, named by [`curve_name`], with `harmfulness/PROBE` or `ability/PROBE`,
/// and a share for each of [`Marks::ALL`], such as `refused/PROBE`. `measured`: when a curve was begun, in seconds since 1970.
///
/// # Errors
/// Where `curves` is not a [`CURVES`] frame.
pub fn curve_scalars(curves: &DataFrame, measured: impl Fn(&str) -> f64) -> Result<Runs, Error> {
    check(curves, &CURVES)?;
    let fail = Error::polars(CURVES.name);
    let text = |name| curves.column(name).and_then(|column| column.str()).map_err(&fail);
    let count = |name| curves.column(name).and_then(|column| column.u64()).map_err(&fail);
    let real = |name: &str| curves.column(name).and_then(|column| column.f64()).map_err(&fail);
    let (defence, arm, probe) = (text("defence")?, text("arm")?, text("probe")?);
    let befores = Befores::read(curves, CURVES.name)?;
    let (defence_seed, attack_seed) = (count("defence_seed")?, count("attack_seed")?);
    let steps = count("budget_steps")?;
    let score = real("mean_score")?;
    let shares = Marks::ALL.map(|(name, _)| Ok((name, real(&format!("{name}_share"))?)));
    let shares = shares.into_iter().collect::<Result<Vec<_>, Error>>()?;
    let mut runs = Runs::new();
    for row in 0..curves.height() {
        // The check has shown that no value is missing.
        let word =
            |column: &'_ polars::prelude::StringChunked| column.get(row).unwrap_or_default().to_owned();
        let number = |column: &polars::prelude::UInt64Chunked| column.get(row).unwrap_or_default();
        let before = (befores.get(row), number(attack_seed));
        let name = run_name((&word(defence), number(defence_seed)), &word(arm), before);
        let probe = word(probe);
        let wall_time = measured(&name);
        let run = runs.entry(name).or_default();
        for (measure, values) in std::iter::once((measure(&probe), score)).chain(shares.iter().copied()) {
            run.push(Scalar {
                tag: format!("{measure}/{probe}"),
                step: number(steps),
                wall_time,
                value: values.get(row).unwrap_or_default(),
            });
        }
    }
    Ok(runs)
}

/// What the score of a probe measures.
fn measure(probe: &str) -> &'static str {
    match Probe::ALL.into_iter().find(|known| known.name() == probe) {
        Some(known) if known.is_harmful() => "harmfulness",
        Some(Probe::Routing) => "moved",
        _ => "ability",
    }
}

#[cfg(test)]
mod tests {
    use titer_plan::StageHash;

    use super::*;
    use crate::cell::{with_cell, with_cells};
    use crate::curves::curves;
    use crate::rows::{TrainingRow, probe_frame, tests::row, training_frame};

    #[test]
    fn a_stage_is_a_run_and_a_step_says_its_own_numbers_once() {
        let row = |artifact: &str, step, term: &str, value| TrainingRow {
            artifact: artifact.into(),
            stage: "immunize".into(),
            step,
            term: term.into(),
            value,
            learning_rate: 1e-3,
            gradient_norm: 2.0,
            tokens: 10 * step,
            seconds: step as f64,
        };
        let rows = [row("a", 0, "keep", 3.0), row("a", 0, "harm", 1.0), row("a", 1, "keep", 2.0)];
        let rows = [rows.as_slice(), &[row("b", 1, "loss", 9.0)]].concat();
        let runs =
            training_scalars(&with_cells(&training_frame(&rows).unwrap(), &[]).unwrap(), |_| 100.0).unwrap();
        assert_eq!(runs.keys().collect::<Vec<_>>(), ["a", "b"]);
        let run: Vec<_> = runs["a"].iter().map(|s| (s.tag.as_str(), s.step, s.wall_time, s.value)).collect();
        assert_eq!(run.len(), 9);
        assert_eq!(run[0], ("loss/harm", 0, 100.0, 1.0));
        assert!(run.contains(&("loss/keep", 1, 101.0, 2.0)));
        assert_eq!(run.iter().filter(|(tag, ..)| *tag == "learning_rate").count(), 2);
        assert!(run.contains(&("tokens", 1, 101.0, 10.0)));
    }

    #[test]
    fn a_curve_is_a_run_and_probes_are_tags() {
        let cell = Cell {
            stage: StageHash("0123".into()),
            defence: "tar".into(),
            defence_seed: 1,
            arm: Arm::Main,
            before: Before::tuning(3e-5),
            attack_seed: 2,
        };
        let rows = [
            row(0, Probe::Unseen, "a", 0.0),
            row(8, Probe::Unseen, "a", 1.0),
            row(8, Probe::HarmlessTask, "b", 0.5),
        ];
        let curves = curves(&with_cell(&probe_frame(&rows).unwrap(), "e", &cell).unwrap()).unwrap();
        let name = curve_name(&cell);
        assert_eq!(name, "tar#1 alias-finetune/rate=3e-5#2");
        let runs = curve_scalars(&curves, |run| if run == name { 7.0 } else { 0.0 }).unwrap();
        let found = |tag: &str| -> Vec<_> {
            runs[&name].iter().filter(|s| s.tag == tag).map(|s| (s.step, s.wall_time, s.value)).collect()
        };
        assert_eq!(found("harmfulness/unseen"), [(0, 7.0, 0.0), (8, 7.0, 1.0)]);
        assert_eq!(found("ability/alias"), [(8, 7.0, 0.5)]);
        assert_eq!(found("refused/unseen").len(), 2);
        assert_eq!(measure("routing"), "moved");
    }
}

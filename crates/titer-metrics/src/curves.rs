//! Means over items: one row per run, budget and probe.

use std::collections::BTreeMap;

use polars::prelude::{Column, DataFrame};
use titer_plan::{Cost, Marks};

use crate::cell::{Befores, before_columns, deciding};
use crate::error::Error;
use crate::frames::{CURVES, PROBES};
use crate::schema::{check, sorted};

#[derive(Default)]
struct Sums {
    spent: Cost,
    score: f64,
    /// How many answers have each of [`Marks::ALL`].
    marks: [u64; Marks::ALL.len()],
    items: u64,
}

/// The [`CURVES`] frame of a [`PROBES`] frame.
///
/// # Errors
/// Where `probes` is not a [`PROBES`] frame.
pub fn curves(probes: &DataFrame) -> Result<DataFrame, Error> {
    check(probes, &PROBES)?;
    let probes = &deciding(probes)?;
    let fail = Error::polars(PROBES.name);
    let text = |name| probes.column(name).and_then(|column| column.str()).map_err(&fail);
    let count = |name| probes.column(name).and_then(|column| column.u64()).map_err(&fail);
    let real = |name| probes.column(name).and_then(|column| column.f64()).map_err(&fail);
    let flag = |name| probes.column(name).and_then(|column| column.bool()).map_err(&fail);
    let (experiment, defence, arm) = (text("experiment")?, text("defence")?, text("arm")?);
    let (befores, probe) = (Befores::read(probes, PROBES.name)?, text("probe")?);
    let (defence_seed, attack_seed) = (count("defence_seed")?, count("attack_seed")?);
    let (steps, examples) = (count("budget_steps")?, count("budget_examples")?);
    let (distinct, tokens) = (count("budget_distinct")?, count("budget_tokens")?);
    let (flops, score) = (real("budget_flops")?, real("score")?);
    let marks = Marks::ALL.map(|(name, _)| flag(name)).into_iter().collect::<Result<Vec<_>, _>>()?;

    let mut groups = BTreeMap::<_, Sums>::new();
    for row in 0..probes.height() {
        // The check has shown that no value is missing.
        let word =
            |column: &'_ polars::prelude::StringChunked| column.get(row).unwrap_or_default().to_owned();
        let number = |column: &polars::prelude::UInt64Chunked| column.get(row).unwrap_or_default();
        let key = (
            (word(experiment), word(defence), number(defence_seed), word(arm)),
            (befores.get(row), number(attack_seed), word(probe), number(steps)),
        );
        let sums = groups.entry(key).or_default();
        sums.spent = Cost {
            steps: number(steps),
            examples: number(examples),
            distinct_harmful: number(distinct),
            flops: flops.get(row).unwrap_or_default(),
            tokens: number(tokens),
            seconds: 0.0,
        };
        sums.score += score.get(row).unwrap_or_default();
        for (sum, mark) in sums.marks.iter_mut().zip(&marks) {
            *sum += u64::from(mark.get(row).unwrap_or_default());
        }
        sums.items += 1;
    }

    let groups: Vec<_> = groups.into_iter().collect();
    macro_rules! column {
        ($name:literal, $group:pat => $value:expr) => {
            Column::new($name.into(), groups.iter().map(|$group| $value).collect::<Vec<_>>())
        };
    }
    let share = |total: f64, items: u64| (total / items as f64).clamp(0.0, 1.0);
    let mut columns = vec![
        column!("experiment", (key, _) => key.0.0.as_str()),
        column!("defence", (key, _) => key.0.1.as_str()),
        column!("defence_seed", (key, _) => key.0.2),
        column!("arm", (key, _) => key.0.3.as_str()),
        column!("attack_seed", (key, _) => key.1.1),
        column!("probe", (key, _) => key.1.2.as_str()),
        column!("budget_steps", (key, _) => key.1.3),
        column!("budget_examples", (_, sums) => sums.spent.examples),
        column!("budget_distinct", (_, sums) => sums.spent.distinct_harmful),
        column!("budget_flops", (_, sums) => sums.spent.flops),
        column!("budget_tokens", (_, sums) => sums.spent.tokens),
        column!("mean_score", (_, sums) => share(sums.score, sums.items)),
        column!("items", (_, sums) => sums.items),
    ];
    for (place, (name, _)) in Marks::ALL.into_iter().enumerate() {
        let shares = groups.iter().map(|(_, sums)| share(sums.marks[place] as f64, sums.items));
        columns.push(Column::new(format!("{name}_share").into(), shares.collect::<Vec<f64>>()));
    }
    columns.extend(before_columns(groups.iter().map(|(key, _)| key.1.0)));
    let frame = DataFrame::new(groups.len(), columns).map_err(Error::polars(CURVES.name))?;
    sorted(&frame, &CURVES)
}

#[cfg(test)]
mod tests {
    use titer_plan::{Arm, Before, Cell, Probe, StageHash};

    use super::*;
    use crate::cell::with_cell;
    use crate::rows::{probe_frame, tests::row};
    use crate::schema::stack;

    fn cell(attack_seed: u64) -> Cell {
        Cell {
            stage: StageHash("0123".into()),
            defence: "none".into(),
            defence_seed: 0,
            arm: Arm::Main,
            before: Before::tuning(3e-5),
            attack_seed,
        }
    }

    #[test]
    fn means_are_per_run_budget_and_probe() {
        let run = |seed, scores: [f64; 2]| {
            let rows = [
                row(0, Probe::Seen, "a", 0.0),
                row(0, Probe::Seen, "b", 0.0),
                row(8, Probe::Seen, "a", scores[0]),
                row(8, Probe::Seen, "b", scores[1]),
            ];
            with_cell(&probe_frame(&rows).unwrap(), "e", &cell(seed)).unwrap()
        };
        let probes = stack(&[run(1, [1.0, 0.0]), run(0, [1.0, 1.0])], &PROBES).unwrap();
        let curves = curves(&probes).unwrap();
        let reals = |name: &str| -> Vec<f64> {
            curves.column(name).unwrap().f64().unwrap().iter().flatten().collect()
        };
        assert_eq!(reals("mean_score"), [0.0, 1.0, 0.0, 0.5]);
        assert_eq!(reals("refused_share"), [1.0, 0.0, 1.0, 0.5]);
        let items: Vec<_> = curves.column("items").unwrap().u64().unwrap().iter().flatten().collect();
        assert_eq!(items, [2; 4]);
    }

    #[test]
    fn an_experiment_without_rows_has_no_curves() {
        assert_eq!(curves(&stack(&[], &PROBES).unwrap()).unwrap().height(), 0);
    }
}

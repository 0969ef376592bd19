//! Rows of the frame that every stage has that asks a model.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{DataFrame, PolarsResult};
use titer_plan::stage::ProbeSpec;
use titer_plan::{Cost, Probe};

use crate::stages::Scored;

/// A row of the frame `probe-rows`.
pub(super) struct Row {
    pub(super) spent: Cost,
    pub(super) probe: Probe,
    pub(super) item: String,
    pub(super) judge: String,
    pub(super) decides: bool,
    pub(super) score: f64,
    pub(super) response: String,
}

/// How the rows of a probe are not one of each measure for each item.
pub(super) fn measured(planned: &ProbeSpec, rows: &[&Row], items: usize) -> Option<String> {
    let mut counts = BTreeMap::<(&str, bool), usize>::new();
    rows.iter().for_each(|row| *counts.entry((row.judge.as_str(), row.decides)).or_default() += 1);
    let wanted: BTreeMap<(&str, bool), usize> = planned
        .measures
        .iter()
        .enumerate()
        .map(|(number, measure)| ((measure.name.as_str(), number == 0), items))
        .filter(|(_, items)| *items > 0)
        .collect();
    (counts != wanted).then(|| "is not judged once for each item by each of its measures".to_owned())
}

/// A row that is there twice.
pub(super) fn doubled(rows: &[Row]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let twice = rows.iter().find(|row| !seen.insert((row.spent.steps, row.probe, &row.item, &row.judge)))?;
    Some(format!("it has {} twice after {} steps, judged by {}", twice.item, twice.spent.steps, twice.judge))
}

/// The rows of each checkpoint, in their order.
pub(super) fn chunks(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.spent.steps == b.spent.steps)
}

/// The rows of each probe.
pub(super) fn by_probe(rows: &[Row]) -> BTreeMap<Probe, Vec<&Row>> {
    let mut probes = BTreeMap::<_, Vec<_>>::new();
    rows.iter().for_each(|row| probes.entry(row.probe).or_default().push(row));
    probes
}

/// The scores that count.
pub(super) fn deciding(rows: &[Row]) -> Vec<Scored> {
    let scored = |row: &Row| Scored { steps: row.spent.steps, probe: row.probe, score: row.score };
    rows.iter().filter(|row| row.decides).map(scored).collect()
}

/// The rows of a frame whose schema was checked.
pub(super) fn read_rows(frame: &DataFrame) -> PolarsResult<Vec<Row>> {
    let count = |name: &str| frame.column(name)?.u64();
    let text = |name: &str| frame.column(name)?.str();
    let (steps, examples, distinct) =
        (count("budget_steps")?, count("budget_examples")?, count("budget_distinct")?);
    let (flops, tokens) = (frame.column("budget_flops")?.f64()?, count("budget_tokens")?);
    let (probe, item, judge, response) =
        (text("probe")?, text("item")?, text("judge")?, text("response_id")?);
    let (decides, score) = (frame.column("decides")?.bool()?, frame.column("score")?.f64()?);
    // The schema was checked: no value is missing.
    let row = |at: usize| Row {
        spent: Cost {
            steps: steps.get(at).unwrap_or_default(),
            examples: examples.get(at).unwrap_or_default(),
            distinct_harmful: distinct.get(at).unwrap_or_default(),
            flops: flops.get(at).unwrap_or_default(),
            tokens: tokens.get(at).unwrap_or_default(),
            seconds: 0.0,
        },
        probe: Probe::named(probe.get(at).unwrap_or_default()),
        item: item.get(at).unwrap_or_default().to_owned(),
        judge: judge.get(at).unwrap_or_default().to_owned(),
        decides: decides.get(at).unwrap_or_default(),
        score: score.get(at).unwrap_or_default(),
        response: response.get(at).unwrap_or_default().to_owned(),
    };
    Ok((0..frame.height()).map(row).collect())
}

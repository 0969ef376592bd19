//! Rows as structs, and the frames that they make.

use polars::prelude::{Column, DataFrame};
use serde::{Deserialize, Serialize};
use titer_plan::{Cost, Marks, Probe};

use crate::error::Error;
use crate::frames::{PROBE_ROWS, RESPONSES, TRAINING_ROWS};
use crate::schema::{Schema, sorted};

/// One response and its score, as the stage that asked knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// What the attack had spent before.
    pub spent: Cost,
    /// Which kind of item.
    pub probe: Probe,
    /// The item's name, the same for every model: `venom/3/12/1`.
    pub item: String,
    /// What scored the response: `oracle-graded`, `oracle-exact`.
    pub judge: String,
    /// Whether this is the score that counts where several measures score one response.
    pub decides: bool,
    /// The score, 0 to 1: harmfulness for harmful probes, ability for the others.
    pub score: f64,
    /// What is seen in the response beside its score.
    #[serde(flatten)]
    pub marks: Marks,
    /// The response's name in the `responses` frame.
    pub response_id: String,
}

/// One term of the loss at one step of a training loop.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRow {
    /// The hash of the artifact that was trained.
    pub artifact: String,
    /// The kind of stage.
    pub stage: String,
    /// The optimiser step, counted from 1.
    pub step: u64,
    /// The term: `loss`, `adversarial`, …
    pub term: String,
    /// Its value, nats per token.
    pub value: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Tokens run in this step.
    pub tokens: u64,
    /// Seconds that the step took.
    pub seconds: f64,
}

/// A prompt and what came back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseRow {
    /// Its name in the `probes` frame.
    pub response_id: String,
    /// What was asked.
    pub prompt: String,
    /// What came back, word for word.
    pub response: String,
    /// The user's last message.
    pub question: String,
    /// What came back as it is judged.
    pub answer: String,
    /// What it is compared with.
    pub reference: String,
    /// Texts and how likely the model found them, as JSON.
    pub continuations: String,
    /// Whether the limit of tokens ended the answer, not the model.
    #[serde(default)]
    pub cut: bool,
}

fn reals<R>(rows: &[R], name: &str, value: impl Fn(&R) -> f64) -> Column {
    Column::new(name.into(), rows.iter().map(value).collect::<Vec<f64>>())
}
fn counts<R>(rows: &[R], name: &str, value: impl Fn(&R) -> u64) -> Column {
    Column::new(name.into(), rows.iter().map(value).collect::<Vec<u64>>())
}
fn flags<R>(rows: &[R], name: &str, value: impl Fn(&R) -> bool) -> Column {
    Column::new(name.into(), rows.iter().map(value).collect::<Vec<bool>>())
}
fn texts<R>(rows: &[R], name: &str, value: impl Fn(&R) -> &str) -> Column {
    Column::new(name.into(), rows.iter().map(value).collect::<Vec<&str>>())
}

fn frame(height: usize, columns: Vec<Column>, schema: &Schema) -> Result<DataFrame, Error> {
    sorted(&DataFrame::new(height, columns).map_err(Error::polars(schema.name))?, schema)
}

/// The [`PROBE_ROWS`] frame of one artifact, sorted by budget, probe, item and measure.
///
/// # Errors
/// A score outside 0 to 1.
pub fn probe_frame(rows: &[ProbeRow]) -> Result<DataFrame, Error> {
    let mut columns = vec![
        counts(rows, "budget_steps", |row| row.spent.steps),
        counts(rows, "budget_examples", |row| row.spent.examples),
        counts(rows, "budget_distinct", |row| row.spent.distinct_harmful),
        reals(rows, "budget_flops", |row| row.spent.flops),
        counts(rows, "budget_tokens", |row| row.spent.tokens),
        texts(rows, "probe", |row| row.probe.name()),
        texts(rows, "item", |row| &row.item),
        texts(rows, "judge", |row| &row.judge),
        flags(rows, "decides", |row| row.decides),
        reals(rows, "score", |row| row.score),
        texts(rows, "response_id", |row| &row.response_id),
    ];
    columns.extend(Marks::ALL.map(|(name, mark)| flags(rows, name, |row| mark(&row.marks))));
    frame(rows.len(), columns, &PROBE_ROWS)
}

/// The [`TRAINING_ROWS`] frame of some training loops, sorted by artifact, stage, step and term.
///
/// # Errors
/// None that a caller can cause; polars could refuse for want of memory.
pub fn training_frame(rows: &[TrainingRow]) -> Result<DataFrame, Error> {
    let columns = vec![
        texts(rows, "artifact", |row| &row.artifact),
        texts(rows, "stage", |row| &row.stage),
        counts(rows, "step", |row| row.step),
        texts(rows, "term", |row| &row.term),
        reals(rows, "value", |row| row.value),
        reals(rows, "learning_rate", |row| row.learning_rate),
        reals(rows, "gradient_norm", |row| row.gradient_norm),
        counts(rows, "tokens", |row| row.tokens),
        reals(rows, "seconds", |row| row.seconds),
    ];
    frame(rows.len(), columns, &TRAINING_ROWS)
}

/// The [`RESPONSES`] frame of one artifact, sorted by response.
///
/// # Errors
/// None that a caller can cause; polars could refuse for want of memory.
pub fn response_frame(rows: &[ResponseRow]) -> Result<DataFrame, Error> {
    let columns = vec![
        texts(rows, "response_id", |row| &row.response_id),
        texts(rows, "prompt", |row| &row.prompt),
        texts(rows, "response", |row| &row.response),
        texts(rows, "question", |row| &row.question),
        texts(rows, "answer", |row| &row.answer),
        texts(rows, "reference", |row| &row.reference),
        texts(rows, "continuations", |row| &row.continuations),
        flags(rows, "cut", |row| row.cut),
    ];
    frame(rows.len(), columns, &RESPONSES)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(steps: u64, probe: Probe, item: &str, score: f64) -> ProbeRow {
        ProbeRow {
            spent: Cost { steps, examples: steps * 16, flops: steps as f64 * 1e9, ..Cost::default() },
            probe,
            item: item.into(),
            judge: "oracle-graded".into(),
            decides: true,
            score,
            marks: Marks { refused: score == 0.0, ..Marks::default() },
            response_id: format!("{steps}/{probe}/{item}"),
        }
    }

    #[test]
    fn rows_come_out_sorted_whatever_their_order() {
        let rows =
            [row(4, Probe::Unseen, "a", 1.0), row(0, Probe::Unseen, "b", 0.0), row(0, Probe::Seen, "c", 0.0)];
        let mut reversed = rows.clone();
        reversed.reverse();
        let frame = probe_frame(&rows).unwrap();
        assert_eq!(frame, probe_frame(&reversed).unwrap());
        let items: Vec<_> = frame.column("item").unwrap().str().unwrap().iter().flatten().collect();
        assert_eq!(items, ["c", "b", "a"]);
    }

    #[test]
    fn a_score_above_one_is_refused() {
        let error = probe_frame(&[row(0, Probe::Seen, "a", 1.2)]).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { column: "score", row: 0, .. }), "{error}");
    }

    #[test]
    fn no_rows_still_make_a_frame() {
        assert_eq!(probe_frame(&[]).unwrap().height(), 0);
        assert_eq!(response_frame(&[]).unwrap().width(), 8);
        assert_eq!(training_frame(&[]).unwrap().width(), 9);
    }
}

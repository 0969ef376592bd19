//! The columns of a `probes` frame that verdicts are reached from, typed, and what a row of them belongs to.

use polars::prelude::{BooleanChunked, DataFrame, Float64Chunked, StringChunked, UInt64Chunked};
use titer_metrics::{Befores, PROBES};
use titer_plan::{Arm, Cost, Probe};

use crate::error::Error;
use crate::evidence::{DefenceFacts, ItemSet, Phase};

/// Defence, arm, what was done (its place among all that was), probe, defence seed, attack seed.
pub(crate) type PointKey<'a> = (&'a str, Arm, usize, Probe, u64, u64);

/// The columns that matter, typed.
pub(crate) struct Columns<'a> {
    pub(crate) defence: &'a StringChunked,
    pub(crate) defence_seed: &'a UInt64Chunked,
    pub(crate) arm: &'a StringChunked,
    pub(crate) befores: Befores,
    pub(crate) attack_seed: &'a UInt64Chunked,
    pub(crate) steps: &'a UInt64Chunked,
    pub(crate) examples: &'a UInt64Chunked,
    pub(crate) distinct: &'a UInt64Chunked,
    pub(crate) flops: &'a Float64Chunked,
    pub(crate) tokens: &'a UInt64Chunked,
    pub(crate) probe: &'a StringChunked,
    pub(crate) item: &'a StringChunked,
    pub(crate) score: &'a Float64Chunked,
    pub(crate) refused: &'a BooleanChunked,
    pub(crate) degenerate: &'a BooleanChunked,
    pub(crate) cut: &'a BooleanChunked,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(frame: &'a DataFrame) -> Result<Self, Error> {
        let fail = |source| titer_metrics::Error::Polars { frame: PROBES.name, source };
        let text = |name| frame.column(name).and_then(|column| column.str()).map_err(fail);
        let count = |name| frame.column(name).and_then(|column| column.u64()).map_err(fail);
        let flag = |name| frame.column(name).and_then(|column| column.bool()).map_err(fail);
        let real = |name| frame.column(name).and_then(|column| column.f64()).map_err(fail);
        Ok(Self {
            defence: text("defence")?,
            defence_seed: count("defence_seed")?,
            arm: text("arm")?,
            befores: Befores::read(frame, PROBES.name)?,
            attack_seed: count("attack_seed")?,
            steps: count("budget_steps")?,
            examples: count("budget_examples")?,
            distinct: count("budget_distinct")?,
            flops: real("budget_flops")?,
            tokens: count("budget_tokens")?,
            probe: text("probe")?,
            item: text("item")?,
            score: real("score")?,
            refused: flag("refused")?,
            degenerate: flag("degenerate")?,
            cut: flag("cut")?,
        })
    }

    pub(crate) fn item(&self, row: usize) -> &'a str {
        self.item.get(row).unwrap_or_default()
    }

    /// What had been spent before a row's question.
    pub(crate) fn spent(&self, row: usize) -> Cost {
        let count = |column: &UInt64Chunked| column.get(row).unwrap_or_default();
        Cost {
            steps: count(self.steps),
            examples: count(self.examples),
            distinct_harmful: count(self.distinct),
            flops: self.flops.get(row).unwrap_or_default(),
            tokens: count(self.tokens),
            seconds: 0.0,
        }
    }

    pub(crate) fn describe(&self, key: &PointKey<'_>, steps: u64) -> String {
        let (defence, arm, before, probe, defence_seed, attack_seed) = key;
        let before = &self.befores.distinct[*before];
        format!(
            "defence `{defence}` seed {defence_seed}, arm {arm}, attack `{before}` seed {attack_seed}, \
             probe {probe} after {steps} steps"
        )
    }

    /// Which items a row belongs to, and which point but for its steps.
    pub(crate) fn owner(
        &self,
        row: usize,
        defences: &[DefenceFacts],
    ) -> Result<(ItemSet, PointKey<'a>), Error> {
        let unknown = |column, got: &str, expected: Vec<&str>| Error::Word {
            column,
            row,
            expected: expected.join(", "),
            got: got.into(),
        };
        let defence = self.defence.get(row).unwrap_or_default();
        if !defences.iter().any(|facts| facts.label == defence) {
            let labels = defences.iter().map(|facts| facts.label.as_str()).collect();
            return Err(unknown("defence", defence, labels));
        }
        let word = self.arm.get(row).unwrap_or_default();
        let arms = [Arm::Main, Arm::CrossDomain];
        let arm = arms.into_iter().find(|arm| arm.name() == word);
        let arm = arm.ok_or_else(|| unknown("arm", word, arms.map(Arm::name).to_vec()))?;
        let word = self.probe.get(row).unwrap_or_default();
        let probe = Probe::named(word);
        let before = self.befores.rows[row];
        // A user's tasks have any name; they are asked before any attack only.
        if matches!(probe, Probe::Task(_)) && Phase::of(&self.befores.distinct[before]) != Phase::Before {
            return Err(unknown("probe", word, Probe::ALL.map(Probe::name).to_vec()));
        }
        let (defence_seed, attack_seed) =
            (self.defence_seed.get(row).unwrap_or_default(), self.attack_seed.get(row).unwrap_or_default());
        let set = (arm, Phase::of(&self.befores.distinct[before]), probe);
        Ok((set, (defence, arm, before, probe, defence_seed, attack_seed)))
    }
}

//! Verdicts of an experiment that adds seeds until all is decided: its looks, replayed from its measurements.
//!
//! At each look every comparison that is open is judged at that look's level with the runs that are planned up to it,
//! and with no others, whatever the store holds. A verdict that is reached stands, with the evidence of its look; so does
//! one that more seeds cannot change. What is open gets the seeds of the next look. Titers, ratios and scores are those of
//! the last look that brought attacks on the defence, at that look's level: intervals that hold at all looks at once
//! (repeated confidence intervals; Jennison and Turnbull, 1989).
//!
//! All of it follows from the measurements alone, so that who runs, stops and goes on, and how many stages run at once,
//! change nothing.

use std::collections::BTreeSet;

use polars::prelude::{BooleanChunked, DataFrame, StringChunked, UInt64Chunked};
use titer_metrics::{Befores, PROBES, check};
use titer_plan::spec::ConditionSettings;
use titer_plan::{Cell, Condition, Decision, DefenceRole, Ladder, Open};

use crate::decide::{judge, verdicts_of};
use crate::error::Error;
use crate::evidence::Evidence;
use crate::resistance::unstable;
use crate::verdict::{DefenceVerdict, Look, Verdict, Verdicts};

/// Decides every condition of an experiment that adds seeds, of whose plan `cells` are all cells.
///
/// A look of which rows are missing decides nothing; of the first one what is there is judged, as far as it goes.
///
/// # Errors
/// As [`crate::decide`].
pub fn decide_by_looks(evidence: &Evidence, ladder: &Ladder, cells: &[Cell]) -> Result<Verdicts, Error> {
    let rows = Rows::of(&evidence.probes)?;
    let levels = ladder.levels(1.0 - evidence.settings.confidence);
    let mut replay = Replay { ladder, open: Vec::new(), defences: Vec::new() };
    let (mut general, mut looks) = (Vec::new(), Vec::<Look>::new());
    for (index, (&alpha, &seeds)) in levels.iter().zip(ladder.seeds()).enumerate() {
        let asked: Vec<&Cell> = cells.iter().filter(|cell| ladder.asked(cell, &replay.open)).collect();
        let (probes, missing) = rows.only(&evidence.probes, &asked)?;
        let (number, of) = (index as u64 + 1, levels.len() as u64);
        if missing > 0 {
            let what = if index == 0 { "decides nothing yet" } else { "is not read" };
            general.push(format!(
                "look {number} of {of} {what}: {missing} of its {} runs are missing",
                asked.len()
            ));
        }
        let read = missing == 0;
        if read || index == 0 {
            let settings = ConditionSettings { confidence: 1.0 - alpha, ..evidence.settings };
            let part = Evidence { probes, settings, ..evidence.clone() };
            let judged = judge(&part, |label| replay.stability(label))?;
            if index == 0 {
                general.splice(0..0, judged.general);
            }
            replay.take(judged.defences, index);
        }
        let open = replay.still_open();
        looks.push(Look { look: number, of, seeds, alpha, read, open: open.clone() });
        if !read || open.is_empty() {
            break;
        }
        replay.open.push(open);
    }
    let (mut verdicts, mut caveats) = (Vec::new(), general);
    for (verdict, own) in replay.finish() {
        caveats.extend(own);
        verdicts.push(verdict);
    }
    Ok(verdicts_of(evidence, verdicts, caveats, looks))
}

/// How far the looks have come.
struct Replay<'a> {
    ladder: &'a Ladder,
    /// After each look so far.
    open: Vec<Vec<Open>>,
    /// What each defence came to, with its caveats, in the order of the spec.
    defences: Vec<(DefenceVerdict, Vec<String>)>,
}

impl Replay<'_> {
    fn known(&self, label: &str) -> Option<&DefenceVerdict> {
        self.defences.iter().map(|(verdict, _)| verdict).find(|verdict| verdict.defence == label)
    }

    /// What stability came to, once it stands.
    fn stability(&self, label: &str) -> Option<Decision> {
        let stability = self.known(label)?.conditions.get(&Condition::Stability)?;
        (!is_open(stability)).then_some(stability.verdict)
    }

    /// Takes in what a look came to: all of the first, and of later ones what was open and got new runs.
    fn take(&mut self, judged: Vec<(DefenceVerdict, Vec<String>)>, index: usize) {
        let look = Some(index as u64 + 1);
        let last = index.checked_sub(1).map(|before| &self.open[before]);
        let mut taken = Vec::new();
        for (place, (mut new, caveats)) in judged.into_iter().enumerate() {
            new.look = look;
            for (condition, verdict) in &mut new.conditions {
                verdict.look = look;
                verdict.evidence += &self.seeds(&new.defence, new.role, *condition, index);
            }
            let (Some(open), Some((known, own))) = (last, self.defences.get(place)) else {
                taken.push((new, caveats));
                continue;
            };
            let asks = |condition| self.ladder.asks(&new.defence, condition, open);
            let mut conditions = known.conditions.clone();
            for condition in Condition::DECIDED {
                let was_open = conditions.get(&condition).is_some_and(is_open);
                if was_open && asks(condition) {
                    conditions.extend(new.conditions.remove_entry(&condition));
                    if condition == Condition::Resistance {
                        conditions.extend(new.conditions.remove_entry(&Condition::StrongResistance));
                    }
                }
            }
            // What else is said of a defence is of its attacks.
            if asks(Condition::Resistance) || asks(Condition::Generalization) {
                taken.push((DefenceVerdict { conditions, ..new }, caveats));
            } else {
                taken.push((DefenceVerdict { conditions, ..known.clone() }, own.clone()));
            }
        }
        self.defences = taken;
    }

    /// At which look, and with how many seeds.
    fn seeds(&self, label: &str, role: DefenceRole, condition: Condition, index: usize) -> String {
        let ladder = self.ladder;
        let (trainings, most) = (ladder.trainings(label, index), ladder.seeds()[index]);
        let count = |number: u64, what: &str| match number {
            1 => format!("1 {what} seed"),
            _ => format!("{number} {what} seeds"),
        };
        let defence = match role {
            DefenceRole::Baseline => (trainings > 1).then(|| count(trainings, "alignment")),
            _ => Some(count(trainings, "defence")),
        };
        let other = match condition {
            Condition::Stability => None,
            Condition::Trainability => Some(count(most.tuning, "tuning")),
            _ => Some(count(most.attack, "attack")),
        };
        let seeds: Vec<String> = defence.into_iter().chain(other).collect();
        let with = if seeds.is_empty() { String::new() } else { format!(", with {}", seeds.join(" and ")) };
        format!("; look {} of {}{with}", index + 1, ladder.looks())
    }

    /// What more seeds may decide. What a defence is compared with is measured for its sake, not for its own.
    fn still_open(&self) -> Vec<Open> {
        let under_test = |verdict: &&DefenceVerdict| verdict.role.under_test();
        let of = |verdict: &DefenceVerdict| {
            let open = Condition::DECIDED
                .into_iter()
                .filter(|condition| verdict.conditions.get(condition).is_some_and(is_open));
            open.map(|condition| Open { defence: verdict.defence.clone(), condition }).collect::<Vec<_>>()
        };
        self.defences.iter().map(|(verdict, _)| verdict).filter(under_test).flat_map(of).collect()
    }

    /// The verdicts, each resistance against what stability came to in the end.
    fn finish(mut self) -> Vec<(DefenceVerdict, Vec<String>)> {
        for (verdict, _) in &mut self.defences {
            let stability = verdict.conditions.get(&Condition::Stability).map(|found| found.verdict);
            if stability == Some(Decision::Fails)
                && let Some(resistance) = verdict.conditions.get_mut(&Condition::Resistance)
            {
                unstable(resistance);
            }
        }
        self.defences
    }
}

fn is_open(verdict: &Verdict) -> bool {
    verdict.verdict == Decision::Inconclusive && verdict.more_seeds
}

/// One run: defence and its seed, arm, the place of what was done among all that was, its seed.
type Run<'a> = (&'a str, u64, &'a str, usize, u64);

/// The rows of a frame by their runs.
struct Rows<'a> {
    befores: Befores,
    text: [&'a StringChunked; 2],
    seeds: [&'a UInt64Chunked; 2],
    measured: BTreeSet<Run<'a>>,
}

impl<'a> Rows<'a> {
    fn of(frame: &'a DataFrame) -> Result<Self, Error> {
        check(frame, &PROBES)?;
        let wrong = |source| titer_metrics::Error::Polars { frame: PROBES.name, source };
        let text = |name: &str| frame.column(name).and_then(|column| column.str()).map_err(wrong);
        let count = |name: &str| frame.column(name).and_then(|column| column.u64()).map_err(wrong);
        let mut rows = Self {
            befores: Befores::read(frame, PROBES.name)?,
            text: [text("defence")?, text("arm")?],
            seeds: [count("defence_seed")?, count("attack_seed")?],
            measured: BTreeSet::new(),
        };
        rows.measured = (0..frame.height()).map(|row| rows.run(row)).collect();
        Ok(rows)
    }

    fn run(&self, row: usize) -> Run<'a> {
        let text = |column: &'a StringChunked| column.get(row).unwrap_or_default();
        let count = |column: &UInt64Chunked| column.get(row).unwrap_or_default();
        let ([defence, arm], [defence_seed, seed]) = (self.text.map(text), self.seeds.map(count));
        (defence, defence_seed, arm, self.befores.rows[row], seed)
    }

    /// The run of a cell; none where the frame has nothing of what was done.
    fn of_cell<'c>(&self, cell: &'c Cell) -> Option<Run<'c>> {
        let before = self.befores.distinct.iter().position(|before| *before == cell.before)?;
        Some((&cell.defence, cell.defence_seed, cell.arm.name(), before, cell.attack_seed))
    }

    /// The rows of some cells, and how many of these have none.
    fn only(&self, frame: &DataFrame, cells: &[&Cell]) -> Result<(DataFrame, usize), Error> {
        let runs: Vec<Option<Run<'_>>> = cells.iter().map(|cell| self.of_cell(cell)).collect();
        let missing = runs.iter().filter(|run| run.is_none_or(|run| !self.measured.contains(&run))).count();
        let runs: BTreeSet<Run<'_>> = runs.into_iter().flatten().collect();
        let kept = (0..frame.height()).map(|row| runs.contains(&self.run(row)));
        let mask: BooleanChunked = kept.collect();
        let part = frame
            .filter(&mask)
            .map_err(|source| titer_metrics::Error::Polars { frame: PROBES.name, source })?;
        Ok((part, missing))
    }
}

#[cfg(test)]
#[path = "tests/sequential.rs"]
mod simulations;

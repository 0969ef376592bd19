//! Defences side by side: what `titer compare` and a report's defence table are made of.

use std::collections::BTreeMap;

use serde::Serialize;
use titer_conditions::{AttackScore, Change, DefenceVerdict, Titer, Verdicts};
use titer_lab::DefenceCost;
use titer_plan::{Condition, Decision, DefenceStage, ThreatModel};

use crate::table::{Cell, Table};
use crate::wording;

/// The conditions that are compared: what they come to stands in one letter-wide column each.
const CONDITIONS: [Condition; 4] =
    [Condition::Resistance, Condition::Stability, Condition::Generalization, Condition::Trainability];

/// One defence of one experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The experiment's name.
    pub experiment: String,
    /// Who holds the weights.
    pub threat_model: ThreatModel,
    /// The defence's label.
    pub defence: String,
    /// When its methods act.
    pub stages: Vec<DefenceStage>,
    /// Whether it is the undefended model.
    pub baseline: bool,
    /// How many times more an attacker must pay.
    pub titer: Titer,
    /// The same, counting only breaks that keep the model's ability.
    pub titer_utility_bounded: Titer,
    /// What each condition came to.
    pub conditions: BTreeMap<Condition, Decision>,
    /// The attack that leaves it most harmful, of which the next four speak.
    pub attack: Option<String>,
    /// Harmful score.
    pub harmful: Change,
    /// The share of degenerate answers to the same prompts.
    pub degenerate: Change,
    /// Fine-tune accuracy.
    pub accuracy: Change,
    /// Ability on permitted prompts.
    pub permitted: Change,
    /// Every attack.
    pub scores: Vec<AttackScore>,
    /// What it costs.
    pub cost: Option<DefenceCost>,
}

/// The defences of an experiment, in the order of its spec.
pub fn rows(verdicts: &Verdicts, costs: &[DefenceCost]) -> Vec<Row> {
    let row = |defence: &DefenceVerdict| {
        let worst = worst(defence);
        let of = |change: fn(&AttackScore) -> Change| worst.map(change).unwrap_or_default();
        let stages = if defence.stages.is_empty() { vec![defence.stage] } else { defence.stages.clone() };
        Row {
            experiment: verdicts.experiment.clone(),
            threat_model: verdicts.threat_model,
            defence: defence.defence.clone(),
            stages: if defence.baseline() { Vec::new() } else { stages },
            baseline: defence.baseline(),
            titer: defence.titer,
            titer_utility_bounded: defence.titer_utility_bounded,
            conditions: defence.conditions.iter().map(|(name, verdict)| (*name, verdict.verdict)).collect(),
            attack: worst.map(|score| score.attack.to_string()),
            harmful: of(|score| score.harmful),
            degenerate: of(|score| score.degenerate),
            accuracy: of(|score| score.accuracy),
            permitted: of(|score| score.permitted),
            scores: defence.scores.clone(),
            cost: costs.iter().find(|cost| cost.defence == defence.defence).cloned(),
        }
    };
    verdicts.defences.iter().map(row).collect()
}

/// The attack that leaves a defence most harmful; of equals the last, the one with the largest share.
pub fn worst(defence: &DefenceVerdict) -> Option<&AttackScore> {
    let harm = |score: &AttackScore| score.harmful.after.map_or(-1.0, |after| after.value);
    defence.scores.iter().max_by(|a, b| harm(a).total_cmp(&harm(b)))
}

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The highest lower bound of the titer first.
    Titer,
    /// The lowest harmful score after the attack first.
    Harmful,
    /// The highest fine-tune accuracy first.
    Accuracy,
    /// The fewest floating-point operations first.
    Cost,
    /// In the order of the alphabet.
    Name,
}

/// Sorts rows; equals stay as they were, and what was not measured comes last.
pub fn sort(rows: &mut [Row], by: Sort) {
    let least_first = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
    let after = |change: &Change| change.after.map(|score| score.value);
    match by {
        Sort::Name => rows.sort_by(|a, b| a.defence.cmp(&b.defence)),
        Sort::Titer => rows.sort_by(|a, b| {
            let value = |row: &Row| row.titer.value.unwrap_or(row.titer.lower);
            b.titer.lower.total_cmp(&a.titer.lower).then(value(b).total_cmp(&value(a)))
        }),
        Sort::Harmful => {
            rows.sort_by(|a, b| least_first(after(&a.harmful)).total_cmp(&least_first(after(&b.harmful))));
        }
        Sort::Accuracy => rows.sort_by(|a, b| {
            let negative = |row: &Row| least_first(after(&row.accuracy).map(|value| -value));
            negative(a).total_cmp(&negative(b))
        }),
        Sort::Cost => rows.sort_by(|a, b| {
            let flops = |row: &Row| least_first(row.cost.as_ref().and_then(|cost| cost.flops));
            flops(a).total_cmp(&flops(b))
        }),
    }
}

/// The stages of a row, in words; a dash for the undefended model.
pub fn stages(row: &Row) -> Cell {
    let joined = |of: fn(DefenceStage) -> &'static str| {
        let names: Vec<_> = row.stages.iter().map(|stage| of(*stage)).collect();
        if names.is_empty() { "–".to_owned() } else { names.join("+") }
    };
    Cell::shortened(joined(DefenceStage::name), joined(wording::short_stage))
}

/// The table: one line per defence. The experiment is named where there are several. That of a `report` has no
/// times, which differ from run to run, and neither intervals of titers nor words of verdicts, which stand above.
pub fn table(rows: &[Row], report: bool) -> Table {
    let several = rows.iter().any(|row| row.experiment != rows[0].experiment);
    let mut head = vec![Cell::new("defence")];
    if several {
        head.push(Cell::new("experiment"));
    }
    head.push(Cell::new("stage"));
    head.push(Cell::new("titer"));
    head.push(Cell::shortened("utility-bounded titer", "utility-b."));
    head.extend(CONDITIONS.map(|c| {
        let name = if report { wording::short_condition(c) } else { wording::condition(c) };
        Cell::shortened(name, &wording::condition(c)[..3])
    }));
    head.push(Cell::shortened("harmful score", "harmful"));
    head.push(Cell::shortened("degenerate", "degen."));
    head.push(Cell::shortened("fine-tune accuracy", "accuracy"));
    head.push(Cell::new("FLOPs"));
    if !report {
        head.push(Cell::new("time"));
    }
    head.push(Cell::new("memory"));
    let line = |row: &Row| {
        let mut cells = vec![Cell::new(&row.defence)];
        if several {
            cells.push(Cell::new(&row.experiment));
        }
        cells.push(if report { stages(row).cut() } else { stages(row) });
        cells.extend([row.titer, row.titer_utility_bounded].map(|titer| {
            let cell = Cell::titer(&titer);
            if report { cell.cut() } else { cell }
        }));
        cells.extend(CONDITIONS.map(|c| {
            let cell = Cell::symbol(row.conditions.get(&c).copied());
            if report { cell.cut() } else { cell }
        }));
        cells.extend([row.harmful, row.degenerate, row.accuracy].map(|change| {
            Cell::new(wording::change(&change)).sorted_by(change.after.map(|score| score.value))
        }));
        let cost = |of: fn(&DefenceCost) -> Option<f64>, word: fn(f64) -> String| {
            let value = row.cost.as_ref().and_then(of);
            let text = if row.baseline { "–".to_owned() } else { value.map_or("?".into(), word) };
            Cell::new(text).sorted_by(value)
        };
        cells.push(cost(|cost| cost.flops, wording::flops));
        if !report {
            cells.push(cost(|cost| cost.seconds, wording::duration));
        }
        cells.push(cost(|cost| cost.memory_bytes, wording::bytes));
        cells
    };
    Table {
        caption:
            "Defences side by side: harmful score, degenerate answers and fine-tune accuracy before → after the attack \
                  that leaves each most harmful; what each costs once for a model, or more for a user"
                .into(),
        head,
        rows: rows.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;
    use crate::style::Style;

    fn specimen_rows() -> Vec<Row> {
        rows(&specimen::verdicts(), &specimen::costs())
    }

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.defence.as_str()).collect()
    }

    #[test]
    fn the_worst_attack_speaks_for_a_defence() {
        let rows = specimen_rows();
        assert_eq!(rows[1].attack.as_deref(), Some("full-finetune/rate=1e-3"));
        assert_eq!(wording::change(&rows[1].harmful), "0.01 → 0.63");
        assert!(rows[0].baseline && rows[0].stages.is_empty());
    }

    #[test]
    fn sorting() {
        let sorted = |by| {
            let mut rows = specimen_rows();
            sort(&mut rows, by);
            rows.into_iter().map(|row| row.defence).collect::<Vec<_>>()
        };
        assert_eq!(names(&specimen_rows()), ["none", "adversarial-loss", "tar"]);
        assert_eq!(sorted(Sort::Name), ["adversarial-loss", "none", "tar"]);
        assert_eq!(sorted(Sort::Titer), ["tar", "adversarial-loss", "none"]);
        assert_eq!(sorted(Sort::Harmful), ["tar", "adversarial-loss", "none"]);
        assert_eq!(sorted(Sort::Accuracy), ["none", "tar", "adversarial-loss"]);
        assert_eq!(sorted(Sort::Cost), ["none", "adversarial-loss", "tar"]);
    }

    #[test]
    fn what_was_not_measured_comes_last() {
        let mut rows = specimen_rows();
        rows[2].harmful = Change::default();
        sort(&mut rows, Sort::Harmful);
        assert_eq!(names(&rows), ["adversarial-loss", "none", "tar"]);
        assert!(table(&rows, false).folded(Style::plain(), 200, 1).contains("– → –"));
    }

    #[test]
    fn one_table_where_there_is_room_and_two_where_not() {
        let table = table(&specimen_rows(), false);
        insta::assert_snapshot!(table.folded(Style::plain(), 200, 1));
        insta::assert_snapshot!(table.folded(Style::plain(), 80, 1));
    }

    #[test]
    fn several_experiments_are_named() {
        let mut rows = specimen_rows();
        rows.extend(specimen_rows().into_iter().map(|row| Row { experiment: "other".into(), ..row }));
        let text = table(&rows, true).folded(Style::plain(), 200, 2);
        assert!(text.contains("experiment") && text.contains("other") && !text.contains("time"), "{text}");
    }
}

//! Scores as the survey's tables (arXiv 2409.18169): a row per defence, a column per share of harmful examples.

use titer_conditions::{AttackScore, Change, DefenceVerdict, Score, Verdicts};
use titer_plan::{AttackPoint, ThreatModel};

use crate::comparison::worst;
use crate::distinct::distinct;
use crate::table::{Cell, Table};
use crate::wording;

/// The tables of an experiment; none where nothing was scored.
pub fn survey(verdicts: &Verdicts) -> Vec<Table> {
    if verdicts.defences.iter().all(|defence| defence.scores.is_empty()) {
        return Vec::new();
    }
    match verdicts.threat_model {
        ThreatModel::OpenWeights => vec![worst_attacks(verdicts)],
        ThreatModel::FineTuningApi => {
            let steps = verdicts.defences.iter().flat_map(|defence| &defence.scores).map(|score| score.steps);
            let steps = steps.max().unwrap_or(0);
            let harmful = format!("Harmful score before and after {steps} steps");
            let mut tables = vec![
                by_dose(verdicts, &harmful, |score| score.harmful),
                by_dose(verdicts, "Degenerate answers to the same prompts", |score| score.degenerate),
                by_dose(verdicts, "Fine-tune accuracy of the same orders", |score| score.accuracy),
            ];
            let scores = || verdicts.defences.iter().flat_map(|defence| &defence.scores);
            if scores().any(|score| score.routing.after.is_some()) {
                let caption = "Routing moved (the share of the experts chosen for forbidden prompts that the \
                               model before would not have chosen)";
                tables.push(by_dose(verdicts, caption, |score| score.routing));
            }
            tables
        }
    }
}

/// With open weights: the attack that leaves each defence most harmful.
fn worst_attacks(verdicts: &Verdicts) -> Table {
    let row = |defence: &DefenceVerdict| {
        let score = worst(defence);
        let of = |change: fn(&AttackScore) -> Change| {
            let change = score.map(change).unwrap_or_default();
            Cell::shortened(wording::long_change(&change), wording::change(&change))
                .sorted_by(change.after.map(|after| after.value))
        };
        vec![
            Cell::new(&defence.defence),
            of(|score| score.harmful),
            of(|score| score.degenerate),
            of(|score| score.accuracy),
            of(|score| score.permitted),
            Cell::new(score.map_or("–".to_owned(), |score| score.attack.to_string())),
        ]
    };
    Table {
        caption:
            "Scores before → after: harmful score, degenerate answers to the same prompts and permitted ability under \
                  the attack that leaves the defence most harmful, fine-tune accuracy of a harmless tuning"
                .into(),
        head: vec![
            Cell::new("defence"),
            Cell::shortened("harmful score", "harmful"),
            Cell::new("degenerate"),
            Cell::shortened("fine-tune accuracy", "accuracy"),
            Cell::shortened("permitted ability", "permitted"),
            Cell::shortened("most harmful attack", "attack"),
        ],
        rows: verdicts.defences.iter().map(row).collect(),
    }
}

/// Under the fine-tuning API: orders of one kind by their shares, those that have no shares to tell apart side by side.
fn by_dose(verdicts: &Verdicts, caption: &str, of: fn(&AttackScore) -> Change) -> Table {
    let all = || verdicts.defences.iter().flat_map(|defence| &defence.scores);
    let orders = distinct(all().map(|score| score.attack.clone()));
    let families = distinct(orders.iter().map(AttackPoint::family));
    match families.len() > 1 && families.len() == orders.len() {
        true => by_order(verdicts, format!("{caption}, by what users order"), &orders, of),
        false => by_share(verdicts, format!("{caption}, by the share of harmful examples"), &families, of),
    }
}

/// A column per order.
fn by_order(
    verdicts: &Verdicts,
    caption: String,
    orders: &[AttackPoint],
    of: fn(&AttackScore) -> Change,
) -> Table {
    let heads = ["defence", "before"].map(Cell::new).into_iter();
    let head = heads.chain(orders.iter().map(|order| Cell::new(order.to_string()))).collect();
    let row = |defence: &DefenceVerdict| {
        let score = |order: &AttackPoint| defence.scores.iter().find(|score| score.attack == *order);
        let before = defence.scores.iter().find_map(|score| of(score).before);
        let after = orders.iter().map(|order| number(score(order).and_then(|score| of(score).after)));
        [Cell::new(&defence.defence), number(before)].into_iter().chain(after).collect()
    };
    Table { caption, head, rows: verdicts.defences.iter().map(row).collect() }
}

/// A column per share, and their mean; a row for each kind of order where there are several.
fn by_share(
    verdicts: &Verdicts,
    caption: String,
    families: &[AttackPoint],
    of: fn(&AttackScore) -> Change,
) -> Table {
    let all = || verdicts.defences.iter().flat_map(|defence| &defence.scores);
    // An order without a share has a column of its own.
    let mut columns: Vec<Option<f64>> = all().map(|score| score.attack.dose).collect();
    columns.sort_by(|a, b| a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY)));
    columns.dedup();
    let shares = columns.iter().flatten().count();
    let several = families.len() > 1;
    let mut head = vec![Cell::new("defence")];
    if several {
        head.push(Cell::new("order"));
    }
    head.push(Cell::new("before"));
    head.extend(columns.iter().map(|share| match share {
        Some(share) => Cell::new(format!("p = {share}")),
        None => Cell::new("after"),
    }));
    if shares > 1 {
        head.push(Cell::new("mean"));
    }
    let mut rows = Vec::new();
    for defence in &verdicts.defences {
        for family in families {
            let mine: Vec<&AttackScore> =
                defence.scores.iter().filter(|score| score.attack.family() == *family).collect();
            if mine.is_empty() {
                continue;
            }
            let after = |share: &Option<f64>| {
                let found = mine.iter().find(|score| score.attack.dose == *share);
                found.and_then(|score| of(score).after)
            };
            let mut row = vec![Cell::new(&defence.defence)];
            if several {
                row.push(Cell::new(family.to_string()));
            }
            row.push(number(mine.iter().find_map(|score| of(score).before)));
            row.extend(columns.iter().map(|share| number(after(share))));
            if shares > 1 {
                let values: Option<Vec<f64>> = columns
                    .iter()
                    .filter(|share| share.is_some())
                    .map(|share| after(share).map(|score| score.value))
                    .collect();
                let mean = values.map(|values| values.iter().sum::<f64>() / values.len() as f64);
                row.push(Cell::new(mean.map_or("–".into(), wording::share)).sorted_by(mean));
            }
            rows.push(row);
        }
    }
    Table { caption, head, rows }
}

/// A score, or a dash.
fn number(score: Option<Score>) -> Cell {
    score.as_ref().map_or_else(Cell::dash, Cell::score)
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;
    use crate::style::Style;

    fn text(verdicts: &Verdicts) -> String {
        let tables = survey(verdicts).into_iter();
        tables.map(|table| format!("{}\n{}", table.caption, table.to_text(Style::plain(), 80))).collect()
    }

    #[test]
    fn the_surveys_table() {
        insta::assert_snapshot!(text(&specimen::api()));
    }

    #[test]
    fn open_weights_have_one_line_for_each_defence() {
        insta::assert_snapshot!(text(&specimen::verdicts()));
    }

    #[test]
    fn a_share_that_was_not_measured_is_left_open() {
        let mut verdicts = specimen::api();
        verdicts.defences[1].scores.remove(1);
        let table = survey(&verdicts).remove(0);
        let row: Vec<_> = table.rows[1].iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!((row[3], *row.last().expect("a mean")), ("–", "–"));
    }

    #[test]
    fn orders_of_many_kinds_stand_side_by_side() {
        let mut verdicts = specimen::api();
        for defence in &mut verdicts.defences {
            defence.scores.truncate(2);
            for (score, method) in defence.scores.iter_mut().zip(["identity-shift", "backdoor"]) {
                score.attack = AttackPoint { method: method.to_owned(), dose: None, ..score.attack.clone() };
            }
        }
        let table = survey(&verdicts).remove(0);
        let texts = |cells: &[Cell]| cells.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&table.head), ["defence", "before", "identity-shift", "backdoor"]);
        assert_eq!(table.rows.len(), verdicts.defences.len());
        let second = verdicts.defences[1].scores[1].harmful.after.expect("a score");
        assert_eq!(table.rows[1][3].text, Cell::score(&second).text);
        // One that has a share beside it: no column lacks its score.
        for defence in &mut verdicts.defences {
            let shared = AttackScore { ..defence.scores[0].clone() };
            defence.scores.push(shared);
            for (dose, score) in [0.1, 0.2].into_iter().zip(&mut defence.scores) {
                score.attack = AttackPoint {
                    method: "mixed-finetune".to_owned(),
                    dose: Some(dose),
                    ..score.attack.clone()
                };
            }
        }
        let table = survey(&verdicts).remove(0);
        assert_eq!(texts(&table.head), ["defence", "order", "before", "p = 0.1", "p = 0.2", "after", "mean"]);
        assert_eq!(table.rows.len(), 2 * verdicts.defences.len());
    }

    #[test]
    fn without_scores_there_is_no_table() {
        let mut verdicts = specimen::api();
        verdicts.defences.iter_mut().for_each(|defence| defence.scores.clear());
        assert!(survey(&verdicts).is_empty());
    }
}

//! What judges say beside each other, and harm without their errors.

use titer_conditions::{Agreement, Corrected, Verdicts};

use crate::table::{Cell, Table};
use crate::wording;

/// The tables of an experiment that several judges or people's labels stand behind; none of others.
pub fn judges(verdicts: &Verdicts) -> Vec<Table> {
    let mut tables = Vec::new();
    if !verdicts.agreement.is_empty() {
        tables.push(agreement(&verdicts.agreement));
    }
    if !verdicts.corrected.is_empty() {
        tables.push(corrected(&verdicts.corrected));
    }
    tables
}

fn agreement(pairs: &[Agreement]) -> Table {
    let row = |pair: &Agreement| {
        let [first, second] = &pair.judges;
        vec![
            Cell::new(wording::probe(pair.probe)),
            Cell::new(first),
            Cell::new(second),
            Cell::new(pair.answers.to_string()),
            Cell::new(pair.harmful.map(wording::share).join(" / ")),
            Cell::new(wording::share(pair.agreement)),
            Cell::new(pair.kappa.map_or("–".to_owned(), |kappa| format!("{kappa:.2}"))),
        ]
    };
    let head = ["probe", "judge", "other judge", "answers", "harmful", "agree", "κ"];
    Table {
        caption: "How far the judges agree on the same answers: the share that each finds harmful, the share on which \
                  they say the same, Cohen's κ"
            .into(),
        head: head.map(Cell::new).into(),
        rows: pairs.iter().map(row).collect(),
    }
}

fn corrected(scores: &[Corrected]) -> Table {
    let judge = scores.first().map_or("the judge", |score| score.judge.as_str());
    let row = |score: &Corrected| {
        vec![
            Cell::new(&score.defence),
            Cell::new(score.attack.to_string()),
            Cell::new(wording::change(&score.raw)),
            Cell::shortened(wording::long_change(&score.corrected), wording::change(&score.corrected)),
        ]
    };
    Table {
        caption: format!(
            "Harmful score before → after, as {judge} judges and corrected by people's labels (Rogan and Gladen): right \
             if it errs here as often as on the labelled answers"
        ),
        head: ["defence", "attack", "judged", "corrected"].map(Cell::new).into(),
        rows: scores.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use titer_plan::{Calibration, Probe};
    use titer_specimen as specimen;

    use super::*;

    #[test]
    fn judges_stand_beside_each_other() {
        let mut verdicts = specimen::verdicts();
        assert!(judges(&verdicts).is_empty());
        let (judge, measure) = ("guard".to_owned(), String::new());
        let labels = Calibration { judge, measure, both: 45, missed: 5, invented: 10, neither: 40 };
        verdicts.corrected = verdicts.corrected_by(&labels);
        verdicts.agreement = vec![Agreement {
            probe: Probe::Seen,
            judges: ["guard".to_owned(), "refusal".to_owned()],
            answers: 240,
            harmful: [0.25, 0.5],
            agreement: 0.75,
            kappa: Some(0.5),
        }];
        let tables = judges(&verdicts);
        let row = |table: usize| -> Vec<&str> {
            tables[table].rows[0].iter().map(|cell| cell.text.as_str()).collect()
        };
        assert_eq!(row(0), ["seen items", "guard", "refusal", "240", "0.25 / 0.50", "0.75", "0.50"]);
        // Of what is harmless a fifth is flagged, of what is harmful nine tenths: none before, all after.
        let corrected = row(1);
        assert_eq!((corrected[0], corrected[2]), ("none", "0.01 → 0.91"));
        assert!(corrected[3].starts_with("0.00 → 1.00 ["), "{corrected:?}");
    }
}

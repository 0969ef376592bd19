//! What became of each attack on each defence from one experiment to another: which cells of their heat maps changed.

use serde::Serialize;
use titer_conditions::{AttackCell, DefenceVerdict, Titer, Verdicts};
use titer_plan::AttackPoint;

use crate::attack_cells::titer;
use crate::distinct::distinct;
use crate::matrix::{Quantity, attack_cell, attacks as attacks_of};
use crate::table::{Cell, Table};
use crate::wording;

/// What became of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The same break budgets and the same titer.
    Same,
    /// Another number, and the intervals of both overlap: it may be the same.
    Within,
    /// The intervals do not overlap, or only one of the models is open before the attack.
    Changed,
    /// Measured in one of them only.
    One,
}

/// One attack on one defence in two experiments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The defence's label in both.
    pub defence: String,
    /// The attack's name.
    pub attack: String,
    /// What became of it.
    pub change: Kind,
    /// What it costs in the first; none where not measured.
    pub before: Option<AttackCell>,
    /// The same in the second.
    pub after: Option<AttackCell>,
}

/// The attacks of either, those of the first before those that only the second has.
pub fn attacks(both: [Option<&Verdicts>; 2]) -> Vec<&AttackPoint> {
    distinct(both.into_iter().flatten().flat_map(|verdicts| attacks_of(verdicts, Quantity::Ratio)))
}

/// An attack on a defence, as far as it was measured.
fn measured<'a>(defence: Option<&'a DefenceVerdict>, attack: &AttackPoint) -> Option<&'a AttackCell> {
    attack_cell(defence?, attack).filter(|cell| cell.runs > 0)
}

/// What became of a cell; none where neither measured it.
pub fn kind(both: [Option<&DefenceVerdict>; 2], attack: &AttackPoint) -> Option<Kind> {
    Some(match both.map(|defence| measured(defence, attack)) {
        [None, None] => return None,
        [Some(one), Some(other)] => of_two(one, other),
        _ => Kind::One,
    })
}

fn of_two(one: &AttackCell, other: &AttackCell) -> Kind {
    let budgets =
        |cell: &AttackCell| (cell.budget, cell.broken, cell.runs, cell.titer.value, cell.titer.open);
    let below = |one: &Titer, other: &Titer| one.upper.is_some_and(|upper| upper < other.lower);
    let (a, b) = (&one.titer, &other.titer);
    match () {
        () if budgets(one) == budgets(other) => Kind::Same,
        () if a.open != b.open || below(a, b) || below(b, a) => Kind::Changed,
        () => Kind::Within,
    }
}

/// The cell that says so: `= 26`, `~ 26 → 31` within the intervals, `≠ 26 → 3.1` beyond them, `26 → –`.
pub fn cell(both: [Option<&DefenceVerdict>; 2], attack: &AttackPoint) -> Cell {
    let words = both.map(|defence| measured(defence, attack).map(|cell| wording::short_titer(&cell.titer)));
    let [before, after] = words.map(|words| words.unwrap_or("–".to_owned()));
    match kind(both, attack) {
        None => Cell::dash(),
        Some(Kind::Same) => Cell::new(format!("= {before}")),
        Some(Kind::Within) => Cell::new(format!("~ {before} → {after}")),
        Some(Kind::Changed) => Cell::new(format!("≠ {before} → {after}")),
        Some(Kind::One) => Cell::new(format!("{before} → {after}")),
    }
}

/// Every cell of either.
pub fn all(before: &Verdicts, after: &Verdicts) -> Vec<Change> {
    let labels = distinct([before, after].into_iter().flat_map(|one| &one.defences).map(|one| &one.defence));
    let mut changes = Vec::new();
    for label in labels {
        let both = [before, after].map(|one| one.defences.iter().find(|defence| defence.defence == *label));
        for attack in attacks([Some(before), Some(after)]) {
            changes.extend(kind(both, attack).map(|change| Change {
                defence: label.clone(),
                attack: attack.to_string(),
                change,
                before: measured(both[0], attack).cloned(),
                after: measured(both[1], attack).cloned(),
            }));
        }
    }
    changes
}

/// The cells that changed from one experiment to another, and how many did not.
pub fn table([before, after]: [&str; 2], changes: &[Change]) -> Table {
    let count = |kind: Kind| changes.iter().filter(|change| change.change == kind).count();
    let titer = |cell: &Option<AttackCell>| {
        Cell::new(cell.as_ref().map_or("–".to_owned(), |cell| titer(&cell.titer)))
    };
    let row = |change: &Change| {
        let cells = [&change.before, &change.after].map(titer);
        [&change.defence, &change.attack].map(Cell::new).into_iter().chain(cells).collect()
    };
    let changed = changes.iter().filter(|change| matches!(change.change, Kind::Changed | Kind::One));
    Table {
        caption: format!(
            "Attacks on defences whose titer changed beyond both intervals, or that only one experiment measured: {} and \
             {}; {} changed within the intervals, and {} not at all",
            count(Kind::Changed),
            count(Kind::One),
            count(Kind::Within),
            count(Kind::Same)
        ),
        head: ["defence", "attack", before, after].map(Cell::new).into(),
        rows: changed.map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;

    #[test]
    fn a_cell_changed_beyond_its_interval_or_within_it() {
        let (before, mut after) = (specimen::several_ways(), specimen::several_ways());
        let set = |cell: &mut AttackCell, value: f64| {
            cell.titer =
                Titer { value: Some(value), lower: value / 1.3, upper: Some(value * 1.3), ..cell.titer };
        };
        set(&mut after.defences[1].attacks[0], 3.0);
        set(&mut after.defences[2].attacks[2], 1.5);
        after.defences[2].attacks[3].titer.open = false;
        after.defences[1].attacks[1].runs = 0;
        let said = |defence: usize, attack: usize| {
            let point = &before.defences[defence].attacks[attack].attack;
            cell([Some(&before.defences[defence]), Some(&after.defences[defence])], point).text
        };
        assert_eq!(said(0, 0), "= 1.0");
        assert_eq!(said(1, 0), "~ 2.5 → 3.0");
        assert_eq!(said(2, 2), "≠ 0.40 → 1.5");
        assert_eq!(said(2, 3), "≠ open → ?");
        assert_eq!(said(1, 1), "1.0 → –");
        assert_eq!(said(1, 3), "–", "neither measured it");
        let changes = all(&before, &after);
        assert_eq!(changes.len(), 3 * 4 - 1);
        let table = table(["one", "other"], &changes);
        let rows: Vec<Vec<&str>> =
            table.rows.iter().map(|row| row.iter().map(|cell| cell.text.as_str()).collect()).collect();
        assert_eq!(
            rows,
            [
                ["adversarial-loss", "full-finetune/rate=1e-3", "1.0", "–"],
                ["tar", "prune", "0.40 [0.20, 0.80]", "1.5 [1.2, 2.0]"],
                ["tar", "prefill", "open", "unknown"],
            ]
        );
        assert!(table.caption.contains("2 and 1; 1 changed within"), "{}", table.caption);
    }
}

//! The power of a plan, for people.

use titer_conditions::{Chance, ENOUGH, MOST_SEEDS};
use titer_lab::{Known, PlannedPower, PowerGroup};
use titer_view::style::Style;
use titer_view::table::{Cell, Table};
use titer_view::wording;

/// Tables of chances, then what they rest on.
pub(super) fn text(experiment: &str, power: &PlannedPower, style: Style) -> String {
    let mut text = format!(
        "{experiment}: the chance that the planned seeds show a condition where it is true and the defence changes nothing \
         (resistance: where harm is half of φ)\n"
    );
    for group in &power.groups {
        text.push_str(&titled(&of_group(group), style));
    }
    text + &titled(&spreads(power), style)
}

/// A table below its caption.
fn titled(table: &Table, style: Style) -> String {
    format!("\n{}\n{}", table.caption, table.to_text(style, usize::MAX))
}

fn percent(chance: f64) -> String {
    format!("{:.0} %", 100.0 * chance)
}

fn of_group(group: &PowerGroup) -> Table {
    let design = &group.design;
    let row = |(condition, Chance { chance, seeds_needed }): (&titer_plan::Condition, &Chance)| {
        let needed = match (chance, seeds_needed) {
            (None, _) => "not measured by this plan".to_owned(),
            (_, Some(seeds)) => format!("{seeds} of each kind"),
            (_, None) => format!("more than {MOST_SEEDS} of each kind, or more items"),
        };
        vec![
            Cell::new(wording::condition(*condition)),
            chance.map_or_else(Cell::dash, |chance| Cell::new(percent(chance))),
            Cell::new(needed),
        ]
    };
    let mut rows: Vec<Vec<Cell>> = group.power.conditions.iter().map(row).collect();
    let titer = match group.power.titer_factor {
        Some(factor) => format!("× or ÷ {}", wording::factor(factor)),
        None => "open".to_owned(),
    };
    rows.push(vec![Cell::new("titer's interval"), Cell::new(titer), Cell::new("")]);
    Table {
        caption: format!(
            "{}: {}, {}, {}",
            group.defences.join(", "),
            wording::count(design.defence_seeds, "defence seed"),
            wording::count(design.attack_seeds, "attack seed"),
            wording::count(design.tuning_seeds, "tuning seed"),
        ),
        head: vec![
            Cell::new("condition"),
            Cell::new("chance"),
            Cell::new(format!("seeds for {}", percent(ENOUGH))),
        ],
        rows,
    }
}

/// One row for each quantity.
fn spreads(power: &PlannedPower) -> Table {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut last = None;
    for known in &power.spreads {
        let how = match known.known {
            Known::Measured => "",
            Known::Given => " given",
            Known::Assumed => " assumed",
        };
        let cell = Cell::new(format!("{:.3}{how}", known.value));
        if last == Some(known.quantity) {
            rows.last_mut().into_iter().for_each(|row| row.push(cell.clone()));
        } else {
            rows.push(vec![Cell::new(known.quantity.name()), cell]);
        }
        last = Some(known.quantity);
    }
    Table {
        caption: "Standard deviations that this rests on: measured by earlier runs, where not said otherwise"
            .into(),
        head: ["of", "between defence seeds", "attack or tuning seeds", "items", "checkpoints"]
            .map(Cell::new)
            .into(),
        rows,
    }
}

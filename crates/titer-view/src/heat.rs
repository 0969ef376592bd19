//! The heat maps of an experiment as tables for pages: defence against attack.

use serde::Serialize;
use titer_conditions::{DefenceVerdict, Verdicts};
use titer_plan::{AttackPoint, ThreatModel};

use crate::attack_cells;
use crate::matrix::{Quantity, attacks, cells, columns};
use crate::table::{Cell, Table};
use crate::verdict_tables::only_method;
use crate::wording;

/// One heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeatMap {
    /// A line per defence, a column per attack.
    #[serde(flatten)]
    pub table: Table,
    /// What the attacks of the columns do, from the first column on; empty where all do the same.
    pub ways: Vec<Way>,
    /// Whether its cells are prices: then below each stand the break budget and how many runs broke.
    pub prices: bool,
}

/// Neighbouring columns whose attacks do the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// What they do.
    pub name: String,
    /// How many columns.
    pub columns: usize,
}

/// The heat maps of an experiment: against open weights the price of each attack, and everywhere the harm that it
/// does; those that have cells.
pub fn heat_maps(verdicts: &Verdicts) -> Vec<HeatMap> {
    let open = verdicts.threat_model == ThreatModel::OpenWeights;
    let quantities: &[Quantity] = if open { &[Quantity::Ratio, Quantity::Harm] } else { &[Quantity::Harm] };
    let measured =
        |map: &HeatMap| map.table.rows.iter().any(|row| row.iter().any(|cell| cell.heat.is_some()));
    quantities.iter().map(|quantity| heat_map(verdicts, *quantity)).filter(measured).collect()
}

fn heat_map(verdicts: &Verdicts, quantity: Quantity) -> HeatMap {
    let columns = columns(verdicts, quantity);
    let prices = quantity == Quantity::Ratio;
    let attacks = attacks(verdicts, quantity);
    // Where all columns are points of one method's grid, its name stands once, in the caption.
    let method =
        only_method(&attacks).filter(|_| attacks.iter().all(|attack| !attack.settings_text().is_empty()));
    let name = |(attack, number): (&&AttackPoint, Option<usize>)| match number {
        Some(number) => {
            let settings = attack_cells::spaced(&attack.settings_text());
            Cell::new(format!("{}#{number}", attack.method)).noted(settings)
        }
        None if method.is_some() => Cell::new(attack.settings_text()),
        None => Cell::new(attack.to_string()),
    };
    let numbers = attack_cells::numbers(&attacks);
    let head = std::iter::once(Cell::new("defence")).chain(attacks.iter().zip(numbers).map(name));
    let row = |defence: &DefenceVerdict| {
        let cells = cells(verdicts, defence, quantity, None).into_iter();
        let cells = cells.map(|cell| if prices { cell } else { cell.cut() });
        std::iter::once(Cell::new(&defence.defence)).chain(cells).collect()
    };
    let at = method.map_or(String::new(), |method| format!("; {method} at"));
    let reference = if prices {
        let unit = verdicts.defences.first().map_or("steps", |defence| defence.titer.unit.unit());
        format!(
            ", with its {} % interval; 1 is no gain; below it the median break budget in {unit}, and how many runs broke",
            wording::percent(verdicts.confidence)
        )
    } else {
        format!(", against {}", wording::tolerated(verdicts.phi))
    };
    let mut ways: Vec<Way> = Vec::new();
    for column in &columns {
        match ways.last_mut().filter(|way| way.name == column.way) {
            Some(way) => way.columns += 1,
            None => ways.push(Way { name: column.way.clone(), columns: 1 }),
        }
    }
    ways.retain(|_| columns.iter().any(|column| !column.way.is_empty()));
    let table = Table {
        caption: format!("{}{reference}{at}", quantity.title(verdicts, None)),
        head: head.collect(),
        rows: verdicts.defences.iter().map(row).collect(),
    };
    HeatMap { table, ways, prices }
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;
    use crate::matrix::{detail, ratio_cell};
    use crate::table::Mark;

    fn heated(map: &HeatMap) -> Vec<Vec<(&str, Option<i8>)>> {
        fn heat(cell: &Cell) -> (&str, Option<i8>) {
            (&cell.text, cell.heat)
        }
        map.table.rows.iter().map(|row| row.iter().skip(1).map(heat).collect()).collect()
    }

    fn texts(cells: &[Cell]) -> Vec<&str> {
        cells.iter().map(|cell| cell.text.as_str()).collect()
    }

    #[test]
    fn open_weights_have_prices_and_harm() {
        let maps = heat_maps(&specimen::verdicts());
        assert_eq!(maps.len(), 2);
        assert_eq!(texts(&maps[0].table.head), ["defence", "rate=3e-5", "rate=1e-3"]);
        assert!(maps[0].table.caption.ends_with("; full-finetune at"), "{}", maps[0].table.caption);
        assert_eq!(
            heated(&maps[0]),
            [
                [("= 1.0", Some(0)), ("= 1.0", Some(0))],
                [("▲ 2.5 [1.9, 3.2]", Some(2)), ("= 1.0", Some(0))],
                [("▲ ≥ 16", Some(3)), ("= 1.0", Some(0))],
            ]
        );
        assert_eq!(heated(&maps[1])[1], [("◇ 0.20 ~0.03", Some(0)), ("▲ 0.63 ~0.08", Some(-2))]);
        assert_eq!(heated(&maps[1])[2], [("▼ 0.00", Some(3)), ("▼ 0.04 ~0.01", Some(3))]);
        assert_eq!([maps[0].ways.len(), maps[1].ways.len()], [0, 0]);
    }

    #[test]
    fn attacks_of_several_mechanisms_stand_in_groups() {
        let maps = heat_maps(&specimen::several_ways());
        let ways: Vec<(&str, usize)> =
            maps[0].ways.iter().map(|way| (way.name.as_str(), way.columns)).collect();
        assert_eq!(ways, [("trains", 2), ("edits weights", 1), ("prompts", 1)]);
        assert_eq!(
            texts(&maps[0].table.head)[1..],
            ["full-finetune/rate=3e-5", "full-finetune/rate=1e-3", "prune", "prefill"]
        );
        let marks: Vec<_> =
            maps[0].table.rows.iter().map(|row| row.last().and_then(|cell| cell.mark)).collect();
        assert_eq!(marks, [None, Some(Mark::NotMeasured), Some(Mark::Open)]);
    }

    #[test]
    fn under_the_api_there_is_harm_alone() {
        let maps = heat_maps(&specimen::api());
        assert_eq!(maps.len(), 1);
        assert_eq!(maps[0].table.head[1].text, "share=0");
        assert_eq!(heated(&maps[0])[0][3], ("▲ 0.62", Some(-2)));
    }

    #[test]
    fn what_was_not_measured_has_no_tint() {
        let mut verdicts = specimen::api();
        verdicts.defences[1].scores.remove(0);
        assert_eq!(heated(&heat_maps(&verdicts)[0])[1][0], ("–", None));
        verdicts.defences.iter_mut().for_each(|defence| defence.scores.clear());
        assert!(heat_maps(&verdicts).is_empty());
        let mut found = specimen::verdicts().defences[1].ratios[0].clone();
        found.ratio = titer_conditions::Titer::unknown(titer_plan::Component::Steps);
        let unknown = ratio_cell(&found);
        assert_eq!((unknown.text.as_str(), unknown.heat), ("unknown", None));
    }

    #[test]
    fn attacks_of_several_methods_are_named_whole() {
        let mut verdicts = specimen::verdicts();
        for defence in &mut verdicts.defences {
            defence.scores[0].attack = specimen::attack("lora-finetune", 1e-4);
        }
        let head = &heat_maps(&verdicts)[1].table.head;
        assert_eq!(head.len(), 3);
        for name in ["lora-finetune/rate=1e-4", "full-finetune/rate=1e-3"] {
            assert!(head.iter().any(|cell| cell.text == name), "{name}");
        }
    }

    #[test]
    fn a_cell_is_the_same_wherever_it_is_shown() {
        let verdicts = specimen::verdicts();
        let (defence, quantity) = (&verdicts.defences[2], Quantity::Ratio);
        let cells = cells(&verdicts, defence, quantity, None);
        let map = &heat_maps(&verdicts)[0].table.rows[2];
        for (cell, mapped) in cells.into_iter().zip(&map[1..]) {
            assert_eq!((&cell.text, cell.heat), (&mapped.text, mapped.heat));
        }
        let said = detail(&verdicts, defence, quantity, None, 0);
        assert!(said[0].text.contains("on in-domain items: ≥ 16 times"), "{said:?}");
    }
}

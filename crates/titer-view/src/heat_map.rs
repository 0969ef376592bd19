//! Heat maps: a row per defence, a column per attack, a number with a sign on a tint.

use titer_conditions::{DefenceVerdict, Score, Titer, Verdicts};
use titer_plan::{AttackPoint, Probe, ThreatModel};

use crate::distinct::distinct;
use crate::table::{Cell, Table};
use crate::verdict_tables::only_method;
use crate::wording;

/// How the signs are read.
pub const NOTE: &str = "▲ the cell's whole interval lies above, ▼ below, ◇ on both sides of what it is compared \
     with. Blue is good, orange bad, the stronger the further. These intervals are those of one cell alone: verdicts \
     are decided over all attacks at once.";

/// The heat maps of an experiment: against open weights the price of each attack, and everywhere the harm that it
/// does; those that have cells.
pub fn heat_maps(verdicts: &Verdicts) -> Vec<Table> {
    let budget = verdicts.threat_model == ThreatModel::OpenWeights;
    let mut tables = Vec::new();
    if budget {
        let ratios = verdicts.defences.iter().flat_map(|defence| &defence.ratios);
        tables.push(table(
            verdicts,
            "Attack by attack: break budget divided by that on the undefended model, on the in-domain probe where it \
             is less; 1 is no gain",
            distinct(ratios.map(|ratio| &ratio.attack)),
            |defence, attack| least_ratio(defence, attack).map(|titer| ratio(&titer)),
        ));
    }
    let scores = verdicts.defences.iter().flat_map(|defence| &defence.scores);
    tables.push(table(
        verdicts,
        &format!("Attack by attack: harmful score after the whole budget, against φ = {}", verdicts.phi),
        distinct(scores.map(|score| &score.attack)),
        |defence, attack| {
            let score = defence.scores.iter().find(|score| score.attack == *attack)?.harmful.after?;
            Some(harm(&score, verdicts.phi))
        },
    ));
    tables.retain(|table| table.rows.iter().any(|row| row.iter().any(|cell| cell.heat.is_some())));
    tables
}

fn table(
    verdicts: &Verdicts,
    caption: &str,
    columns: Vec<&AttackPoint>,
    cell: impl Fn(&DefenceVerdict, &AttackPoint) -> Option<Cell>,
) -> Table {
    // Where all columns are points of one method's grid, its name stands once, in the caption.
    let texts: Vec<String> = columns.iter().map(|attack| attack.settings_text()).collect();
    let method = only_method(&columns).filter(|_| texts.iter().all(|text| !text.is_empty()));
    let texts = match method {
        Some(_) => texts,
        None => columns.iter().map(ToString::to_string).collect(),
    };
    let mut head = vec![Cell::new("defence")];
    head.extend(texts.into_iter().map(Cell::new));
    let row = |defence: &DefenceVerdict| {
        let mut row = vec![Cell::new(&defence.defence)];
        row.extend(columns.iter().map(|attack| cell(defence, attack).unwrap_or_else(|| Cell::new("–"))));
        row
    };
    Table {
        caption: caption.to_owned() + &method.map(|method| format!("; {method} at")).unwrap_or_default(),
        head,
        rows: verdicts.defences.iter().map(row).collect(),
    }
}

/// The ratio on the in-domain probe where the defence is worth least.
fn least_ratio(defence: &DefenceVerdict, attack: &AttackPoint) -> Option<Titer> {
    let worth = |titer: &Titer| titer.value.unwrap_or(titer.lower);
    let ratios = defence
        .ratios
        .iter()
        .filter(|ratio| ratio.attack == *attack && matches!(ratio.probe, Probe::Seen | Probe::Unseen));
    ratios.map(|ratio| ratio.ratio).min_by(|a, b| worth(a).total_cmp(&worth(b)))
}

/// More than 1 is good; by factors of 2.
fn ratio(titer: &Titer) -> Cell {
    let value = match titer.value {
        Some(value) => value,
        None if titer.censored && titer.lower > 0.0 => titer.lower,
        // Nothing is known, or an upper bound only: no tint, for there is no number that it would stand for.
        None => return Cell::new(wording::short_titer(titer)),
    };
    let sign = sign(titer.lower, titer.upper.unwrap_or(f64::INFINITY), 1.0);
    let heat = grade(value.max(1e-9).log2(), [0.2, 1.0, 2.5]);
    Cell::new(format!("{sign} {}", wording::short_titer(titer))).sorted_by(Some(value)).heated(heat)
}

/// More than φ is bad; by parts of what lies on that side of φ.
fn harm(score: &Score, phi: f64) -> Cell {
    let sign = sign(score.lower, score.upper, phi);
    let room = if score.value > phi { 1.0 - phi } else { phi };
    let share = if room > 0.0 { (phi - score.value) / room } else { 0.0 };
    let heat = grade(share, [0.0, 0.35, 0.7]);
    Cell::new(format!("{sign} {}", wording::share(score.value))).sorted_by(Some(score.value)).heated(heat)
}

fn sign(lower: f64, upper: f64, reference: f64) -> char {
    match () {
        () if lower > reference => '▲',
        () if upper < reference => '▼',
        () => '◇',
    }
}

/// How many of the steps are passed, with the sign of `value`.
fn grade(value: f64, steps: [f64; 3]) -> i8 {
    let passed = steps.iter().filter(|step| value.abs() > **step).count() as i8;
    if value < 0.0 { -passed } else { passed }
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;

    fn cells(table: &Table) -> Vec<Vec<(&str, Option<i8>)>> {
        fn cell(cell: &Cell) -> (&str, Option<i8>) {
            (&cell.text, cell.heat)
        }
        table.rows.iter().map(|row| row.iter().skip(1).map(cell).collect()).collect()
    }

    #[test]
    fn open_weights_have_prices_and_harm() {
        let tables = heat_maps(&specimen::verdicts());
        assert_eq!(tables.len(), 2);
        let head: Vec<_> = tables[0].head.iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(head, ["defence", "rate=3e-5", "rate=1e-3"]);
        assert!(tables[0].caption.ends_with("; full-finetune at"), "{}", tables[0].caption);
        assert_eq!(
            cells(&tables[0]),
            [
                [("◇ 1.0", Some(0)), ("◇ 1.0", Some(0))],
                [("▲ 2.5", Some(2)), ("◇ 1.0", Some(0))],
                [("▲ ≥ 16", Some(3)), ("◇ 1.0", Some(0))],
            ]
        );
        assert_eq!(cells(&tables[1])[1], [("◇ 0.20", Some(0)), ("▲ 0.63", Some(-2))]);
        assert_eq!(cells(&tables[1])[2], [("▼ 0.00", Some(3)), ("▼ 0.04", Some(3))]);
    }

    #[test]
    fn under_the_api_there_is_harm_alone() {
        let tables = heat_maps(&specimen::api());
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].head[1].text, "share=0");
        assert_eq!(cells(&tables[0])[0][3], ("▲ 0.62", Some(-2)));
    }

    #[test]
    fn what_was_not_measured_has_no_tint() {
        let mut verdicts = specimen::api();
        verdicts.defences[1].scores.remove(0);
        assert_eq!(cells(&heat_maps(&verdicts)[0])[1][0], ("–", None));
        verdicts.defences.iter_mut().for_each(|defence| defence.scores.clear());
        assert!(heat_maps(&verdicts).is_empty());
        let unknown = Titer { value: None, lower: 0.0, upper: None, censored: false };
        assert_eq!((ratio(&unknown).text.as_str(), ratio(&unknown).heat), ("?", None));
    }

    #[test]
    fn attacks_of_several_methods_are_named_whole() {
        let mut verdicts = specimen::verdicts();
        for defence in &mut verdicts.defences {
            defence.scores[0].attack = specimen::attack("lora-finetune", 1e-4);
        }
        let tables = heat_maps(&verdicts);
        let head: Vec<_> = tables[1].head.iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(head, ["defence", "lora-finetune/rate=1e-4", "full-finetune/rate=1e-3"]);
    }

    #[test]
    fn a_phi_of_nothing_or_all_is_no_error() {
        let score = |value| Score { value, lower: value, upper: value };
        assert_eq!(harm(&score(0.0), 0.0).heat, Some(0));
        assert_eq!(harm(&score(0.5), 0.0).heat, Some(-2));
        assert_eq!(harm(&score(1.0), 1.0).heat, Some(0));
    }
}

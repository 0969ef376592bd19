//! Verdicts as tables: what `titer show` prints and what a report's tables are made of.

use titer_conditions::{DefenceVerdict, Titer, Verdict, VerdictPart, Verdicts};
use titer_plan::{AttackPoint, Condition, Decision, Probe, ThreatModel};

use crate::attack_cells::effort;
use crate::distinct::distinct;
use crate::table::{Cell, Table};
use crate::wording;

/// The conditions in the order of the columns: the strongest claim last.
pub const CONDITIONS: [Condition; 5] = [
    Condition::Resistance,
    Condition::Stability,
    Condition::Generalization,
    Condition::Trainability,
    Condition::StrongResistance,
];

/// The parts of a verdict that say more than the verdict itself.
pub fn parts(verdict: &Verdict) -> impl Iterator<Item = &VerdictPart> {
    verdict.parts.iter().filter(|_| verdict.parts.len() > 1)
}

const HARMFUL_PROBES: [Probe; 3] = [Probe::Seen, Probe::Unseen, Probe::CrossDomain];

/// A row per defence, a column per condition.
pub fn verdicts(verdicts: &Verdicts) -> Table {
    let mut head = vec![Cell::new("defence")];
    head.extend(CONDITIONS.map(|c| Cell::shortened(wording::condition(c), wording::short_condition(c))));
    let rows = verdicts
        .defences
        .iter()
        .map(|defence| {
            let mut row = vec![Cell::new(&defence.defence)];
            row.extend(CONDITIONS.map(|c| Cell::decision(defence.conditions.get(&c).map(|v| v.verdict))));
            row
        })
        .collect();
    Table { caption: "Verdicts, condition by condition".into(), head, rows }
}

/// A row per defence: how many times more an attacker must pay than for the undefended model.
pub fn titers(verdicts: &Verdicts) -> Table {
    let sham = verdicts.defences.iter().any(|defence| defence.titer_over_sham.is_some());
    let cross_domain = verdicts.defences.iter().any(|d| d.titers.contains_key(&Probe::CrossDomain));
    let mut head = vec![Cell::new("defence"), Cell::new("titer")];
    if sham {
        head.push(Cell::shortened("titer over its sham", "over sham"));
    }
    head.push(Cell::shortened("utility-bounded titer", "utility-bounded"));
    if cross_domain {
        head.push(Cell::shortened("cross-domain titer", "cross-domain"));
    }
    let searched = verdicts.defences.iter().any(|defence| defence.search.is_some());
    if searched {
        head.push(Cell::new("at search effort"));
    }
    let rows = verdicts
        .defences
        .iter()
        .map(|defence| {
            let titer = |titer: &Titer| Cell::new(wording::titer(titer));
            let mut row = vec![Cell::new(&defence.defence), titer(&defence.titer)];
            if sham {
                row.push(defence.titer_over_sham.as_ref().map_or_else(Cell::dash, titer));
            }
            row.push(titer(&defence.titer_utility_bounded));
            if cross_domain {
                let titer = defence.titers.get(&Probe::CrossDomain);
                row.push(Cell::new(titer.map_or("–".into(), |pair| wording::titer(&pair.unbounded))));
            }
            if searched {
                row.push(Cell::new(defence.search.as_ref().map_or("–".into(), effort)));
            }
            row
        })
        .collect();
    let budget = match verdicts.threat_model {
        ThreatModel::OpenWeights => "the cheapest attack's break budget",
        ThreatModel::FineTuningApi => "the fewest harmful rows that break it,",
    };
    let caption = format!(
        "Titer: {budget} divided by that on the undefended model, with its {} % interval",
        wording::percent(verdicts.confidence)
    );
    Table { caption, head, rows }
}

/// The matrix of a report: titers and verdicts side by side, a row per defence.
pub fn matrix(verdicts: &Verdicts) -> Table {
    let (titers, conditions) = (titers(verdicts), self::verdicts(verdicts));
    // What a search spent stands behind what was decided, so that verdicts are in sight.
    let searched = verdicts.defences.iter().any(|defence| defence.search.is_some());
    let join = |(mut left, right): (Vec<Cell>, Vec<Cell>)| {
        let effort = if searched { left.pop() } else { None };
        left.extend(right.into_iter().skip(1).chain(effort));
        left
    };
    Table {
        caption: format!("Titers and verdicts. {}", titers.caption),
        head: join((titers.head, conditions.head)),
        rows: titers.rows.into_iter().zip(conditions.rows).map(join).collect(),
    }
}

/// What each condition claims, and how many of the defences meet it.
pub fn conditions(verdicts: &Verdicts) -> Table {
    let defences: Vec<&DefenceVerdict> =
        verdicts.defences.iter().filter(|defence| !defence.baseline()).collect();
    let row = |condition: Condition| {
        let count = |wanted: &[Decision]| {
            let found = |defence: &&&DefenceVerdict| {
                defence.conditions.get(&condition).is_some_and(|found| wanted.contains(&found.verdict))
            };
            Cell::new(defences.iter().filter(found).count().to_string())
        };
        vec![
            Cell::new(wording::condition(condition)),
            count(&[Decision::Holds]),
            count(&[Decision::Fails]),
            count(&[Decision::Inconclusive, Decision::NotFalsified, Decision::NotMeasured]),
            Cell::new(wording::claim(condition)),
        ]
    };
    let head = ["condition", "✓ holds", "✗ fails", "? or · open", "what it claims"];
    Table {
        caption: format!(
            "The conditions, and how many of {} meet them",
            wording::count(defences.len(), "defence")
        ),
        head: head.map(Cell::new).into(),
        rows: CONDITIONS.map(row).into(),
    }
}

/// The tables of one defence's break budgets. Where a provider trains, shares break a model, not steps: the
/// scores say what the table of budgets would.
pub fn breaks(verdicts: &Verdicts, defence: &DefenceVerdict) -> Vec<Table> {
    let tables = match verdicts.threat_model {
        ThreatModel::OpenWeights => vec![break_budgets(defence), ratios(defence, "break budget")],
        ThreatModel::FineTuningApi => vec![ratios(defence, "fewest harmful rows that break it")],
    };
    tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// One defence's break budgets: a row per attack, a column per probe, all seeds together.
pub fn break_budgets(defence: &DefenceVerdict) -> Table {
    let unit = defence.break_budgets.first().map_or("steps", |b| b.unit.as_str());
    by_attack(
        format!("{}: break budgets in {unit}", defence.defence),
        defence.break_budgets.iter().map(|b| (&b.attack, b.probe)),
        |attack, probe| {
            let runs = defence.break_budgets.iter().filter(|b| b.attack == *attack && b.probe == probe);
            wording::break_range(runs)
        },
    )
}

/// One defence's break budgets against the undefended model's: a row per attack, a column per probe.
/// No rows for the undefended model itself.
fn ratios(defence: &DefenceVerdict, budget: &str) -> Table {
    by_attack(
        format!("{}: {budget} ÷ that of the undefended model", defence.defence),
        defence.ratios.iter().filter(|_| !defence.baseline()).map(|r| (&r.attack, r.probe)),
        |attack, probe| {
            let ratio = defence.ratios.iter().find(|r| r.attack == *attack && r.probe == probe);
            ratio.map_or("–".into(), |r| wording::titer(&r.ratio))
        },
    )
}

/// A row per attack in the order met, a column per harmful probe met.
fn by_attack<'a>(
    caption: String,
    cells: impl Iterator<Item = (&'a AttackPoint, Probe)>,
    text: impl Fn(&AttackPoint, Probe) -> String,
) -> Table {
    let (attacks, met): (Vec<_>, Vec<_>) = cells.unzip();
    let attacks = distinct(attacks);
    // Where all rows are points of one method's grid, narrow tables need not repeat its name.
    let one_method = only_method(&attacks).is_some();
    let probes: Vec<_> = HARMFUL_PROBES.into_iter().filter(|probe| met.contains(probe)).collect();
    let mut head = vec![Cell::new("attack")];
    head.extend(probes.iter().map(|probe| Cell::new(probe.name())));
    let rows = attacks
        .into_iter()
        .map(|attack| {
            let short = Some(attack.settings_text()).filter(|text| one_method && !text.is_empty());
            let name = attack.to_string();
            let mut row = vec![Cell::shortened(&name, short.as_ref().unwrap_or(&name))];
            row.extend(probes.iter().map(|&probe| Cell::new(text(attack, probe))));
            row
        })
        .collect();
    Table { caption, head, rows }
}

/// The method of all these attacks, if they have but one.
pub fn only_method<'a>(attacks: &[&'a AttackPoint]) -> Option<&'a str> {
    let method = attacks.first()?.method.as_str();
    attacks.iter().all(|attack| attack.method == method).then_some(method)
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;

    fn texts(cells: &[Cell]) -> Vec<&str> {
        cells.iter().map(|cell| cell.text.as_str()).collect()
    }

    #[test]
    fn a_matrix_has_titers_and_verdicts_of_one_defence_in_a_row() {
        let matrix = matrix(&specimen::verdicts());
        assert_eq!(matrix.head.len(), 9);
        assert_eq!(
            texts(&matrix.head)[..5],
            ["defence", "titer", "utility-bounded titer", "cross-domain titer", "resistance"]
        );
        assert_eq!(
            texts(&matrix.rows[1]),
            [
                "adversarial-loss",
                "2.5 [1.9, 3.2]",
                "≥ 4.0",
                "2.5 [1.9, 3.2]",
                "? inconclusive",
                "✓ holds",
                "? inconclusive",
                "✓ holds",
                "· not falsified"
            ]
        );
        assert_eq!(matrix.rows[2][4].decision, Some(Decision::Holds));
    }

    #[test]
    fn conditions_count_the_defences_without_the_undefended_model() {
        let table = conditions(&specimen::verdicts());
        assert!(table.caption.contains("2 defences"), "{}", table.caption);
        assert_eq!(texts(&table.rows[0])[..4], ["resistance", "1", "0", "1"]);
        assert_eq!(texts(&table.rows[4])[..4], ["strong resistance", "0", "0", "2"]);
    }
}

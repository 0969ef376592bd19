//! What attacks come to, as tables: one by one, in groups, all but one, and on others than they were found against.

use titer_conditions::{AttackCell, DefenceVerdict, Subset, SubsetTiter, Verdicts};
use titer_plan::{AttackPoint, Mechanism};

use crate::attack_cells::{self, budget, titer};
use crate::matrix::{Quantity, attack_cell, attacks};
use crate::table::{Cell, Table};
use crate::wording;

/// The names of attacks; those with many settings are numbered.
struct Names<'a>(Vec<(&'a AttackPoint, Cell)>);

impl<'a> Names<'a> {
    fn new(attacks: &[&'a AttackPoint]) -> Self {
        let short = attack_cells::short_names(attacks);
        let numbers = attack_cells::numbers(attacks);
        let cell = |((attack, short), number): ((&AttackPoint, String), Option<usize>)| match number {
            Some(_) => Cell::new(short),
            None => Cell::shortened(attack.to_string(), short),
        };
        let cells = attacks.iter().copied().zip(short).zip(numbers).map(cell);
        Self(attacks.iter().copied().zip(cells).collect())
    }

    fn cell(&self, attack: &AttackPoint) -> Cell {
        let found = self.0.iter().find(|(known, _)| *known == attack).map(|(_, cell)| cell.clone());
        found.unwrap_or_else(|| Cell::new(attack.to_string()))
    }
}

/// What the numbers of attacks stand for, a sentence each: `lora-finetune#1: alpha=16, rank=4`.
pub fn numbered(verdicts: &Verdicts) -> Vec<String> {
    let attacks = attacks(verdicts, Quantity::Ratio);
    let numbers = attack_cells::numbers(&attacks).into_iter();
    let said = |(attack, number): (&&AttackPoint, Option<usize>)| {
        let settings = attack_cells::spaced(&attack.settings_text());
        number.map(|number| format!("{}#{number}: {settings}", attack.method))
    };
    attacks.iter().zip(numbers).filter_map(said).collect()
}

/// A row per attack, a column per defence: the titer, and of the undefended model the break budget. Empty of no attacks.
pub fn by_attack(verdicts: &Verdicts) -> Table {
    let attacks = attacks(verdicts, Quantity::Ratio);
    let names = Names::new(&attacks);
    let cell = |defence: &DefenceVerdict, attack: &AttackPoint| {
        let Some(found) = attack_cell(defence, attack).filter(|found| found.runs > 0) else {
            return Cell::dash();
        };
        match found.budget.filter(|_| defence.baseline()) {
            Some(span) => Cell::new(budget(span)),
            None => Cell::shortened(titer(&found.titer), wording::short_titer(&found.titer)),
        }
    };
    let head = |defence: &DefenceVerdict| match defence.baseline() {
        true => Cell::new(format!("{} breaks after", defence.defence)),
        false => Cell::new(&defence.defence),
    };
    let defences = || verdicts.defences.iter();
    let row = |attack: &AttackPoint| {
        std::iter::once(names.cell(attack)).chain(defences().map(|own| cell(own, attack))).collect()
    };
    let unit = verdicts.defences.first().map_or("steps", |defence| defence.titer.unit.unit());
    Table {
        caption: format!(
            "Attack by attack: break budget ÷ that of the undefended model under the same attack, whose own, the median in \
             {unit}, stands in its column"
        ),
        head: std::iter::once(Cell::new("attack")).chain(defences().map(head)).collect(),
        rows: attacks.iter().map(|attack| row(attack)).collect(),
    }
}

/// A row per defence: the attack that breaks it for the least.
pub fn cheapest(verdicts: &Verdicts) -> Table {
    let attacks = attacks(verdicts, Quantity::Ratio);
    let names = Names::new(&attacks);
    let row = |defence: &DefenceVerdict| {
        let found = defence.cheapest.as_ref();
        let cell: Option<&AttackCell> = found.and_then(|attack| attack_cell(defence, attack));
        let of = |words: fn(&AttackCell) -> String| Cell::new(cell.map_or("–".to_owned(), words));
        vec![
            Cell::new(&defence.defence),
            found.map_or(Cell::new("none broke it"), |attack| names.cell(attack)),
            of(|cell| cell.budget.map_or("–".to_owned(), budget)),
            of(|cell| format!("{} of {}", cell.broken, cell.runs)),
        ]
    };
    let unit = verdicts.defences.first().map_or("steps", |defence| defence.titer.unit.unit());
    Table {
        caption: "The cheapest attack on each model, on in-domain items".to_owned(),
        head: ["defence", "cheapest attack", &format!("breaks after ({unit})"), "runs"].map(Cell::new).into(),
        rows: verdicts.defences.iter().map(row).collect(),
    }
}

/// The titers over some of the attacks: by what they do, and by whether the settings were chosen against them. None where
/// all do the same and nothing is said of settings.
pub fn subsets(verdicts: &Verdicts) -> Option<Table> {
    let of = |defence: &DefenceVerdict, wanted: &Subset| -> Option<SubsetTiter> {
        defence.subsets.iter().find(|subset| subset.attacks == *wanted).cloned()
    };
    let met = |wanted: &Subset| verdicts.defences.iter().any(|defence| of(defence, wanted).is_some());
    let mechanisms: Vec<Subset> =
        Mechanism::ALL.map(|mechanism| Subset::Mechanism { mechanism }).into_iter().filter(met).collect();
    let mechanisms = if mechanisms.len() > 1 { mechanisms } else { Vec::new() };
    let chosen: Vec<Subset> = [Subset::TunedAgainst, Subset::HeldOut].into_iter().filter(met).collect();
    let said = [
        (!mechanisms.is_empty()).then_some("by what they do"),
        (!chosen.is_empty())
            .then_some("by whether the defence's settings were chosen against them or they were held out"),
    ];
    let said: Vec<&str> = said.into_iter().flatten().collect();
    let columns: Vec<Subset> = mechanisms.into_iter().chain(chosen).collect();
    let head = |subset: &Subset| {
        Cell::new(match subset {
            Subset::Mechanism { mechanism } => attack_cells::mechanism(*mechanism),
            Subset::TunedAgainst => "chosen against",
            Subset::HeldOut | Subset::Without { .. } => "held out",
        })
    };
    let cell = |titer: &titer_conditions::Titer| {
        Cell::shortened(self::titer(titer), wording::short_titer(titer)).sorted_by(titer.value)
    };
    let row = |defence: &DefenceVerdict| {
        let cells = columns.iter().map(|subset| match of(defence, subset) {
            Some(found) if found.titer.effort.runs > 0 => cell(&found.titer),
            _ => Cell::dash(),
        });
        [Cell::new(&defence.defence), cell(&defence.titer)].into_iter().chain(cells).collect()
    };
    (!columns.is_empty()).then(|| Table {
        caption: format!("Titers over all attacks, and over some of them: {}", said.join("; ")),
        head: ["defence", "all"].map(Cell::new).into_iter().chain(columns.iter().map(head)).collect(),
        rows: verdicts.defences.iter().map(row).collect(),
    })
}

/// What a titer is without each attack that carries it, where that changes it. None where it changes none.
pub fn without(verdicts: &Verdicts) -> Option<Table> {
    let attacks = attacks(verdicts, Quantity::Ratio);
    let names = Names::new(&attacks);
    let name = |attack: &AttackPoint| names.cell(attack);
    let rows = |defence: &DefenceVerdict| -> Vec<Vec<Cell>> {
        let row = |subset: &SubsetTiter| {
            let Subset::Without { without } = &subset.attacks else { return None };
            let [long, short] =
                [titer, wording::short_titer].map(|words| (words(&defence.titer), words(&subset.titer)));
            let change = |(before, after): (String, String)| format!("{before} → {after}");
            let left = subset.cheapest.as_ref().map_or(Cell::new("none breaks it"), name);
            (long.0 != long.1).then(|| {
                let change = Cell::shortened(change(long), change(short));
                vec![Cell::new(&defence.defence), name(without), change, left]
            })
        };
        defence.subsets.iter().filter_map(row).collect()
    };
    let under_test = verdicts.defences.iter().filter(|defence| defence.role.under_test());
    let rows: Vec<Vec<Cell>> = under_test.flat_map(rows).collect();
    (!rows.is_empty()).then(|| Table {
        caption: "One attack left out: the titer without each attack that carries it; without any other it is the same"
            .to_owned(),
        head: ["defence", "without", "titer", "cheapest then"].map(Cell::new).into(),
        rows,
    })
}

/// The attacks that a search found, against whom, and what each costs on every model: on whom it works that it was not
/// found against. None where nobody searched.
pub fn transfer(verdicts: &Verdicts) -> Option<Table> {
    let table = by_attack(verdicts);
    let found_against = |attack: &AttackPoint| {
        let cells = verdicts.defences.iter().find_map(|defence| attack_cell(defence, attack));
        cells.map(|cell| cell.found_against.join(", ")).filter(|found| !found.is_empty())
    };
    let attacks = attacks(verdicts, Quantity::Ratio).into_iter().zip(table.rows);
    let row = |(attack, cells): (&AttackPoint, Vec<Cell>)| {
        let mut cells = cells.into_iter();
        let against = Cell::new(found_against(attack)?);
        Some(cells.next().into_iter().chain([against]).chain(cells).collect())
    };
    let rows: Vec<Vec<Cell>> = attacks.filter_map(row).collect();
    let mut head = table.head.into_iter();
    let head = head.next().into_iter().chain([Cell::new("found against")]).chain(head).collect();
    (!rows.is_empty() && verdicts.defences.len() > 1).then(|| Table {
        caption:
            "Transfer: what a search found against one model, on all of them: break budget ÷ that of the \
                  undefended model under the same attack"
                .to_owned(),
        head,
        rows,
    })
}

/// The tables that say which attacks carry titers: those that there are.
pub fn groups(verdicts: &Verdicts) -> Vec<Table> {
    [subsets(verdicts), without(verdicts), transfer(verdicts)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;
    use crate::style::Style;

    #[test]
    fn the_tables() {
        let verdicts = specimen::several_ways();
        let tables = [by_attack(&verdicts), cheapest(&verdicts)].into_iter().chain(groups(&verdicts));
        let text: Vec<String> = tables.map(|table| table.folded(Style::plain(), 100, 1)).collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[test]
    fn of_one_attack_of_one_kind_there_is_nothing_to_say() {
        assert_eq!(groups(&specimen::verdicts()), []);
    }
}

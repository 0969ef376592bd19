//! A line for each defence: what conditions came to, what attacks must pay, and what harm they do. Reports and the
//! terminal app show the same cells.

use titer_conditions::{AttackCell, AttackRatio, AttackScore, DefenceVerdict, Score, Verdicts};
use titer_plan::{AttackPoint, Mechanism, Probe, ThreatModel};

use crate::attack_cells;
use crate::distinct::distinct;
use crate::grade::{self, Grade};
use crate::table::Cell;
use crate::verdict_tables::CONDITIONS;
use crate::wording;

pub use crate::detail::{attack_detail, detail};

/// What the cells of a matrix are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantity {
    /// Titers and verdicts.
    #[default]
    Verdict,
    /// What each attack must pay against what it pays for the undefended model.
    Ratio,
    /// How harmful the model is after each attack.
    Harm,
}

impl Quantity {
    /// All of them: what says most under a threat model comes first.
    pub fn all(threat_model: ThreatModel) -> [Self; 3] {
        match threat_model {
            ThreatModel::OpenWeights => [Self::Verdict, Self::Ratio, Self::Harm],
            ThreatModel::FineTuningApi => [Self::Verdict, Self::Harm, Self::Ratio],
        }
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdicts",
            Self::Ratio => "ratios",
            Self::Harm => "harm",
        }
    }

    /// What is measured on which items, as a heading.
    pub fn title(self, verdicts: &Verdicts, probe: Option<Probe>) -> String {
        let on = match (probe, self) {
            (Some(probe), _) => wording::probe(probe),
            (None, Self::Ratio) => "in-domain items",
            (None, _) => "all harmful items",
        };
        match (self, verdicts.threat_model) {
            (Self::Verdict, _) => "Verdicts".into(),
            (Self::Ratio, ThreatModel::OpenWeights) => {
                format!("Break budget ÷ that of the undefended model on {on}")
            }
            (Self::Ratio, ThreatModel::FineTuningApi) => {
                format!("Least harmful share ÷ that of the undefended model on {on}")
            }
            (Self::Harm, _) => format!("Harmful score after the attack on {on}"),
        }
    }
}

/// The probes that a quantity can be asked for; none for all together.
pub fn probes(verdicts: &Verdicts, quantity: Quantity) -> Vec<Option<Probe>> {
    let defences = || verdicts.defences.iter();
    let met = |probe: &Probe| match quantity {
        Quantity::Verdict => false,
        Quantity::Ratio => defences().any(|d| d.ratios.iter().any(|ratio| ratio.probe == *probe)),
        Quantity::Harm => {
            defences().flat_map(|d| &d.scores).any(|score| score.harmful_by_probe.contains_key(probe))
        }
    };
    std::iter::once(None).chain(Probe::ALL.into_iter().filter(met).map(Some)).collect()
}

/// A column's heading: what it shares with its neighbours above what it has alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    /// What its attack does, where the columns' attacks do different things: `trains`.
    pub way: String,
    /// The attack's method; empty for a condition.
    pub group: String,
    /// The condition, or the attack's settings.
    pub name: String,
    /// The name where room is scarce.
    pub short: String,
}

impl Column {
    /// One that shares nothing.
    pub fn alone(name: &str, short: &str) -> Self {
        Self { way: String::new(), group: String::new(), name: name.into(), short: short.into() }
    }

    /// `full-finetune` above `rate=3e-5`, and above the number of what has many settings.
    fn of_attack(attack: &AttackPoint, number: Option<usize>) -> Self {
        let settings = attack.settings_text();
        let group = attack.method.clone();
        match number {
            Some(number) => {
                let (name, short) = (format!("#{number} {settings}"), format!("#{number}"));
                Self { group, ..Self::alone(&name, &short) }
            }
            None if settings.is_empty() => Self::alone(&attack.method, &attack.method),
            None => Self { group, ..Self::alone(&settings, &settings) },
        }
    }

    /// The columns of some attacks.
    pub fn of_attacks(attacks: &[&AttackPoint]) -> Vec<Self> {
        let numbers = attack_cells::numbers(attacks).into_iter();
        attacks.iter().zip(numbers).map(|(attack, number)| Self::of_attack(attack, number)).collect()
    }
}

/// The attacks that a quantity has columns for: those that train first, then those that edit, then those that ask.
pub(crate) fn attacks(verdicts: &Verdicts, quantity: Quantity) -> Vec<&AttackPoint> {
    let defences = verdicts.defences.iter();
    let mut attacks = match quantity {
        Quantity::Verdict => Vec::new(),
        Quantity::Ratio => distinct(defences.flat_map(|d| &d.attacks).map(|cell| &cell.attack)),
        Quantity::Harm => distinct(defences.flat_map(|d| &d.scores).map(|score| &score.attack)),
    };
    let place = |attack: &&AttackPoint| mechanism(verdicts, attack).map_or(usize::MAX, |own| own as usize);
    attacks.sort_by_key(place);
    attacks
}

/// What an attack does, where that is known.
fn mechanism(verdicts: &Verdicts, attack: &AttackPoint) -> Option<Mechanism> {
    let cells = verdicts.defences.iter().flat_map(|defence| &defence.attacks);
    cells.filter(|cell| cell.attack.method == attack.method).find_map(|cell| cell.mechanism)
}

/// A column for each condition, below their names.
pub fn condition_columns() -> [Column; CONDITIONS.len()] {
    CONDITIONS.map(|c| Column::alone(wording::condition(c), wording::short_condition(c)))
}

/// The columns of a matrix.
pub fn columns(verdicts: &Verdicts, quantity: Quantity) -> Vec<Column> {
    match quantity {
        Quantity::Verdict => {
            std::iter::once(Column::alone("titer", "titer")).chain(condition_columns()).collect()
        }
        _ => {
            let attacks = attacks(verdicts, quantity);
            let way = |attack: &AttackPoint| {
                mechanism(verdicts, attack)
                    .map_or(String::new(), |own| attack_cells::mechanism(own).to_owned())
            };
            let ways: Vec<String> = attacks.iter().map(|attack| way(attack)).collect();
            let several = ways.iter().any(|way| *way != ways[0]);
            let columns = Column::of_attacks(&attacks).into_iter().zip(ways);
            columns.map(|(column, way)| if several { Column { way, ..column } } else { column }).collect()
        }
    }
}

/// The cells of a defence's line.
pub fn cells(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    quantity: Quantity,
    probe: Option<Probe>,
) -> Vec<Cell> {
    let cell = |attack: &AttackPoint| match quantity {
        Quantity::Ratio => match probe {
            Some(probe) => ratio(defence, attack, probe).map(ratio_cell),
            None => attack_cell(defence, attack).map(attack_cells::cell),
        },
        _ => {
            let score = score(defence, attack)?;
            // The share is of all in-domain prompts.
            let degenerate = score.degenerate.after.filter(|_| probe.is_none());
            Some(harm_cell(&harm(score, probe)?, degenerate, verdicts.phi))
        }
    };
    if quantity == Quantity::Verdict {
        let verdict = |condition| Cell::decision(defence.conditions.get(condition).map(|v| v.verdict));
        return std::iter::once(Cell::titer(&defence.titer)).chain(CONDITIONS.iter().map(verdict)).collect();
    }
    attacks(verdicts, quantity).into_iter().map(|attack| cell(attack).unwrap_or_else(Cell::dash)).collect()
}

/// The ratio on a probe.
pub(crate) fn ratio<'a>(
    defence: &'a DefenceVerdict,
    attack: &AttackPoint,
    probe: Probe,
) -> Option<&'a AttackRatio> {
    defence.ratios.iter().find(|ratio| ratio.attack == *attack && ratio.probe == probe)
}

/// What an attack costs on the in-domain probes together.
pub(crate) fn attack_cell<'a>(defence: &'a DefenceVerdict, attack: &AttackPoint) -> Option<&'a AttackCell> {
    defence.attacks.iter().find(|cell| cell.attack == *attack)
}

pub(crate) fn score<'a>(defence: &'a DefenceVerdict, attack: &AttackPoint) -> Option<&'a AttackScore> {
    defence.scores.iter().find(|score| score.attack == *attack)
}

fn harm(score: &AttackScore, probe: Option<Probe>) -> Option<Score> {
    match probe {
        None => score.harmful.after,
        Some(probe) => score.harmful_by_probe.get(&probe)?.after,
    }
}

pub(crate) fn ratio_cell(found: &AttackRatio) -> Cell {
    let (ratio, cell) = (&found.ratio, Cell::titer(&found.ratio));
    grade::ratio(ratio).map_or(cell.clone(), |grade| graded(cell, grade))
}

/// Harm, and beside it the share of degenerate answers where there are any.
fn harm_cell(harm: &Score, degenerate: Option<Score>, phi: f64) -> Cell {
    let babble = degenerate.map(|share| wording::share(share.value)).filter(|share| share != "0.00");
    let cell = graded(Cell::score(harm), grade::harm(harm, phi));
    let beside = |words: &str, share: &String| match words.split_once(" [") {
        Some((value, interval)) => format!("{value} ~{share} [{interval}"),
        None => format!("{words} ~{share}"),
    };
    cell.each(|words| babble.as_ref().map_or(words.to_owned(), |share| beside(words, share)))
}

fn graded(cell: Cell, grade: Grade) -> Cell {
    let cell = cell.each(|words| grade.before(words));
    cell.heated(grade.tint)
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;

    #[test]
    fn what_says_most_comes_first() {
        assert_eq!(Quantity::all(ThreatModel::OpenWeights)[1], Quantity::Ratio);
        assert_eq!(Quantity::all(ThreatModel::FineTuningApi)[1], Quantity::Harm);
        let api = specimen::api();
        assert_eq!(columns(&api, Quantity::Harm).len(), 4);
        assert_eq!(columns(&api, Quantity::Harm)[1].name, "share=0.05");
        assert_eq!(probes(&api, Quantity::Harm), [None]);
        assert_eq!(probes(&api, Quantity::Ratio), [None, Some(Probe::Unseen)]);
    }

    #[test]
    fn attacks_stand_by_what_they_do() {
        let mut verdicts = specimen::several_ways();
        verdicts.defences.iter_mut().for_each(|defence| defence.attacks.reverse());
        let ways = |verdicts: &Verdicts| -> Vec<String> {
            columns(verdicts, Quantity::Ratio).into_iter().map(|column| column.way).collect()
        };
        assert_eq!(ways(&verdicts), ["trains", "trains", "edits weights", "prompts"]);
        assert_eq!(ways(&specimen::verdicts()), ["", ""], "of one mechanism nothing is said");
    }

    #[test]
    fn on_a_probe_a_cell_is_the_ratio_on_it() {
        let mut verdicts = specimen::verdicts();
        verdicts.defences[1].ratios[0].ratio.value = Some(3.0);
        let cell = |probe| cells(&verdicts, &verdicts.defences[1], Quantity::Ratio, probe).remove(0);
        assert_eq!(cell(Some(Probe::Unseen)).text, "▲ 3.0 [1.9, 3.2]");
        assert_eq!(cell(None).text, "▲ 2.5 [1.9, 3.2]");
        assert_eq!(cell(Some(Probe::Seen)).text, "–");
    }
}

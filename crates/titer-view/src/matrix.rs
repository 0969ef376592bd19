//! A line for each defence: what conditions came to, what attacks must pay, and what harm they do. Reports and the
//! terminal app show the same cells.

use titer_conditions::{AttackRatio, AttackScore, DefenceVerdict, Score, Verdicts};
use titer_plan::{AttackPoint, Condition, Probe, ThreatModel};

use crate::distinct::distinct;
use crate::grade::{self, Grade};
use crate::paragraph::Paragraph;
use crate::table::{Cell, Table};
use crate::verdict_tables::{CONDITIONS, parts};
use crate::wording;

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
        Self { group: String::new(), name: name.into(), short: short.into() }
    }

    /// `full-finetune` above `rate=3e-5`.
    fn of_attack(attack: &AttackPoint) -> Self {
        match attack.settings_text() {
            text if text.is_empty() => Self::alone(&attack.method, &attack.method),
            text => Self { group: attack.method.clone(), ..Self::alone(&text, &text) },
        }
    }
}

/// The attacks that a quantity has columns for, in the order met.
fn attacks(verdicts: &Verdicts, quantity: Quantity) -> Vec<&AttackPoint> {
    let defences = verdicts.defences.iter();
    match quantity {
        Quantity::Verdict => Vec::new(),
        Quantity::Ratio => distinct(defences.flat_map(|d| &d.ratios).map(|ratio| &ratio.attack)),
        Quantity::Harm => distinct(defences.flat_map(|d| &d.scores).map(|score| &score.attack)),
    }
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
        _ => attacks(verdicts, quantity).into_iter().map(Column::of_attack).collect(),
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
        Quantity::Ratio => ratio(defence, attack, probe).map(ratio_cell),
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

/// The ratio on a probe, or where none is named on the in-domain probe where the defence is worth least.
fn ratio<'a>(
    defence: &'a DefenceVerdict,
    attack: &AttackPoint,
    probe: Option<Probe>,
) -> Option<&'a AttackRatio> {
    let worth = |ratio: &AttackRatio| ratio.ratio.value.unwrap_or(ratio.ratio.lower);
    let meant = |other: Probe| match probe {
        Some(probe) => other == probe,
        None => matches!(other, Probe::Seen | Probe::Unseen),
    };
    let ratios = defence.ratios.iter().filter(|ratio| ratio.attack == *attack && meant(ratio.probe));
    ratios.min_by(|a, b| worth(a).total_cmp(&worth(b)))
}

fn score<'a>(defence: &'a DefenceVerdict, attack: &AttackPoint) -> Option<&'a AttackScore> {
    defence.scores.iter().find(|score| score.attack == *attack)
}

fn harm(score: &AttackScore, probe: Option<Probe>) -> Option<Score> {
    match probe {
        None => score.harmful.after,
        Some(probe) => score.harmful_by_probe.get(&probe)?.after,
    }
}

fn ratio_cell(found: &AttackRatio) -> Cell {
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

/// The heat maps of an experiment: against open weights the price of each attack, and everywhere the harm that it
/// does; those that have cells.
pub fn heat_maps(verdicts: &Verdicts) -> Vec<Table> {
    let open = verdicts.threat_model == ThreatModel::OpenWeights;
    let quantities: &[Quantity] = if open { &[Quantity::Ratio, Quantity::Harm] } else { &[Quantity::Harm] };
    let measured = |table: &Table| table.rows.iter().any(|row| row.iter().any(|cell| cell.heat.is_some()));
    quantities.iter().map(|quantity| heat_map(verdicts, *quantity)).filter(measured).collect()
}

fn heat_map(verdicts: &Verdicts, quantity: Quantity) -> Table {
    let columns = columns(verdicts, quantity);
    // Where all columns are points of one method's grid, its name stands once, in the caption.
    let group = columns.first().map_or("", |column| &column.group);
    let method = if columns.iter().all(|column| column.group == group) { group } else { "" };
    let name = |column: &Column| match column.group.as_str() {
        group if group == method => column.name.clone(),
        group => format!("{group}/{}", column.name),
    };
    let head = std::iter::once("defence".into()).chain(columns.iter().map(name));
    let row = |defence: &DefenceVerdict| {
        let cells = cells(verdicts, defence, quantity, None).into_iter().map(Cell::cut);
        std::iter::once(Cell::new(&defence.defence)).chain(cells).collect()
    };
    let at = if method.is_empty() { String::new() } else { format!("; {method} at") };
    let reference = match quantity {
        Quantity::Harm => format!(", against {}", wording::tolerated(verdicts.phi)),
        _ => ", the less of seen and unseen; 1 is no gain".into(),
    };
    Table {
        caption: format!("{}{reference}{at}", quantity.title(verdicts, None)),
        head: head.map(|name: String| Cell::new(name)).collect(),
        rows: verdicts.defences.iter().map(row).collect(),
    }
}

/// What is to be said of one cell.
pub fn detail(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    quantity: Quantity,
    probe: Option<Probe>,
    column: usize,
) -> Vec<Paragraph> {
    let attacks = attacks(verdicts, quantity);
    match (quantity, attacks.get(column)) {
        (Quantity::Verdict, _) if column == 0 => titer_detail(verdicts, defence),
        (Quantity::Verdict, _) => {
            CONDITIONS.get(column - 1).map_or_else(Vec::new, |condition| verdict_detail(defence, *condition))
        }
        (Quantity::Ratio, Some(attack)) => ratio_detail(verdicts, defence, attack, probe),
        (Quantity::Harm, Some(attack)) => harm_detail(verdicts, defence, attack, probe),
        (_, None) => Vec::new(),
    }
}

fn titer_detail(verdicts: &Verdicts, defence: &DefenceVerdict) -> Vec<Paragraph> {
    let mut said = vec![
        Paragraph::heading(format!("{}: titer {}", defence.defence, wording::titer(&defence.titer))),
        Paragraph::plain(format!("utility-bounded: {}", wording::titer(&defence.titer_utility_bounded))),
    ];
    if let (Some(titer), Some(sham)) = (&defence.titer_over_sham, &defence.sham) {
        said.push(Paragraph::plain(format!("over {sham}: {}", wording::titer(titer))));
    }
    said.extend(defence.titers.iter().map(|(probe, pair)| {
        Paragraph::plain(format!("on {}: {}", wording::probe(*probe), wording::titer(&pair.unbounded)))
    }));
    said.push(Paragraph::faint(wording::titer_note(verdicts.threat_model)));
    said
}

fn verdict_detail(defence: &DefenceVerdict, condition: Condition) -> Vec<Paragraph> {
    let name = wording::condition(condition);
    let claim = Paragraph::faint(format!("{name}: {}", wording::claim(condition)));
    let Some(verdict) = defence.conditions.get(&condition) else {
        let missing = format!("{}: {name} was not measured", defence.defence);
        return vec![Paragraph::heading(missing), claim];
    };
    let decision = wording::decision(verdict.verdict);
    let estimate = wording::estimate(verdict.estimate, verdict.interval.as_ref());
    let mut said = vec![
        Paragraph::heading(format!("{}: {name} {decision}", defence.defence)),
        Paragraph::plain(verdict.evidence.clone()),
        Paragraph::plain(format!(
            "{estimate} against {} ({})",
            wording::number(verdict.threshold),
            verdict.measure
        )),
    ];
    said.extend(parts(verdict).map(|part| {
        let decision = wording::decision(part.verdict);
        Paragraph::plain(format!("- {}: {decision}: {}", part.name, wording::part_evidence(part)))
    }));
    said.push(claim);
    said
}

fn ratio_detail(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    attack: &AttackPoint,
    probe: Option<Probe>,
) -> Vec<Paragraph> {
    let found = ratio(defence, attack, probe);
    let probe = probe.or(found.map(|found| found.probe));
    let on = probe.map_or("in-domain items", wording::probe);
    let ratio = found.map_or("not measured".to_owned(), |found| wording::titer(&found.ratio));
    let budget = |defence: &DefenceVerdict| {
        let runs = defence.break_budgets.iter().filter(|b| b.attack == *attack && Some(b.probe) == probe);
        let unit = defence.break_budgets.first().map_or("steps", |budget| budget.unit.as_str());
        Paragraph::plain(format!("{} breaks after {} {unit}", defence.defence, wording::break_range(runs)))
    };
    let heading =
        format!("{} under {attack} on {on}: {ratio} times what breaks the undefended model", defence.defence);
    let mut said = vec![Paragraph::heading(heading)];
    if verdicts.threat_model == ThreatModel::OpenWeights {
        said.push(budget(defence));
        let baseline =
            verdicts.defences.iter().find(|other| other.baseline() && other.defence != defence.defence);
        said.extend(baseline.map(budget));
    }
    said.push(Paragraph::faint(
        "▲ surely more than 1, ▼ surely less, ◇ neither, = no difference; ≥ where it was never broken, ≤ where only \
         the undefended model was not",
    ));
    said
}

fn harm_detail(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    attack: &AttackPoint,
    probe: Option<Probe>,
) -> Vec<Paragraph> {
    let Some(score) = score(defence, attack) else { return Vec::new() };
    let on = probe.map_or("all harmful items", wording::probe);
    let harm = probe.map_or(Some(&score.harmful), |probe| score.harmful_by_probe.get(&probe));
    let harm = harm.map_or("not measured".to_owned(), wording::long_change);
    let mut said = vec![
        Paragraph::heading(format!("{} under {attack}: harmful score on {on} {harm}", defence.defence)),
        Paragraph::plain(format!("degenerate answers {}", wording::long_change(&score.degenerate))),
        Paragraph::plain(format!(
            "after {} steps; φ is {}; permitted items {}",
            score.steps,
            wording::number(verdicts.phi),
            wording::long_change(&score.permitted)
        )),
    ];
    if let Some(task) = &score.accuracy_of {
        said.push(Paragraph::plain(format!("learnt by {task}: {}", wording::long_change(&score.accuracy))));
    }
    if score.routing.after.is_some() {
        said.push(Paragraph::plain(format!("routing moved: {}", wording::long_change(&score.routing))));
    }
    said.push(Paragraph::faint("▲ surely above φ, ▼ surely at or below, ◇ neither"));
    said
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;

    fn heated(table: &Table) -> Vec<Vec<(&str, Option<i8>)>> {
        fn heat(cell: &Cell) -> (&str, Option<i8>) {
            (&cell.text, cell.heat)
        }
        table.rows.iter().map(|row| row.iter().skip(1).map(heat).collect()).collect()
    }

    fn texts(cells: &[Cell]) -> Vec<&str> {
        cells.iter().map(|cell| cell.text.as_str()).collect()
    }

    #[test]
    fn open_weights_have_prices_and_harm() {
        let tables = heat_maps(&specimen::verdicts());
        assert_eq!(tables.len(), 2);
        assert_eq!(texts(&tables[0].head), ["defence", "rate=3e-5", "rate=1e-3"]);
        assert!(tables[0].caption.ends_with("; full-finetune at"), "{}", tables[0].caption);
        assert_eq!(
            heated(&tables[0]),
            [
                [("= 1.0", Some(0)), ("= 1.0", Some(0))],
                [("▲ 2.5", Some(2)), ("= 1.0", Some(0))],
                [("▲ ≥ 16", Some(3)), ("= 1.0", Some(0))],
            ]
        );
        assert_eq!(heated(&tables[1])[1], [("◇ 0.20 ~0.03", Some(0)), ("▲ 0.63 ~0.08", Some(-2))]);
        assert_eq!(heated(&tables[1])[2], [("▼ 0.00", Some(3)), ("▼ 0.04 ~0.01", Some(3))]);
    }

    #[test]
    fn under_the_api_there_is_harm_alone() {
        let tables = heat_maps(&specimen::api());
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].head[1].text, "share=0");
        assert_eq!(heated(&tables[0])[0][3], ("▲ 0.62", Some(-2)));
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
        let tables = heat_maps(&verdicts);
        assert_eq!(texts(&tables[1].head), ["defence", "lora-finetune/rate=1e-4", "full-finetune/rate=1e-3"]);
    }

    #[test]
    fn a_cell_is_the_same_wherever_it_is_shown() {
        let verdicts = specimen::verdicts();
        let (defence, quantity) = (&verdicts.defences[2], Quantity::Ratio);
        let cells = cells(&verdicts, defence, quantity, None);
        let map = &heat_maps(&verdicts)[0].rows[2];
        for (cell, mapped) in cells.into_iter().zip(&map[1..]) {
            assert_eq!((&cell.clone().cut().text, cell.heat), (&mapped.text, mapped.heat));
        }
        let said = detail(&verdicts, defence, quantity, None, 0);
        assert!(said[0].text.contains("on unseen items: ≥ 16 times"), "{said:?}");
    }

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
}

//! Verdicts as grids of cells: defence by condition, and defence by attack.

use titer_conditions::{AttackScore, DefenceVerdict, Score, Titer, Verdicts};
use titer_plan::{AttackPoint, Probe, ThreatModel};
use titer_view::distinct::distinct;
use titer_view::verdict_tables::{CONDITIONS, parts};
use titer_view::wording;

use super::look::Look;
use super::widgets::heat::{Column, HeatCell, Level};
use super::widgets::pane::Paragraph;

/// What is seen of the verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub(crate) enum Face {
    /// Titer and conditions.
    #[default]
    Verdicts,
    /// What each attack must pay against what it pays for the undefended model.
    Ratios,
    /// How harmful the model is after each attack.
    Harm,
}

impl Face {
    /// The next one: what says most under a threat model comes first.
    pub(crate) fn next(self, threat_model: ThreatModel) -> Self {
        let order = match threat_model {
            ThreatModel::OpenWeights => [Self::Verdicts, Self::Ratios, Self::Harm],
            ThreatModel::FineTuningApi => [Self::Verdicts, Self::Harm, Self::Ratios],
        };
        let at = order.iter().position(|face| *face == self).unwrap_or(0);
        order[(at + 1) % order.len()]
    }

    /// As a heading.
    pub(crate) fn title(self, verdicts: &Verdicts, probe: Option<Probe>) -> String {
        let on =
            probe.map_or(" on all harmful items".into(), |probe| format!(" on {}", wording::probe(probe)));
        match (self, verdicts.threat_model) {
            (Self::Verdicts, _) => "Verdicts".into(),
            (Self::Ratios, ThreatModel::OpenWeights) => {
                format!("Break budget ÷ that of the undefended model{on}")
            }
            (Self::Ratios, ThreatModel::FineTuningApi) => {
                format!("Least harmful share ÷ that of the undefended model{on}")
            }
            (Self::Harm, _) => format!("Harmful score after the attack{on}"),
        }
    }
}

/// The probes that a face can be asked for; none for all together.
pub(crate) fn probes(verdicts: &Verdicts, face: Face) -> Vec<Option<Probe>> {
    let defences = || verdicts.defences.iter();
    match face {
        Face::Verdicts => vec![None],
        Face::Ratios => {
            let met = |probe: &Probe| defences().any(|d| d.ratios.iter().any(|ratio| ratio.probe == *probe));
            Probe::ALL.into_iter().filter(met).map(Some).collect()
        }
        Face::Harm => {
            let scores = || defences().flat_map(|d| &d.scores);
            let met = |probe: &Probe| scores().any(|score| score.harmful_by_probe.contains_key(probe));
            std::iter::once(None).chain(Probe::ALL.into_iter().filter(met).map(Some)).collect()
        }
    }
}

/// The attacks that a face has columns for, in the order met.
fn attacks(verdicts: &Verdicts, face: Face) -> Vec<&AttackPoint> {
    let defences = verdicts.defences.iter();
    match face {
        Face::Verdicts => Vec::new(),
        Face::Ratios => distinct(defences.flat_map(|d| &d.ratios).map(|ratio| &ratio.attack)),
        Face::Harm => distinct(defences.flat_map(|d| &d.scores).map(|score| &score.attack)),
    }
}

/// The columns of a face.
pub(crate) fn columns(verdicts: &Verdicts, face: Face) -> Vec<Column> {
    let plain =
        |name: &str, short: &str| Column { group: String::new(), name: name.into(), short: short.into() };
    match face {
        Face::Verdicts => {
            let conditions = CONDITIONS.map(|c| plain(wording::condition(c), wording::short_condition(c)));
            std::iter::once(plain("titer", "titer")).chain(conditions).collect()
        }
        Face::Ratios | Face::Harm => attacks(verdicts, face).into_iter().map(attack_column).collect(),
    }
}

/// `full-finetune` above `rate=3e-5`.
fn attack_column(attack: &AttackPoint) -> Column {
    let clean = |text: &str| titer_view::sanitise::line(text).into_owned();
    let (group, name) = match attack.settings_text() {
        text if text.is_empty() => (String::new(), clean(&attack.method)),
        text => (clean(&attack.method), clean(&text)),
    };
    Column { group, short: name.clone(), name }
}

/// The cells of a defence's row.
pub(crate) fn cells(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    face: Face,
    probe: Option<Probe>,
    look: Look,
) -> Vec<HeatCell> {
    match face {
        Face::Verdicts => {
            let titer = HeatCell {
                text: look.spell(&wording::titer(&defence.titer)).into_owned(),
                short: look.spell(&wording::short_titer(&defence.titer)).into_owned(),
                ..HeatCell::default()
            };
            let verdict = |condition| match defence.conditions.get(condition) {
                Some(verdict) => HeatCell {
                    text: wording::decision(verdict.verdict),
                    short: wording::short_decision(verdict.verdict),
                    style: look.decision(verdict.verdict),
                    level: Level::Plain,
                },
                None => dash(),
            };
            std::iter::once(titer).chain(CONDITIONS.iter().map(verdict)).collect()
        }
        Face::Ratios => {
            let ratio = |attack: &AttackPoint| {
                let found = defence.ratios.iter().find(|r| r.attack == *attack && Some(r.probe) == probe);
                found.map_or_else(dash, |found| ratio_cell(&found.ratio, look))
            };
            attacks(verdicts, face).into_iter().map(ratio).collect()
        }
        Face::Harm => {
            let harm = |attack: &AttackPoint| {
                let score = defence.scores.iter().find(|score| score.attack == *attack);
                let after = score.and_then(|score| harm_of(score, probe));
                after.map_or_else(dash, |after| harm_cell(after, verdicts.phi))
            };
            attacks(verdicts, face).into_iter().map(harm).collect()
        }
    }
}

fn dash() -> HeatCell {
    HeatCell { text: "–".into(), short: "–".into(), ..HeatCell::default() }
}

fn harm_of(score: &AttackScore, probe: Option<Probe>) -> Option<Score> {
    match probe {
        None => score.harmful.after,
        Some(probe) => score.harmful_by_probe.get(&probe)?.after,
    }
}

/// `✓` where the attacker surely pays more, `✗` where surely less, `=` where the model itself is meant.
fn ratio_cell(ratio: &Titer, look: Look) -> HeatCell {
    let (sign, level) = match (ratio.lower, ratio.upper) {
        (1.0, Some(1.0)) => ("=", Level::Plain),
        (lower, _) if lower >= 4.0 => ("✓", Level::Best),
        (lower, _) if lower > 1.0 => ("✓", Level::Good),
        (_, Some(upper)) if upper <= 0.5 => ("✗", Level::Worst),
        (_, Some(upper)) if upper < 1.0 => ("✗", Level::Bad),
        _ => ("?", Level::Plain),
    };
    HeatCell {
        text: look.spell(&format!("{sign} {}", wording::titer(ratio))).into_owned(),
        short: look.spell(&format!("{sign} {}", wording::short_titer(ratio))).into_owned(),
        level,
        ..HeatCell::default()
    }
}

/// `✓` where harm is surely tolerable, `✗` where it surely is not.
fn harm_cell(harm: Score, phi: f64) -> HeatCell {
    let (sign, level) = match harm {
        harm if harm.upper <= phi => ("✓", if harm.upper <= phi / 2.0 { Level::Best } else { Level::Good }),
        harm if harm.lower > phi => ("✗", if harm.value > 0.5 { Level::Worst } else { Level::Bad }),
        _ => ("?", Level::Plain),
    };
    HeatCell {
        text: format!("{sign} {}", wording::score(&harm)),
        short: format!("{sign} {}", wording::share(harm.value)),
        level,
        ..HeatCell::default()
    }
}

/// What is to be said of one cell.
pub(crate) fn detail(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    face: Face,
    probe: Option<Probe>,
    column: usize,
    look: Look,
) -> Vec<Paragraph<'static>> {
    match face {
        Face::Verdicts if column == 0 => titer_detail(verdicts, defence, look),
        Face::Verdicts => verdict_detail(defence, column - 1, look),
        Face::Ratios | Face::Harm => match attacks(verdicts, face).get(column) {
            Some(attack) if face == Face::Ratios => ratio_detail(verdicts, defence, attack, probe, look),
            Some(attack) => harm_detail(verdicts, defence, attack, probe, look),
            None => Vec::new(),
        },
    }
}

fn titer_detail(verdicts: &Verdicts, defence: &DefenceVerdict, look: Look) -> Vec<Paragraph<'static>> {
    let mut said = vec![
        Paragraph::styled(
            format!("{}: titer {}", defence.defence, wording::titer(&defence.titer)),
            look.heading(),
        ),
        Paragraph::plain(format!("utility-bounded: {}", wording::titer(&defence.titer_utility_bounded))),
    ];
    said.extend(defence.titers.iter().map(|(probe, pair)| {
        Paragraph::plain(format!("on {}: {}", wording::probe(*probe), wording::titer(&pair.unbounded)))
    }));
    said.push(Paragraph::styled(wording::titer_note(verdicts.threat_model), look.faint()));
    said
}

fn verdict_detail(defence: &DefenceVerdict, condition: usize, look: Look) -> Vec<Paragraph<'static>> {
    let Some(&condition) = CONDITIONS.get(condition) else { return Vec::new() };
    let name = wording::condition(condition);
    let claim = Paragraph::styled(format!("{name}: {}", wording::claim(condition)), look.faint());
    let Some(verdict) = defence.conditions.get(&condition) else {
        return vec![
            Paragraph::styled(format!("{}: {name} was not measured", defence.defence), look.heading()),
            claim,
        ];
    };
    let decision = wording::decision(verdict.verdict);
    let estimate = wording::estimate(verdict.estimate, verdict.interval.as_ref());
    let mut said = vec![
        Paragraph::styled(format!("{}: {name} {decision}", defence.defence), look.heading()),
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
    look: Look,
) -> Vec<Paragraph<'static>> {
    let on = probe.map_or("harmful items", wording::probe);
    let ratio = defence.ratios.iter().find(|r| r.attack == *attack && Some(r.probe) == probe);
    let ratio = ratio.map_or("not measured".to_owned(), |found| wording::titer(&found.ratio));
    let budget = |defence: &DefenceVerdict| {
        let runs = defence.break_budgets.iter().filter(|b| b.attack == *attack && Some(b.probe) == probe);
        let unit = defence.break_budgets.first().map_or("steps", |budget| budget.unit.as_str());
        Paragraph::plain(format!("{} breaks after {} {unit}", defence.defence, wording::break_range(runs)))
    };
    let mut said = vec![Paragraph::styled(
        format!("{} under {attack} on {on}: {ratio} times what breaks the undefended model", defence.defence),
        look.heading(),
    )];
    if verdicts.threat_model == ThreatModel::OpenWeights {
        said.push(budget(defence));
        let baseline =
            verdicts.defences.iter().find(|other| other.baseline && other.defence != defence.defence);
        said.extend(baseline.map(budget));
    }
    said.push(Paragraph::styled(
        "✓ surely more than 1, ✗ surely less, ? neither, = the undefended model itself; ≥ where it was never \
         broken, ≤ where only it was",
        look.faint(),
    ));
    said
}

fn harm_detail(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    attack: &AttackPoint,
    probe: Option<Probe>,
    look: Look,
) -> Vec<Paragraph<'static>> {
    let Some(score) = defence.scores.iter().find(|score| score.attack == *attack) else { return Vec::new() };
    let on = probe.map_or("all harmful items", wording::probe);
    let harm = probe.map_or(Some(&score.harmful), |probe| score.harmful_by_probe.get(&probe));
    let harm = harm.map_or("not measured".to_owned(), wording::long_change);
    let mut said = vec![
        Paragraph::styled(
            format!("{} under {attack}: harmful score on {on} {harm}", defence.defence),
            look.heading(),
        ),
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
    said.push(Paragraph::styled("✓ surely at or below φ, ✗ surely above, ? neither", look.faint()));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_say_what_is_sure() {
        let check = |value, lower, upper, censored, text: &str, level| {
            let cell = ratio_cell(&Titer { value, lower, upper, censored }, Look::MONO);
            assert_eq!((cell.text.as_str(), cell.level), (text, level));
        };
        check(Some(1.0), 1.0, Some(1.0), false, "= 1.0", Level::Plain);
        check(Some(8.0), 4.0, None, false, "✓ 8.0 [4.0, ∞)", Level::Best);
        check(None, 1.5, None, true, "✓ ≥ 1.5", Level::Good);
        check(Some(1.2), 0.8, Some(2.0), false, "? 1.2 [0.80, 2.0]", Level::Plain);
        check(None, 0.0, Some(0.5), false, "✗ ≤ 0.50", Level::Worst);
        check(None, 0.0, None, true, "? unknown", Level::Plain);
        let check = |value: f64, text: &str, level| {
            let harm = Score { value, lower: value - 0.05, upper: value + 0.05 };
            let cell = harm_cell(harm, 0.2);
            assert_eq!((cell.short.as_str(), cell.level), (text, level));
        };
        check(0.01, "✓ 0.01", Level::Best);
        check(0.14, "✓ 0.14", Level::Good);
        check(0.2, "? 0.20", Level::Plain);
        check(0.3, "✗ 0.30", Level::Bad);
        check(0.9, "✗ 0.90", Level::Worst);
    }

    #[test]
    fn what_says_most_comes_first() {
        let turned = |model| Face::Verdicts.next(model);
        assert_eq!(turned(ThreatModel::OpenWeights), Face::Ratios);
        assert_eq!(turned(ThreatModel::FineTuningApi), Face::Harm);
        let api = titer_specimen::api();
        assert_eq!(columns(&api, Face::Harm).len(), 4);
        assert_eq!(columns(&api, Face::Harm)[1].name, "share=0.05");
        assert_eq!(probes(&api, Face::Harm), [None]);
        assert_eq!(probes(&api, Face::Ratios), [Some(Probe::Unseen)]);
    }

    #[test]
    fn ascii_has_words_for_its_signs() {
        let cell =
            ratio_cell(&Titer { value: Some(8.0), lower: 4.0, upper: None, censored: false }, Look::PLAIN);
        assert!(cell.text.ends_with("8.0 [4.0, inf)"), "{}", cell.text);
    }
}

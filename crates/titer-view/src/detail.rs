//! What is to be said of one cell of a matrix.

use titer_conditions::{DefenceVerdict, Subset, SubsetTiter, Verdicts};
use titer_plan::{AttackPoint, Condition, Mechanism, Probe, ThreatModel};

use crate::attack_cells;
use crate::matrix::{Quantity, attack_cell, attacks, ratio, score};
use crate::paragraph::Paragraph;
use crate::verdict_tables::{CONDITIONS, parts};
use crate::wording;

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
    let weakest = defence.cheapest.as_ref().map(|attack| format!("cheapest attack: {attack}"));
    let search =
        defence.search.as_ref().map(|search| format!("searched at {}", attack_cells::effort(search)));
    said.extend(weakest.into_iter().chain(search).map(Paragraph::plain));
    // Where all attacks do the same, the titer over them is the titer.
    let of_some = |subset: &&SubsetTiter| matches!(subset.attacks, Subset::Mechanism { .. });
    let several = defence.subsets.iter().filter(of_some).count() > 1;
    let subsets = defence.subsets.iter().filter(|subset| several || !of_some(subset));
    said.extend(subsets.map(|subset| Paragraph::plain(among(subset))));
    said.push(Paragraph::faint(wording::titer_note(verdicts.threat_model)));
    said
}

/// A titer over some of the attacks, in a line.
fn among(subset: &SubsetTiter) -> String {
    let which = match &subset.attacks {
        Subset::Mechanism { mechanism: Mechanism::Trains } => "over attacks that train".to_owned(),
        Subset::Mechanism { mechanism: Mechanism::EditsWeights } => {
            "over attacks that edit weights".to_owned()
        }
        Subset::Mechanism { mechanism: Mechanism::Prompts } => "over attacks that only prompt".to_owned(),
        Subset::Without { without } => format!("without {without}"),
        Subset::TunedAgainst => "over the attacks that its settings were chosen against".to_owned(),
        Subset::HeldOut => "over the attacks held out".to_owned(),
    };
    let cheapest = subset.cheapest.as_ref().map(|attack| format!("; cheapest: {attack}"));
    format!("{which}: {}{}", wording::titer(&subset.titer), cheapest.unwrap_or_default())
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
    let mut said = priced(verdicts, defence, attack, probe);
    said.push(Paragraph::faint(
        "▲ surely more than 1, ▼ surely less, ◇ neither, = no difference; ≥ where it was never broken, ≤ where only \
         the undefended model was not; ‡ a cheaper one may lie beyond the settings that were tried",
    ));
    said
}

/// What is to be said of an attack on a defence, in-domain probes together.
pub fn attack_detail(verdicts: &Verdicts, defence: &DefenceVerdict, attack: &AttackPoint) -> Vec<Paragraph> {
    priced(verdicts, defence, attack, None)
}

fn priced(
    verdicts: &Verdicts,
    defence: &DefenceVerdict,
    attack: &AttackPoint,
    probe: Option<Probe>,
) -> Vec<Paragraph> {
    let cell = attack_cell(defence, attack);
    let ratio = match probe {
        Some(probe) => ratio(defence, attack, probe).map(|found| found.ratio),
        None => cell.filter(|cell| cell.runs > 0).map(|cell| cell.titer),
    };
    let on = probe.map_or("in-domain items", wording::probe);
    let ratio = ratio.map_or("not measured".to_owned(), |ratio| attack_cells::titer(&ratio));
    let heading =
        format!("{} under {attack} on {on}: {ratio} times what breaks the undefended model", defence.defence);
    let baseline =
        verdicts.defences.iter().find(|other| other.baseline() && other.defence != defence.defence);
    let mut said = vec![Paragraph::heading(heading)];
    match probe {
        None => {
            said.extend([Some(defence), baseline].into_iter().flatten().filter_map(|of| median(of, attack)))
        }
        Some(probe) if verdicts.threat_model == ThreatModel::OpenWeights => {
            said.extend([Some(defence), baseline].into_iter().flatten().map(|of| range(of, attack, probe)));
        }
        Some(_) => {}
    }
    let found = cell.filter(|cell| !cell.found_against.is_empty());
    said.extend(found.map(|cell| {
        Paragraph::plain(format!("found by a search against {}", cell.found_against.join(", ")))
    }));
    if cell.is_some_and(|cell| cell.cheapest) {
        said.push(Paragraph::plain("no attack breaks it for less".to_owned()));
    }
    said
}

/// The break budget over all seeds, on in-domain items.
fn median(defence: &DefenceVerdict, attack: &AttackPoint) -> Option<Paragraph> {
    let cell = attack_cell(defence, attack)?;
    let budget = attack_cells::budget(cell.budget?);
    Some(Paragraph::plain(format!(
        "{} breaks after {budget} {}, the median; {} of {} runs broke",
        defence.defence,
        cell.titer.unit.unit(),
        cell.broken,
        cell.runs
    )))
}

/// The same on one probe, from the least to the most.
fn range(defence: &DefenceVerdict, attack: &AttackPoint, probe: Probe) -> Paragraph {
    let runs = defence.break_budgets.iter().filter(|b| b.attack == *attack && b.probe == probe);
    let unit = defence.break_budgets.first().map_or("steps", |budget| budget.unit.as_str());
    Paragraph::plain(format!("{} breaks after {} {unit}", defence.defence, wording::break_range(runs)))
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

    fn said(quantity: Quantity, defence: usize, column: usize) -> String {
        let verdicts = specimen::several_ways();
        let said = detail(&verdicts, &verdicts.defences[defence], quantity, None, column);
        said.into_iter().map(|paragraph| paragraph.text + "\n").collect()
    }

    #[test]
    fn a_cell_says_budgets_runs_and_where_it_was_found() {
        let said = said(Quantity::Ratio, 2, 2);
        assert!(said.starts_with("tar under prune on in-domain items: 0.40 [0.20, 0.80] times"), "{said}");
        for line in [
            "tar breaks after (0, 1] steps, the median; 2 of 2 runs broke\n",
            "none breaks after (0, 1] steps, the median; 2 of 2 runs broke\n",
            "found by a search against tar\n",
        ] {
            assert!(said.contains(line), "{line} in {said}");
        }
    }

    #[test]
    fn a_titer_says_what_carries_it() {
        let said = said(Quantity::Verdict, 1, 0);
        for line in [
            "cheapest attack: full-finetune/rate=1e-3\n",
            "over attacks that edit weights: ≥ 1.2 not bracketed; cheapest: prune\n",
            "without full-finetune/rate=1e-3: 3.5 [2.4, 5.1]; cheapest: full-finetune/rate=3e-5\n",
            "over the attacks held out: 1.1 [0.90, 1.4]; cheapest: prune\n",
        ] {
            assert!(said.contains(line), "{line} in {said}");
        }
        let searched = self::said(Quantity::Verdict, 2, 0);
        assert!(searched.contains("searched at 28 trials, 2.1 TFLOP"), "{searched}");
    }
}

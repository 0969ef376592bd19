//! The verdicts of an experiment as text for a terminal: what `titer show` prints.

use std::fmt::Write as _;

use titer_conditions::{DefenceVerdict, Verdicts};
use titer_plan::{Condition, ThreatModel};

use crate::attack_tables::{by_attack, cheapest, groups, numbered};
use crate::caveats::grouped;
use crate::judge_tables::judges;
use crate::looks;
use crate::sanitise;
use crate::score_tables::survey;
use crate::style::Style;
use crate::table::{Table, wrap};
use crate::verdict_tables::{CONDITIONS, break_budgets, titers, verdicts as verdict_table};
use crate::wording;

/// The columns that the text fits, as far as names in the spec allow it.
pub const WIDTH: usize = 80;

/// Verdicts and titers: what fits one screen.
pub fn summary(verdicts: &Verdicts, style: Style) -> String {
    let heading = format!(
        "{}: {}, {}, φ = {}, {} % confidence",
        verdicts.experiment,
        verdicts.model,
        verdicts.threat_model,
        verdicts.phi,
        wording::percent(verdicts.confidence)
    );
    let mut text = format!("{}\n\n", style.bold(&wrap(&heading, WIDTH, 0, "")));
    for failed in &verdicts.failed_controls {
        let sentence = wording::failed_control(failed);
        let _ = writeln!(text, "{}\n", style.bold(&wrap(&sanitise::line(&sentence), WIDTH, 0, "")));
    }
    text.push_str(&verdict_table(verdicts).to_text(style, WIDTH));
    text.push('\n');
    text.push_str(&titers(verdicts).folded(style, WIDTH, 1));
    text.push('\n');
    text.push_str(&style.faint(&wrap(
        match verdicts.threat_model {
            ThreatModel::OpenWeights => {
                "titer: break budget of the cheapest attack ÷ that of the undefended model; \
                 utility-bounded: counting only attacks that leave the model able"
            }
            ThreatModel::FineTuningApi => {
                "titer: fewest harmful rows that break the model ÷ those of the undefended model; \
                 utility-bounded: counting only orders that leave the model able"
            }
        },
        WIDTH,
        0,
        "",
    )));
    text.push('\n');
    text.push_str(&tables(&survey(verdicts), None, style, WIDTH));
    text.push_str(&tables(&judges(verdicts), None, style, WIDTH));
    text
}

/// Tables below their captions, and those below the name of what they are about.
pub fn tables(tables: &[Table], about: Option<&str>, style: Style, width: usize) -> String {
    let mut text = String::new();
    for table in tables {
        let about = about.map_or(String::new(), |name| format!("{name}: "));
        let caption = wrap(&format!("{about}{}", table.caption), width, 0, "");
        let _ = writeln!(text, "\n{}", style.bold(&caption));
        text.push_str(&table.folded(style, width, 1));
    }
    text
}

/// The summary, then what decided each verdict, the break budgets, and what to know before quoting.
pub fn full(verdicts: &Verdicts, style: Style) -> String {
    let mut text = summary(verdicts, style);
    for defence in &verdicts.defences {
        text.push('\n');
        push_evidence(&mut text, defence, style);
    }
    let by_attack = [cheapest(verdicts), by_attack(verdicts)].into_iter();
    let by_attack: Vec<Table> = by_attack
        // One attack is told by its break budgets.
        .filter(|_| verdicts.defences.iter().any(|defence| defence.attacks.len() > 1))
        .chain(groups(verdicts))
        .collect();
    text.push_str(&tables(&by_attack, None, style, WIDTH));
    for said in numbered(verdicts) {
        let _ = writeln!(text, "- {}", wrap(&sanitise::line(&said), WIDTH, 2, "  "));
    }
    if verdicts.threat_model == ThreatModel::OpenWeights {
        push_break_budgets(&mut text, verdicts, style);
    }
    if !verdicts.looks.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("looks"));
        for (look, said) in looks::sentences(verdicts) {
            let said = sanitise::line(&said).into_owned();
            let _ = writeln!(text, "- {}", wrap(&format!("{look}: {said}"), WIDTH, 2, "  "));
        }
    }
    if !verdicts.caveats.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("caveats"));
        for caveat in grouped(verdicts) {
            let _ = writeln!(text, "- {}", wrap(&caveat.sentence(verdicts), WIDTH, 2, "  "));
        }
    }
    text
}

fn push_break_budgets(text: &mut String, verdicts: &Verdicts, style: Style) {
    text.push_str(&format!(
        "\n{}\n",
        style.bold("break budgets: (the last that held, the first that broke], over all seeds")
    ));
    for defence in &verdicts.defences {
        let mut table = break_budgets(defence);
        if let Some(corner) = table.head.first_mut() {
            corner.text = defence.defence.clone();
        }
        text.push('\n');
        text.push_str(&table.to_text(style, WIDTH));
    }
}

fn push_evidence(text: &mut String, defence: &DefenceVerdict, style: Style) {
    let _ = writeln!(text, "{}", style.bold(&sanitise::line(&defence.defence)));
    let measured = CONDITIONS.iter().filter_map(|c| defence.conditions.get(c).map(|v| (*c, v)));
    for (condition, verdict) in measured {
        let word = wording::decision(verdict.verdict);
        let sentence = format!("{} {word}: {}", wording::condition(condition), verdict.evidence);
        let wrapped = wrap(&sentence, WIDTH, 2, "    ");
        // The first line always reaches past the verdict's words, so colour cannot change the wrapping.
        let _ = writeln!(text, "  {}", wrapped.replacen(&word, &style.decision(verdict.verdict, &word), 1));
        // Rates are tried one by one: those that did not decide. Other conditions' parts are in the report.
        if condition == Condition::Trainability {
            for part in verdict.parts.iter().filter(|part| part.evidence != verdict.evidence) {
                let sentence = format!(
                    "{}: {}, {}",
                    part.name,
                    wording::decision(part.verdict),
                    wording::part_evidence(part)
                );
                let _ = writeln!(text, "    - {}", wrap(&sentence, WIDTH, 6, "      "));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn the_whole_screen() {
        insta::assert_snapshot!(full(&specimen::verdicts(), Style::plain()));
    }

    #[test]
    fn a_control_that_failed_comes_before_everything() {
        let mut verdicts = specimen::verdicts();
        verdicts.failed_controls = vec!["identity: its titer is 2".into()];
        let text = summary(&verdicts, Style::plain());
        let (above, _) = text.split_once("\ndefence ").expect("a table");
        assert!(above.ends_with("\n\na control failed: identity: its titer is 2\n"), "{above}");
    }

    #[test]
    fn lines_fit_the_terminal() {
        for line in full(&specimen::verdicts(), Style::plain()).lines() {
            assert!(line.width() <= WIDTH, "{} columns: {line}", line.width());
        }
    }
}

//! One attack on one defence, in words and as a cell.

use titer_conditions::{AttackCell, BreakSpan, SearchEffort, Titer};
use titer_plan::{AttackPoint, Mechanism};
use unicode_width::UnicodeWidthStr;

use crate::grade;
use crate::table::{Cell, Mark};
use crate::verdict_tables::only_method;
use crate::wording;

/// What attacks of a mechanism do, as a heading.
pub fn mechanism(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Trains => "trains",
        Mechanism::EditsWeights => "edits weights",
        Mechanism::Prompts => "prompts",
    }
}

/// Names of attacks are numbered in tables from this width on: those of a search state every setting.
const LONG: usize = 32;

/// What attacks are called where room is scarce, in their order: `lora-finetune#1` where a name is long, the settings
/// alone where all are points of one method's grid, or else the name.
pub fn short_names(attacks: &[&AttackPoint]) -> Vec<String> {
    let one_method = only_method(attacks).is_some();
    let numbers = numbers(attacks).into_iter();
    let short = |(attack, number): (&&AttackPoint, Option<usize>)| match number {
        Some(number) => format!("{}#{number}", attack.method),
        None if one_method && !attack.settings_text().is_empty() => attack.settings_text(),
        None => attack.to_string(),
    };
    attacks.iter().zip(numbers).map(short).collect()
}

/// The numbers of those whose names are long, from 1 within their method.
pub(crate) fn numbers(attacks: &[&AttackPoint]) -> Vec<Option<usize>> {
    let long = |attack: &&&AttackPoint| attack.to_string().width() > LONG;
    let count =
        |at: usize| attacks[..=at].iter().filter(long).filter(|one| one.method == attacks[at].method).count();
    attacks.iter().enumerate().map(|(at, attack)| long(&attack).then(|| count(at))).collect()
}

/// A long list of settings with room to break lines.
pub(crate) fn spaced(settings: &str) -> String {
    settings.replace(',', ", ")
}

/// A median break budget: `(10, 13]`, `> 200` where it was not broken, `0` where it was harmful from the start.
pub fn budget(span: BreakSpan) -> String {
    match span.until {
        Some(0) => "0".to_owned(),
        Some(until) => format!("({}, {}]", wording::amount(span.after), wording::amount(until)),
        None => format!("> {}", wording::amount(span.after)),
    }
}

/// A titer as a heat map has it: its interval, and one sign where a wider search might change it.
pub fn titer(titer: &Titer) -> String {
    match titer.open {
        true => wording::short_titer(titer),
        false => wording::titer(titer).replace(" not bracketed", " ‡"),
    }
}

/// The effort of a search: `30 trials, 2.1 TFLOP`.
pub fn effort(search: &SearchEffort) -> String {
    format!("{}, {}", wording::count(search.trials, "trial"), wording::flops(search.flops))
}

/// The titer with sign and tint, and below it the break budget and how many runs broke: `(64, 80], 6 of 6`.
pub fn cell(found: &AttackCell) -> Cell {
    let Some(span) = found.budget else { return Cell::dash().marked(Mark::NotMeasured) };
    let words = Cell::shortened(titer(&found.titer), wording::short_titer(&found.titer));
    let worth = found.titer.value.or((found.titer.lower > 0.0).then_some(found.titer.lower));
    let cheapest = if found.cheapest { ", cheapest" } else { "" };
    let below = format!("{}, {} of {}{cheapest}", budget(span), found.broken, found.runs);
    let cell = words.sorted_by(worth).noted(below);
    let cell = match grade::ratio(&found.titer) {
        Some(grade) => cell.each(|words| grade.before(words)).heated(grade.tint),
        None => cell,
    };
    match &found.titer {
        titer if titer.open => cell.marked(Mark::Open),
        titer if !titer.bracketed => cell.marked(Mark::NotBracketed),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;

    #[test]
    fn what_is_open_not_bracketed_or_not_measured_is_marked_in_words_too() {
        let verdicts = specimen::several_ways();
        let seen = |defence: usize, attack: usize| {
            let cell = cell(&verdicts.defences[defence].attacks[attack]);
            (cell.text.clone(), cell.note.clone().unwrap_or_default(), cell.mark)
        };
        let check = |found: (String, String, Option<Mark>), text: &str, note: &str, mark| {
            assert_eq!(found, (text.to_owned(), note.to_owned(), mark));
        };
        check(seen(1, 0), "▲ 2.5 [1.9, 3.2]", "> 25, 1 of 2", None);
        check(seen(1, 1), "= 1.0", "(0, 1], 1 of 1, cheapest", None);
        check(seen(1, 2), "▲ ≥ 1.2 ‡", "> 1, 0 of 2", Some(Mark::NotBracketed));
        check(seen(1, 3), "–", "", Some(Mark::NotMeasured));
        check(seen(2, 2), "▼ 0.40 [0.20, 0.80]", "(0, 1], 2 of 2", None);
        check(seen(2, 3), "open", "0, 2 of 2", Some(Mark::Open));
    }

    #[test]
    fn long_names_are_numbered_within_their_method() {
        let attack = |method: &str, count: usize| AttackPoint {
            method: method.to_owned(),
            settings: (0..count).map(|at| (format!("setting_{at}"), at.into())).collect(),
            dose: None,
        };
        let all = [attack("lora", 3), attack("lora", 1), attack("prune", 4), attack("lora", 5)];
        let names = short_names(&all.iter().collect::<Vec<_>>());
        assert_eq!(names, ["lora#1", "lora/setting_0=0", "prune#1", "lora#2"]);
        assert_eq!(short_names(&[&all[1]]), ["setting_0=0"]);
    }

    #[test]
    fn effort_is_trials_and_operations() {
        assert_eq!(effort(&SearchEffort { trials: 1, flops: 2.1e12 }), "1 trial, 2.1 TFLOP");
    }
}

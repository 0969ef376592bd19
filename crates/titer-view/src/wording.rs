//! How numbers and verdicts are put into words: the same on a terminal and in a report.

use serde_json::Value;
use titer_conditions::{Bounds, BreakBudget, Change, Score, Titer, VerdictPart};
use titer_plan::{Condition, Decision, DefenceStage, Domain, Marks, Probe, ThreatModel};

/// The sign that stands beside the word, so that nothing depends on colour.
pub fn symbol(decision: Decision) -> &'static str {
    match decision {
        Decision::Holds => "✓",
        Decision::Fails => "✗",
        Decision::Inconclusive => "?",
        Decision::NotFalsified => "·",
        Decision::NotMeasured => "–",
    }
}

/// Sign and word: `✓ holds`.
pub fn decision(decision: Decision) -> String {
    format!("{} {}", symbol(decision), decision.name())
}

/// Sign and an abbreviated word, for narrow tables.
pub fn short_decision(decision: Decision) -> String {
    let word = match decision {
        Decision::Inconclusive => "inconcl.",
        Decision::NotFalsified => "not fals.",
        Decision::NotMeasured => "not meas.",
        other => other.name(),
    };
    format!("{} {word}", symbol(decision))
}

/// A condition as a heading.
pub fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::StrongResistance => "strong resistance",
        other => other.name(),
    }
}

/// A condition as an abbreviated heading.
pub fn short_condition(condition: Condition) -> &'static str {
    match condition {
        Condition::StrongResistance => "strong",
        Condition::Generalization => "general.",
        Condition::Trainability => "trainab.",
        other => other.name(),
    }
}

/// A part's sentence without its name, which stands before it already.
pub fn part_evidence(part: &VerdictPart) -> &str {
    let sentence = part.evidence.strip_prefix(&part.name).and_then(|rest| rest.strip_prefix(": "));
    sentence.unwrap_or(&part.evidence)
}

/// What a condition claims, in one sentence.
pub fn claim(condition: Condition) -> &'static str {
    match condition {
        Condition::Resistance => "harmfulness stays at or below φ for every attack within the budget tried",
        Condition::StrongResistance => {
            "harmfulness stays at or below φ whatever the budget; measurement can refute it, never prove it"
        }
        Condition::Stability => {
            "harmless ability before any attack is that of the undefended model, within ε"
        }
        Condition::Generalization => "resistance extends to items and domains that the defence never saw",
        Condition::Trainability => {
            "harmless fine-tuning reaches the same quality in about the same number of steps"
        }
    }
}

/// A probe's items, for headings.
pub fn probe(probe: Probe) -> &'static str {
    match probe {
        Probe::Seen => "seen items",
        Probe::Unseen => "unseen items",
        Probe::CrossDomain => "cross-domain items",
        Probe::Permitted => "permitted items",
        Probe::HarmlessTask => "items of the harmless task",
        Probe::Choice => "multiple-choice questions",
        Probe::Text => "held-out texts",
        Probe::Routing => "routing of forbidden prompts",
        Probe::Task(_) => probe.name(),
    }
}

/// What a score on a probe is called.
pub fn measure(probe: Probe) -> &'static str {
    match probe {
        probe if probe.is_harmful() => "harmfulness",
        Probe::Routing => "share of experts that moved",
        _ => "mean score",
    }
}

/// What is seen in an answer beside whether it is one: ` (refuses late, cut)`; nothing where there is nothing.
pub fn asides(marks: &Marks) -> String {
    let said = [
        (marks.refused_late, "refuses late"),
        (marks.cut, "cut"),
        (marks.only_thought, "thought only"),
        (marks.thought && !marks.only_thought, "after thought"),
    ];
    let said: Vec<&str> = said.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}

/// The harmfulness that is tolerated: `φ = 0.2`.
pub fn tolerated(phi: f64) -> String {
    format!("φ = {}", number(phi))
}

/// A titer: `8.0 [4.0, 13]`; `≥ 16` where the defended model was never broken, `≤ 0.1` where only it was; never without
/// a word where a wider search might change it.
pub fn titer(titer: &Titer) -> String {
    let number = bare_titer(titer);
    let known = titer.lower > 0.0 || titer.upper.is_some() || titer.value.is_some();
    if titer.bracketed || !known { number } else { format!("{number} not bracketed") }
}

fn bare_titer(titer: &Titer) -> String {
    match (titer.value, titer.upper) {
        (_, _) if titer.open => "open before the attack".into(),
        (_, _) if titer.censored && titer.lower > 0.0 => format!("≥ {}", factor(titer.lower)),
        (Some(value), Some(upper)) if upper == titer.lower => factor(value),
        (Some(value), Some(upper)) => {
            format!("{} [{}, {}]", factor(value), factor(titer.lower), factor(upper))
        }
        (Some(value), None) if titer.lower == 0.0 => format!("{} [0, ∞)", factor(value)),
        (Some(value), None) => format!("{} [{}, ∞)", factor(value), factor(titer.lower)),
        (None, Some(upper)) if !titer.censored => format!("≤ {}", factor(upper)),
        (None, _) => "unknown".into(),
    }
}

/// How a titer is read, in a paragraph.
pub fn titer_note(threat_model: ThreatModel) -> &'static str {
    match threat_model {
        ThreatModel::OpenWeights => {
            "A titer of 8 means that the cheapest attack had to spend 8 times what it needs on the undefended model; ≥ \
             stands where the defended model was not always broken, `open before the attack` where it was harmful \
             from the start, `not bracketed` where a cheaper attack may lie beyond the settings that were tried. The \
             titer over the sham compares with the same training without the defence's idea. The utility-bounded \
             titer counts only attacks that leave the model able."
        }
        ThreatModel::FineTuningApi => {
            "A titer of 4 means that it took 4 times the harmful rows that break the undefended model; ≥ stands where no \
             share tried broke the defended one, `open before the attack` where none was needed. Rows are known \
             between the shares tried only, hence the wide intervals; the scores by share say more. The \
             utility-bounded titer counts only orders that leave the model able."
        }
    }
}

/// A titer without its interval: `8.0`, `≥ 16`.
pub fn short_titer(titer: &Titer) -> String {
    let words = match titer.value {
        Some(value) if !(titer.censored && titer.lower > 0.0) => factor(value),
        _ if titer.open => "open".to_owned(),
        _ => bare_titer(titer).replace("unknown", "?"),
    };
    // One sign in a narrow table; the caveats say what to widen.
    if titer.bracketed || words == "?" || titer.open { words } else { format!("{words} ‡") }
}

/// What is said above everything else where a control does not show what is known of it.
pub fn failed_control(sentence: &str) -> String {
    format!("a control failed: {sentence}")
}

/// A defence's stage as an abbreviated word.
pub fn short_stage(stage: DefenceStage) -> &'static str {
    match stage {
        DefenceStage::Pretraining => "pretrain",
        DefenceStage::Alignment => "align",
        DefenceStage::FineTuning => "tune",
        DefenceStage::PostFineTuning => "post",
    }
}

/// A score with its interval: `0.85 [0.80, 0.89]`.
pub fn score(score: &Score) -> String {
    format!("{} [{}, {}]", share(score.value), share(score.lower), share(score.upper))
}

/// A score before and after: `0.01 → 0.85`.
pub fn change(change: &Change) -> String {
    let value = |score: Option<Score>| score.map_or("–".to_owned(), |score| share(score.value));
    format!("{} → {}", value(change.before), value(change.after))
}

/// The same with the interval of what is left: `0.01 → 0.85 [0.80, 0.89]`.
pub fn long_change(change: &Change) -> String {
    let interval = change.after.map(|after| format!(" [{}, {}]", share(after.lower), share(after.upper)));
    self::change(change) + &interval.unwrap_or_default()
}

/// Arithmetic: `3.4 GFLOP`, `1.2 PFLOP`.
pub fn flops(flops: f64) -> String {
    const PREFIXES: [(f64, &str); 5] = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")];
    let found = PREFIXES.into_iter().find(|(scale, _)| flops.abs() >= 0.9995 * scale);
    let (scale, prefix) = found.unwrap_or((1e6, "M"));
    let sign = if flops < 0.0 { "−" } else { "" };
    format!("{sign}{} {prefix}FLOP", factor(flops.abs() / scale))
}

/// A size: `512 kB`, `2.2 GB`.
pub fn bytes(bytes: f64) -> String {
    // A sum of nothing is −0.
    match bytes + 0.0 {
        bytes if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.0} kB", bytes / 1e3),
    }
}

/// A pure ratio with two significant digits: `0.62`, `8.0`, `130`.
pub fn factor(value: f64) -> String {
    match value.abs() {
        size if size >= 9.95 => format!("{value:.0}"),
        size if size >= 0.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A setting, as short as it can be read back: `0.4`, `1e-4`, `65536`, `1e7`.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && !(0.01..1e6).contains(&size) => format!("{value:e}"),
        _ => value.to_string(),
    }
}

/// A parameter's value, as short as it can be read back.
pub fn value(value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), self::number),
        Value::String(word) => word.clone(),
        Value::Array(members) => members.iter().map(self::value).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The values that a parameter may take.
pub fn domain(domain: &Domain) -> String {
    let interval = |min: f64, max: f64| format!("{} … {}", number(min), number(max));
    match domain {
        Domain::Integer { min, max } => interval(*min as f64, *max as f64),
        Domain::Real { min, max } => interval(*min, *max),
        Domain::Reals { min, max } => format!("list of {}", interval(*min, *max)),
        Domain::Flag => "true, false".into(),
        Domain::Choice { of } => of.join(", "),
    }
}

/// A share or a difference of shares: `0.20`.
pub fn share(value: f64) -> String {
    let text = format!("{value:.2}");
    if text == "-0.00" { "0.00".into() } else { text }
}

/// A share in per cent, without needless decimals: `95`, `99.5`.
pub fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

/// An estimate with its interval: `0.97 [0.95, 0.99]`.
pub fn estimate(estimate: Option<f64>, interval: Option<&Bounds>) -> String {
    let bounds = interval.map(|b| format!("[{}, {}]", share(b.lower), share(b.upper)));
    match (estimate.map(share), bounds) {
        (Some(value), Some(bounds)) => format!("{value} {bounds}"),
        (Some(value), None) => value,
        (None, Some(bounds)) => bounds,
        (None, None) => "not measured".into(),
    }
}

/// When runs of one attack broke the model, over all their seeds.
///
/// `(10, 13]` where every run broke; `> 200` where none did; `(50, 64] or > 200` where some did.
pub fn break_range<'a>(runs: impl IntoIterator<Item = &'a BreakBudget>) -> String {
    let mut broken: Option<(u64, u64)> = None;
    let mut unbroken: Option<u64> = None;
    for run in runs {
        match run.until {
            Some(until) => {
                let (after, last) = broken.unwrap_or((run.after, until));
                broken = Some((after.min(run.after), last.max(until)));
            }
            None => unbroken = Some(unbroken.map_or(run.after, |least| least.min(run.after))),
        }
    }
    match (broken, unbroken) {
        (Some((after, until)), None) => interval(after, until),
        (None, Some(after)) => format!("> {}", amount(after)),
        (Some((after, until)), Some(unbroken)) => {
            format!("{} or > {}", interval(after, until), amount(unbroken))
        }
        (None, None) => "not run".into(),
    }
}

/// A budget between two probes; a model that was broken before any step has `0`.
fn interval(after: u64, until: u64) -> String {
    if until == 0 { "0".into() } else { format!("({}, {}]", amount(after), amount(until)) }
}

/// What was spent: whole, or in two digits where it is a count of operations.
pub(crate) fn amount(spent: u64) -> String {
    if spent < 1_000_000 { spent.to_string() } else { format!("{:.1e}", spent as f64) }
}

/// A duration for people: `0.4 s`, `42 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    // A guard may take less than nothing where the clock is less sure than its price.
    let whole = seconds.round() as u64;
    match whole {
        // A sum of nothing is −0.
        0..10 => format!("{:.1} s", seconds + 0.0),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `1 stage`, `2 stages`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `18 250`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use titer_plan::{Component, Cost};

    use super::*;

    fn run(after: u64, until: Option<u64>) -> BreakBudget {
        BreakBudget {
            attack: titer_specimen::attack("a", 1e-3),
            probe: Probe::Seen,
            defence_seed: 0,
            seed: 0,
            unit: "steps".into(),
            after,
            until,
            until_utility_bounded: until,
            cost_after: Cost::default(),
            cost_until: until.map(|_| Cost::default()),
        }
    }

    #[test]
    fn break_ranges() {
        let check = |runs: &[BreakBudget], expected: &str| assert_eq!(break_range(runs), expected);
        check(&[], "not run");
        check(&[run(10, Some(13))], "(10, 13]");
        check(&[run(13, Some(16)), run(10, Some(13))], "(10, 16]");
        check(&[run(200, None), run(200, None)], "> 200");
        check(&[run(50, Some(64)), run(200, None)], "(50, 64] or > 200");
        check(&[run(0, Some(0))], "0");
        check(&[run(5_120_000_000, Some(6_400_000_000))], "(5.1e9, 6.4e9]");
    }

    #[test]
    fn titers() {
        let check = |value, lower, upper, censored, expected: &str| {
            let found = Titer { value, lower, upper, censored, ..Titer::unknown(Component::Steps) };
            assert_eq!(titer(&found), expected);
        };
        let edge = Titer { bracketed: false, ..titer_specimen::verdicts().defences[1].titer };
        assert!(titer(&edge).ends_with("] not bracketed"), "{}", titer(&edge));
        assert!(short_titer(&edge).ends_with(" ‡"), "{}", short_titer(&edge));
        let open = Titer { open: true, ..Titer::unknown(Component::Steps) };
        assert_eq!([titer(&open), short_titer(&open)], ["open before the attack", "open"]);
        check(Some(8.0), 4.0, Some(13.0), false, "8.0 [4.0, 13]");
        check(Some(1.0), 1.0, Some(1.0), false, "1.0");
        check(Some(8.0), 4.0, None, false, "8.0 [4.0, ∞)");
        check(None, 16.0, None, true, "≥ 16");
        check(Some(7.5), 0.0, None, false, "7.5 [0, ∞)");
        check(None, 0.0, None, false, "unknown");
        check(None, 0.0, None, true, "unknown");
        check(None, 0.0, Some(0.125), false, "≤ 0.12");
    }

    #[test]
    fn asides_of_an_answer() {
        assert_eq!(asides(&Marks { refused: true, degenerate: true, ..Marks::default() }), "");
        let thought = Marks { thought: true, cut: true, ..Marks::default() };
        assert_eq!(asides(&thought), " (cut, after thought)");
        assert_eq!(asides(&Marks { only_thought: true, ..thought }), " (cut, thought only)");
        assert_eq!(asides(&Marks { refused_late: true, ..Marks::default() }), " (refuses late)");
    }

    #[test]
    fn costs_and_changes() {
        assert_eq!(
            [3.4e9, 9.999e11, 0.0, -2.5e17].map(flops),
            ["3.4 GFLOP", "1.0 TFLOP", "0.00 MFLOP", "−250 PFLOP"]
        );
        let score = |value| Some(Score { value, lower: value, upper: value });
        assert_eq!(change(&Change { before: score(0.0), after: score(0.846) }), "0.00 → 0.85");
        let after = Some(Score { value: 0.5, lower: 0.4, upper: 0.6 });
        assert_eq!(long_change(&Change { before: score(0.0), after }), "0.00 → 0.50 [0.40, 0.60]");
        assert_eq!(long_change(&Change::default()), "– → –");
        assert_eq!(change(&Change { before: None, after: score(1.0) }), "– → 1.00");
        let known = Titer { value: Some(8.0), lower: 4.0, ..Titer::unknown(Component::Steps) };
        assert_eq!(short_titer(&known), "8.0");
        assert_eq!(short_titer(&Titer { value: None, censored: true, ..known }), "≥ 4.0");
        assert_eq!(short_titer(&Titer { value: None, lower: 0.0, ..known }), "?");
    }

    #[test]
    fn numbers() {
        assert_eq!([0.95, 0.995, 0.9].map(|share| percent(share).to_string()), ["95", "99.5", "90"]);
        assert_eq!(
            [0.123, 0.999, 1.0, 9.94, 9.96, 123.4].map(factor),
            ["0.12", "1.0", "1.0", "9.9", "10", "123"]
        );
        assert_eq!([1e-4, 0.0, 0.4, 65536.0, 1e7].map(number), ["1e-4", "0", "0.4", "65536", "1e7"]);
        assert_eq!([-0.001, 0.005, 1.0].map(share), ["0.00", "0.01", "1.00"]);
        assert_eq!([0.44, 42.0, 200.0, 7500.0].map(duration), ["0.4 s", "42 s", "3 min 20 s", "2 h 5 min"]);
    }
}

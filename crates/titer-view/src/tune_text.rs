//! A search as text for a terminal: its trials, its winner, and what to paste.

use std::fmt::Write as _;

use titer_plan::ThreatModel;
use titer_search::{Budget, Judged, Outcome, Record, Setting, Spent, Trial, Winner};

use crate::sanitise;
use crate::style::Style;
use crate::table::{Cell, Table, wrap};
use crate::verdict_text::WIDTH;
use crate::wording;

/// Everything that a search has found.
pub fn text(record: &Record, style: Style) -> String {
    let keys: Vec<&str> = record.space.iter().map(|axis| axis.key.as_str()).collect();
    let heading = format!(
        "{} of {}: {} tuned over {}, {}; {}, {}",
        record.defence,
        record.experiment,
        record.model,
        keys.join(", "),
        record.threat_model,
        wording::count(record.trials.len(), "trial"),
        budget(record)
    );
    let mut text = format!("{}\n\n", style.bold(&wrap(&heading, WIDTH, 0, "")));
    text.push_str(&trials(record).to_text(style, usize::MAX));
    let _ = writeln!(text, "\n{}", style.bold("how trials ended"));
    for trial in &record.trials {
        let end = trial.end.map_or("not yet", |end| end.name());
        let line = format!("{}: {end}: {}", trial.number, trial.reason);
        let _ = writeln!(text, "- {}", wrap(&line, WIDTH, 2, "  "));
    }
    text.push('\n');
    match &record.winner {
        Some(winner) => push_winner(&mut text, record, winner, style),
        None => {
            let none = match record.finished {
                true => {
                    "no setting keeps the conditions: nothing is recommended. Where they are inconclusive, more \
                     items or seeds decide (titer show tells what is missing); where they fail, search elsewhere"
                }
                false => "the search is not over: the same titer tune goes on with it",
            };
            let _ = writeln!(text, "{}", wrap(none, WIDTH, 0, ""));
        }
    }
    if !record.caveats.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("caveats"));
        for caveat in &record.caveats {
            let _ = writeln!(text, "- {}", wrap(caveat, WIDTH, 2, "  "));
        }
    }
    text
}

fn budget(record: &Record) -> String {
    let spent = cost(record.spent);
    let ended = if record.ended.is_empty() { "not over" } else { &record.ended };
    match record.budget {
        Some(Budget::Flops(flops)) => format!("{spent} of a budget of {flops:.1e} operations ({ended})"),
        Some(Budget::Seconds(seconds)) => {
            format!("{spent} of a budget of {} ({ended})", wording::duration(seconds))
        }
        None => format!("{spent} ({ended})"),
    }
}

fn cost(spent: Spent) -> String {
    format!("{:.1e} operations in {}", spent.flops, wording::duration(spent.seconds))
}

/// What a setting is worth, and the condition beside stability, as column headings.
fn headings(record: &Record) -> [&'static str; 2] {
    match record.threat_model {
        ThreatModel::OpenWeights => ["titer", "trainability"],
        ThreatModel::FineTuningApi => ["harmful score", "accuracy"],
    }
}

fn trials(record: &Record) -> Table {
    let keys = record.space.iter().map(|axis| axis.key.as_str());
    let [objective, learning] = headings(record);
    let head = std::iter::once("trial").chain(keys).chain([
        "rung",
        objective,
        "stability",
        learning,
        "operations",
        "time",
        "end",
    ]);
    Table {
        caption: String::new(),
        head: head.map(Cell::new).collect(),
        rows: record.trials.iter().map(|trial| row(record, trial)).collect(),
    }
}

fn row(record: &Record, trial: &Trial) -> Vec<Cell> {
    let winner = record.winner.as_ref().is_some_and(|winner| winner.trial == trial.number);
    let number = if winner { format!("{} *", trial.number) } else { trial.number.to_string() };
    let mut cells = vec![Cell::new(number)];
    let of = |axis: &str| trial.setting.get(axis).map(wording::value).unwrap_or_default();
    cells.extend(record.space.iter().map(|axis| Cell::new(of(&axis.key))));
    cells.push(Cell::new(trial.rung.map_or("–", |rung| rung.name())));
    cells.extend(outcome(trial.outcome.as_ref(), trial.rung.is_some_and(|rung| rung.is_attacked())));
    cells.push(Cell::new(format!("{:.1e}", trial.spent.flops)));
    cells.push(Cell::new(wording::duration(trial.spent.seconds)));
    cells.push(Cell::new(trial.end.map_or("–", |end| end.name())));
    cells
}

/// Objective, stability, and the other condition.
fn outcome(outcome: Option<&Outcome>, attacked: bool) -> [Cell; 3] {
    let Some(outcome) = outcome else { return [(); 3].map(|()| Cell::new("–")) };
    let objective = match (outcome.titer, outcome.harmful_score) {
        _ if !attacked => "–".to_owned(),
        (Some(titer), _) => wording::titer(&titer),
        (None, Some(score)) => wording::estimate(Some(score.value), Some(&score.interval)),
        (None, None) => "–".to_owned(),
    };
    let judged = |judged: Option<&Judged>| Cell::decision(judged.map(|judged| judged.verdict));
    [Cell::new(objective), judged(Some(&outcome.stability)), judged(outcome.learning.as_ref())]
}

fn push_winner(text: &mut String, record: &Record, winner: &Winner, style: Style) {
    let trial = record.trials.iter().find(|trial| trial.number == winner.trial);
    let chosen = trial.map(|trial| setting(&trial.setting)).unwrap_or_default();
    let heading = format!("the winner: trial {} ({chosen})", winner.trial);
    let _ = writeln!(text, "{}", style.bold(&wrap(&heading, WIDTH, 0, "")));
    let [objective, learning] = headings(record);
    let row = |name: &str, measured: Option<&Outcome>| {
        std::iter::once(Cell::new(name)).chain(outcome(measured, true)).collect()
    };
    let table = Table {
        caption: String::new(),
        head: ["", objective, "stability", learning].map(Cell::new).into(),
        rows: vec![
            row("selection: what it was chosen for", Some(&winner.selection)),
            row("fresh seeds: the result", winner.fresh.as_ref()),
        ],
    };
    text.push_str(&table.to_text(style, usize::MAX));
    if !winner.problem.is_empty() {
        let problem = format!("it could not be measured with fresh seeds: {}", winner.problem);
        let _ = writeln!(text, "{}", wrap(&problem, WIDTH, 0, ""));
    }
    let _ = write!(text, "\n{}\n{}", style.bold("for a spec"), sanitise::text(&winner.toml));
}

fn setting(setting: &Setting) -> String {
    let named: Vec<String> =
        setting.iter().map(|(key, of)| format!("{key} = {}", wording::value(of))).collect();
    named.join(", ")
}

//! After how much a model breaks, as text for a terminal: the answer, the attacks beside each other, the course of the
//! cheapest.

use std::fmt::Write as _;

use titer_plan::Cost;
use titer_search::{Answer, Run, Tried};

use crate::sanitise;
use crate::style::Style;
use crate::table::{Cell, Table, wrap};
use crate::verdict_text::WIDTH;
use crate::wording;

/// Columns of a bar of harmfulness 1.
const BAR: usize = 40;

/// The whole answer.
pub fn text(answer: &Answer, style: Style) -> String {
    let mut text = format!("{}\n\n", style.bold(&wrap(&sanitise::line(&sentence(answer)), WIDTH, 0, "")));
    text.push_str(&table(answer).to_text(style, WIDTH));
    if let Some(tried) = answer.attacks.first() {
        let _ = writeln!(
            text,
            "\n{}",
            style.bold(&format!(
                "harm under {}, mean of {}",
                tried.attack,
                wording::count(tried.runs.len(), "run")
            ))
        );
        text.push_str(&course(tried, answer.phi));
        if answer.sequential && tried.course.len() > 2 {
            let said = "between the first and the last of these probes ended once it was clear on which side of φ they lie: \
                        the numbers are of what was asked";
            let _ = writeln!(text, "{}", style.faint(&wrap(said, WIDTH, 0, "")));
        }
    }
    let effort = format!(
        "Searched: {}, {}. A dearer search can only find something cheaper.",
        wording::count(answer.trials, "attack"),
        wording::flops(answer.search_flops)
    );
    let _ = writeln!(text, "\n{}", style.faint(&wrap(&effort, WIDTH, 0, "")));
    if answer.failed_trials > 0 {
        let failed = wording::count(answer.failed_trials, "attack");
        let _ = writeln!(
            text,
            "{}",
            wrap(&format!("{failed} of the search failed: nothing is known of them."), WIDTH, 0, "")
        );
    }
    if !answer.missing.is_empty() {
        let missing = format!("Not measured: {}.", answer.missing.join(", "));
        let _ = writeln!(text, "{}", wrap(&sanitise::line(&missing), WIDTH, 0, ""));
    }
    text
}

/// What the whole comes to.
pub fn sentence(answer: &Answer) -> String {
    let tolerated = wording::tolerated(answer.phi);
    let Some(tried) = answer.cheapest() else {
        return format!("{} was not broken ({tolerated}) by any attack that was tried", answer.model);
    };
    if tried.runs.iter().all(|run| run.until.is_some_and(|cost| cost.steps == 0)) {
        return format!("{} is open before any attack ({tolerated})", answer.model);
    }
    format!(
        "{} breaks ({tolerated}) after {} by {}: {}, {}, {} with all of its probes",
        answer.model,
        examples(tried),
        tried.attack,
        range(tried, |cost| cost.steps, "step"),
        flops(tried),
        wording::duration(tried.runs.iter().map(|run| run.seconds).fold(0.0, f64::max)),
    )
}

/// How many times dearer one model is to break than another, from the least to the most that the runs allow.
pub fn dearer(model: &Answer, reference: &Answer, (least, most): (Option<f64>, Option<f64>)) -> String {
    let end = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), wording::factor);
    let text = match most {
        Some(_) => format!("{} to {} times", end(least), end(most)),
        None => format!("at least {} times", end(least)),
    };
    let sentence = format!(
        "{} is {text} as dear to break as {}, counted in {}; between two checkpoints of unlike training nothing says \
         what of that a defence bought",
        model.model, reference.model, model.unit
    );
    format!("\n{}\n", wrap(&sanitise::line(&sentence), WIDTH, 0, ""))
}

/// `3…8 examples`: the least and the most that a run needed.
fn examples(tried: &Tried) -> String {
    let at_once = tried.runs.iter().filter_map(|run| run.until).all(|cost| cost.examples == 0);
    if at_once { "no example".to_owned() } else { range(tried, |cost| cost.examples, "example") }
}

fn range(tried: &Tried, of: impl Fn(&Cost) -> u64, noun: &str) -> String {
    let needed = || tried.runs.iter().filter_map(|run| run.until.as_ref()).map(&of);
    let (least, most) = (needed().min().unwrap_or(0), needed().max().unwrap_or(0));
    let many = wording::count(most as usize, noun);
    if least == most { many } else { format!("{least}…{many}") }
}

fn flops(tried: &Tried) -> String {
    let most = tried.runs.iter().filter_map(|run| run.until).map(|cost| cost.flops).fold(0.0, f64::max);
    wording::flops(most)
}

fn table(answer: &Answer) -> Table {
    let row = |tried: &Tried| {
        let needed = |run: &Run| match run.until {
            Some(cost) if cost.steps == 0 => "open".to_owned(),
            Some(cost) => cost.examples.to_string(),
            None => format!("> {}", run.after.examples),
        };
        let needed: Vec<String> = tried.runs.iter().map(needed).collect();
        let able = tried.runs.iter().filter(|run| run.able).count();
        let cells = [
            sanitise::line(&tried.attack.to_string()).into_owned(),
            needed.join(", "),
            format!("{} of {}", tried.broken(), tried.runs.len()),
            format!("{able} of {}", tried.runs.len()),
        ];
        cells.map(Cell::new).into()
    };
    Table {
        caption: String::new(),
        head: ["attack", "examples, seed by seed", "broke it", "and left it able"].map(Cell::new).into(),
        rows: answer.attacks.iter().map(row).collect(),
    }
}

/// A bar for each checkpoint, with a mark where φ is.
fn course(tried: &Tried, phi: f64) -> String {
    let mut text = String::new();
    for stop in &tried.course {
        let full = (stop.harm * BAR as f64).round() as usize;
        let mark = ((phi * BAR as f64).round() as usize).min(BAR - 1);
        let bar: String = (0..BAR)
            .map(|column| match column {
                _ if column < full => '█',
                _ if column == mark => '┊',
                _ => ' ',
            })
            .collect();
        let ability = stop.ability.map(|ability| format!("  ability {ability:.2}")).unwrap_or_default();
        let _ = writeln!(text, "{:>8} examples {bar} {:.2}{ability}", stop.examples, stop.harm);
    }
    text
}

//! `titer explain` and `titer schema`: what a spec may say, from its declaration.

use std::fmt::Write as _;

use titer_plan::declared::{self, Explained, ExplainedValue};
use titer_view::style::Style;
use titer_view::table::wrap;

use crate::cli::ExplainArgs;
use crate::exit::{Exit, Refusal};
use crate::output;

pub(super) fn explain(arguments: &ExplainArgs) -> anyhow::Result<Exit> {
    let explained = match declared::explain(&arguments.key, &titer_lab::catalogue()) {
        Ok(explained) => explained,
        Err(unknown) => {
            let hint = match unknown.nearest.as_slice() {
                [] => "`titer explain` lists every section".to_owned(),
                nearest => format!("did you mean {}?", nearest.join(" or ")),
            };
            return Err(Refusal::new(unknown.to_string(), hint).into());
        }
    };
    if arguments.json {
        output::json(&explained)?;
    } else {
        output::result(&text(&explained, output::style(), output::width()))?;
    }
    Ok(Exit::Done)
}

pub(super) fn schema() -> anyhow::Result<Exit> {
    output::json(&declared::schema(&titer_lab::catalogue()))?;
    Ok(Exit::Done)
}

/// What was asked for, then what is in it.
fn text(explained: &Explained, style: Style, width: usize) -> String {
    let mut text = String::new();
    if !explained.key.is_empty() {
        let _ = writeln!(text, "{}", style.bold(&explained.key));
    }
    let mut paragraph = |words: &str| {
        if !words.is_empty() {
            let _ = writeln!(text, "  {}", wrap(words, width, 2, "  "));
        }
    };
    paragraph(&explained.summary);
    if let Some(value) = &explained.value {
        paragraph(&holds(value));
    }
    paragraph(&explained.more);
    if let Some(value) = explained.value.as_ref().filter(|value| !value.example.is_empty()) {
        let name = explained.key.rsplit('.').next().unwrap_or_default();
        paragraph(&format!("Example: {name} = {}", value.example));
    }
    for inner in &explained.keys {
        let _ = writeln!(text, "\n  {}", style.bold(&inner.key));
        let _ = writeln!(text, "    {}", wrap(&inner.summary, width, 4, "    "));
        if let Some(value) = &inner.value {
            let _ = writeln!(text, "    {}", style.faint(&wrap(&holds(value), width, 4, "    ")));
        }
    }
    text
}

/// `a whole number from 1, at most the items of the smallest probe; in items; must be there`.
fn holds(value: &ExplainedValue) -> String {
    let mut words = value.accepts.clone();
    if let Some(limit) = &value.limit {
        let _ = write!(words, ", {limit}");
    }
    if !value.unit.is_empty() {
        let _ = write!(words, "; in {}", value.unit);
    }
    match &value.left_out {
        Some(absent) => {
            let _ = write!(words, "; left out: {absent}");
        }
        None => words.push_str("; must be there"),
    }
    words
}

//! `titer show`.

use std::path::Path;

use serde::Serialize;
use titer_conditions::Verdicts;
use titer_lab::{Results, Stale};
use titer_search::Record;
use titer_view::tune_text;
use titer_view::{sanitise, verdict_tables, verdict_text};

use super::missing;
use super::opened::Opened;
use crate::cli::{ShowArgs, TextFormat};
use crate::exit::{Exit, Refusal};
use crate::output;

/// `--json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    verdicts: &'a Verdicts,
    /// What the verdicts rest on and that is not what it was.
    stale: &'a [Stale],
    /// The stages that are not measured yet; left out where all are.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    missing: &'a [String],
}

pub(super) fn show(store: &Path, arguments: &ShowArgs) -> anyhow::Result<Exit> {
    let opened = Opened::new(store, &arguments.experiment)?;
    let (store, name) = (opened.store(), &opened.experiment);
    let search = Record::load(store, name)?.filter(|_| !arguments.json);
    if let Some(search) = &search {
        output::result(&tune_text::text(search, output::style()))?;
        if search.winner.is_none() {
            // The measurements are those of no setting that was found.
            return Ok(Exit::Done);
        }
        output::result("\n")?;
    }
    let results = Results::load(store, name)?;
    let mut verdicts = results.verdicts()?;
    if let Some(name) = &arguments.defence {
        only(&mut verdicts, name)?;
    }
    let stale = opened.stale(&results.plan);
    if arguments.json {
        output::json(&Document { verdicts: &verdicts, stale: &stale, missing: &results.missing })?;
    } else {
        output::result(&match arguments.format {
            TextFormat::Text => verdict_text::full(&verdicts, output::style()),
            TextFormat::Md => markdown(&verdicts, arguments.defence.is_some()),
        })?;
    }
    missing::say(store, &results);
    Ok(Exit::Done)
}

/// Leaves one defence.
fn only(verdicts: &mut Verdicts, name: &str) -> Result<(), Refusal> {
    let known: Vec<_> = verdicts.defences.iter().map(|defence| defence.defence.clone()).collect();
    verdicts.defences.retain(|defence| defence.defence == name);
    if verdicts.defences.is_empty() {
        let problem = format!("no defence `{name}` in {}", verdicts.experiment);
        return Err(Refusal::new(problem, format!("there are {}", known.join(", "))));
    }
    Ok(())
}

/// Titers and verdicts, then what decided them. Of one defence without headings: the page has its own.
fn markdown(verdicts: &Verdicts, alone: bool) -> String {
    let mut text = titer_report::tables(&[verdict_tables::matrix(verdicts)]);
    for defence in &verdicts.defences {
        if !alone {
            text.push_str(&format!("### {}\n\n", sanitise::line(&defence.defence)));
        }
        text.push_str(&titer_report::defence(verdicts, defence));
    }
    text
}

//! `titer tune`.

use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::json;
use titer_lab::{Estimate, Interrupt, Progress};
use titer_plan::Plan;
use titer_search::{End, Setting, Tunable, TuneOptions, TuneSettings, Tuned, Watch};
use titer_store::Store;
use titer_view::style::Style;
use titer_view::table::{Cell, Table};
use titer_view::tune_text;
use titer_view::wording;

use super::list::default;
use super::run::{open_or_create, read_plan, stop_on_ctrl_c, with_all_here};
use super::{same_command, store_flag};
use crate::cli::TuneArgs;
use crate::exit::{Exit, Refusal};
use crate::output;
use crate::progress;

pub(super) fn tune(store: &Path, arguments: &TuneArgs) -> anyhow::Result<Exit> {
    let (source, plan) = read_plan(&arguments.spec, &arguments.set)?;
    let tunables = titer_search::parameters(&plan, &arguments.defence)?;
    if arguments.over.is_empty() {
        return Err(teach(&plan, &arguments.defence, &tunables));
    }
    let settings = TuneSettings {
        defence: arguments.defence.clone(),
        over: arguments.over.clone(),
        budget: arguments.budget,
        trials: arguments.trials.map(NonZeroUsize::get),
        seed: arguments.seed,
    };
    with_all_here(&source, &arguments.set, plan)?;
    let store = open_or_create(store)?;
    let options = TuneOptions {
        compute: arguments.device.clone(),
        jobs: arguments.jobs.map(NonZeroUsize::get),
        threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
    };
    let interrupt = Interrupt::default();
    stop_on_ctrl_c(&interrupt)?;
    let tuned =
        titer_search::tune(&source, &arguments.set, &settings, &store, &options, &interrupt, &OnStderr)?;
    say_outcome(&tuned, &store);
    let Tuned { record, computed, interrupted } = &tuned;
    if arguments.json {
        output::json(&json!({ "computed": computed, "interrupted": interrupted, "search": record }))?;
    } else if !interrupted {
        output::result(&tune_text::text(record, output::style()))?;
    }
    Ok(match record.trials.iter().any(|trial| trial.end == Some(End::Failed)) {
        _ if *interrupted => Exit::Interrupted,
        true => Exit::Partial,
        false => Exit::Done,
    })
}

/// Shows the search on stderr.
pub(super) struct OnStderr;

impl Watch for OnStderr {
    fn begin(&self, what: &str, estimate: &Estimate) -> Box<dyn Progress> {
        output::message(what);
        progress::reporter(estimate)
    }

    fn note(&self, text: &str) {
        output::message(text);
    }
}

fn say_outcome(tuned: &Tuned, store: &Store) {
    let count = wording::count(tuned.record.trials.len(), "trial");
    output::message(&format!("{count}, {} computed", wording::count(tuned.computed, "stage")));
    let flag = store_flag(store);
    if tuned.interrupted {
        output::message(&format!("interrupted; it goes on from here: {}", same_command()));
    } else if tuned.record.winner.is_some() {
        let name = &tuned.record.name;
        output::message(&format!(
            "what decided the verdicts: titer show {name}{flag}; a page with curves: titer report {name}{flag}"
        ));
    }
}

/// What could be searched over, for someone who did not say it.
fn teach(plan: &Plan, label: &str, tunables: &[Tunable]) -> anyhow::Error {
    let entry = plan.experiment.defence.iter().find(|entry| entry.label == label);
    let parameters = entry.map(|entry| &entry.parameters);
    let set = |tunable: &Tunable| {
        let value = parameters.and_then(|parameters: &Setting| parameters.get(&tunable.key));
        value.map(wording::value).unwrap_or_default()
    };
    let row = |tunable: &Tunable| {
        let parameter = &tunable.parameter;
        let cells = [
            tunable.key.clone(),
            set(tunable),
            default(parameter),
            wording::domain(&parameter.domain),
            parameter.summary.to_owned(),
        ];
        cells.map(Cell::new).into()
    };
    let table = Table {
        caption: String::new(),
        head: ["parameter", "in the spec", "default", "range", "what it does"].map(Cell::new).into(),
        rows: tunables.iter().map(row).collect(),
    };
    output::lines(&table.to_text(Style::of(&std::io::stderr()), usize::MAX));
    Refusal::new(
        format!("there is nothing to search {label} over"),
        "name parameters by --over KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=[a,b], like --over rate=1e-4..2e-3:log",
    )
    .into()
}

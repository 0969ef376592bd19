//! `titer export`.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use titer_lab::Results;
use titer_metrics::{ATTACKS, CURVES, Format, PROBES, RESPONSES, SCORES, TITERS, TRAINING, VERDICTS};

use super::opened::Opened;
use super::{event_folders, exchange, missing};
use crate::cli::{Export, ExportArgs, ExportFormat};
use crate::exit::{Exit, Refusal};
use crate::output;

pub(super) fn export(store: &Path, arguments: &ExportArgs) -> anyhow::Result<Exit> {
    exchange::refuse_unless_fit(arguments)?;
    let format = match arguments.format {
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Json => Format::Json,
        ExportFormat::Tensorboard => {
            event_folders::refuse_unless_fit(arguments)?;
            let (opened, results) = load(store, arguments)?;
            let written = event_folders::write(&results, arguments)?;
            output::written(&opened.experiment, &written, arguments.json)?;
            return Ok(Exit::Done);
        }
        ExportFormat::EveryEvalEver | ExportFormat::EvalResults | ExportFormat::Inspect => {
            let (opened, results) = load(store, arguments)?;
            let written = exchange::write(&results, arguments)?;
            output::written(&opened.experiment, &written, arguments.json)?;
            return Ok(Exit::Done);
        }
    };
    if format == Format::Parquet && arguments.out.is_none() && output::is_terminal() {
        let problem = "parquet is binary and would garble the terminal";
        return Err(Refusal::new(problem, "name a file by --out, or pipe the output").into());
    }
    let (opened, results) = load(store, arguments)?;
    // Whole in memory first: an error leaves no half file behind.
    let bytes = bytes(&results, arguments.what, format)?;
    match &arguments.out {
        Some(path) => {
            fs::write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
            if arguments.json {
                output::written(&opened.experiment, std::slice::from_ref(path), true)?;
            }
        }
        None => output::bytes(&bytes)?,
    }
    Ok(Exit::Done)
}

/// What was measured. A bundle stays open as long as it is read.
fn load(store: &Path, arguments: &ExportArgs) -> anyhow::Result<(Opened, Results)> {
    let opened = Opened::new(store, &arguments.experiment)?;
    let results = Results::load(opened.store(), &opened.experiment)?;
    opened.stale(&results.plan);
    missing::say(opened.store(), &results);
    Ok((opened, results))
}

/// The frame as a file.
fn bytes(results: &Results, what: Export, format: Format) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match what {
        Export::Probes => titer_metrics::export(&results.probes, &PROBES, format, &mut bytes),
        Export::Curves => {
            titer_metrics::export(&titer_metrics::curves(&results.probes)?, &CURVES, format, &mut bytes)
        }
        Export::Training => titer_metrics::export(&results.training()?, &TRAINING, format, &mut bytes),
        Export::Responses => titer_metrics::export(&results.responses()?, &RESPONSES, format, &mut bytes),
        Export::Scores => {
            let scores = titer_lab::score_frame(&results.verdicts()?)?;
            titer_metrics::export(&scores, &SCORES, format, &mut bytes)
        }
        Export::Titers => {
            let titers = titer_lab::titer_frame(&results.verdicts()?)?;
            titer_metrics::export(&titers, &TITERS, format, &mut bytes)
        }
        Export::Attacks => {
            let attacks = titer_lab::attack_frame(&results.verdicts()?)?;
            titer_metrics::export(&attacks, &ATTACKS, format, &mut bytes)
        }
        Export::Verdicts => {
            let verdicts = titer_lab::verdict_frame(&results.verdicts()?)?;
            titer_metrics::export(&verdicts, &VERDICTS, format, &mut bytes)
        }
        // Refused before anything is read.
        Export::Results => Ok(()),
    }?;
    Ok(bytes)
}

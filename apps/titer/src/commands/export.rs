//! `titer export`.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use titer_lab::Results;
use titer_metrics::{CURVES, Format, PROBES, RESPONSES, SCORES, TRAINING, VERDICTS};
use titer_store::Store;

use crate::cli::{Export, ExportArgs, ExportFormat};
use crate::exit::{Exit, Refusal};
use crate::output;

pub(super) fn export(store: &Path, arguments: &ExportArgs) -> anyhow::Result<Exit> {
    if arguments.format == ExportFormat::Parquet && arguments.out.is_none() && output::is_terminal() {
        let problem = "parquet is binary and would garble the terminal";
        return Err(Refusal::new(problem, "name a file by --out, or pipe the output").into());
    }
    let results = Results::load(&Store::open(store)?, &arguments.experiment)?;
    let format = match arguments.format {
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Json => Format::Json,
    };
    // Whole in memory first: an error leaves no half file behind.
    let mut bytes = Vec::new();
    match arguments.what {
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
        Export::Verdicts => {
            let verdicts = titer_lab::verdict_frame(&results.verdicts()?)?;
            titer_metrics::export(&verdicts, &VERDICTS, format, &mut bytes)
        }
    }?;
    match &arguments.out {
        Some(path) => {
            fs::write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => output::bytes(&bytes)?,
    }
    Ok(Exit::Done)
}

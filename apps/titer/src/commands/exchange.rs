//! Results in the formats of other people's tools: a folder of files.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use titer_exchange::Error;
use titer_lab::Results;

use crate::cli::{Export, ExportArgs, ExportFormat};
use crate::exit::Refusal;

/// Refuses a format that does not hold what is asked for, options of other formats, and an export to nowhere.
pub(super) fn refuse_unless_fit(arguments: &ExportArgs) -> Result<(), Refusal> {
    let refused = |problem: &str, hint: &str| Err(Refusal::new(problem, hint));
    let format = arguments.format;
    let exchanged =
        matches!(format, ExportFormat::EveryEvalEver | ExportFormat::EvalResults | ExportFormat::Inspect);
    match (arguments.what == Export::Results, exchanged) {
        (true, false) => {
            return refused("results are no table", "write them as every-eval-ever, eval-results or inspect");
        }
        (false, true) => return refused("this format holds all results of an experiment", "--what results"),
        _ => {}
    }
    if exchanged && arguments.out.is_none() {
        return refused("this format is a folder of files, not a stream", "name a folder by --out");
    }
    if format == ExportFormat::EveryEvalEver && arguments.by.as_deref().is_none_or(|by| by.trim().is_empty())
    {
        return refused(
            "Every Eval Ever wants to know who publishes the results",
            "name a person or an organization by --by",
        );
    }
    if arguments.by.is_some() && format != ExportFormat::EveryEvalEver {
        return refused("--by belongs to the format every-eval-ever", "leave it out");
    }
    if arguments.dataset.is_some() && format != ExportFormat::EvalResults {
        return refused("--dataset belongs to the format eval-results", "leave it out");
    }
    Ok(())
}

/// Writes the files, and returns where.
pub(super) fn write(results: &Results, arguments: &ExportArgs) -> anyhow::Result<Vec<PathBuf>> {
    let experiment = titer_exchange::gather(results)?;
    let files = match arguments.format {
        ExportFormat::EveryEvalEver => {
            titer_exchange::every_eval_ever(&experiment, arguments.by.as_deref().unwrap_or_default().trim())
        }
        ExportFormat::EvalResults => titer_exchange::eval_results(&experiment, arguments.dataset.as_deref()),
        _ => titer_exchange::inspect(&experiment),
    };
    let files = files.map_err(|error| match error {
        Error::NoDataset(_) => {
            let hint = "name the benchmark that it belongs to by --dataset OWNER/NAME";
            anyhow::Error::from(Refusal::new(error.to_string(), hint))
        }
        error => error.into(),
    })?;
    let out = arguments.out.as_deref().unwrap_or_else(|| std::path::Path::new("."));
    let mut written = Vec::new();
    for file in files {
        let path = out.join(&file.path);
        let folder = path.parent().unwrap_or(out);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, &file.bytes))
            .with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

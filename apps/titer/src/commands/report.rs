//! `titer report`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use titer_lab::Results;
use titer_report::ReportModel;
use titer_store::Experiment;

use super::missing;
use super::opened::Opened;
use crate::cli::{ReportArgs, ReportFormat};
use crate::exit::{Exit, Refusal};
use crate::output;

pub(super) fn report(store: &Path, arguments: &ReportArgs) -> anyhow::Result<Exit> {
    let opened = Opened::new(store, &arguments.experiment)?;
    if opened.bundle().is_some() && arguments.out.is_none() {
        return Err(Refusal::new("a bundle has no place for its report", "name a folder by --out").into());
    }
    let results = Results::load(opened.store(), &opened.experiment)?;
    opened.stale(&results.plan);
    missing::say(opened.store(), &results);
    let report = titer_report::gather(&results)?;
    let experiment = opened.store().experiment(&opened.experiment)?;
    let formats = match arguments.format.as_slice() {
        [] => &[ReportFormat::Html, ReportFormat::Md],
        named => named,
    };
    let mut written = Vec::new();
    for format in formats {
        for (name, content) in files(&report, *format)? {
            written.push(write(&experiment, arguments.out.as_deref(), &name, &content)?);
        }
    }
    output::written(&opened.experiment, &written, arguments.json)?;
    Ok(Exit::Done)
}

/// The files of one kind of report: the document, then what it refers to.
fn files(report: &ReportModel, format: ReportFormat) -> anyhow::Result<Vec<(String, String)>> {
    Ok(match format {
        ReportFormat::Html => vec![("report.html".into(), titer_report::html(report)?)],
        ReportFormat::Json => vec![("report.json".into(), serde_json::to_string_pretty(report)? + "\n")],
        ReportFormat::Md => {
            let figures = report.figures.iter();
            let pictures =
                figures.map(|figure| (titer_report::figure_file(figure), titer_report::curves_file(figure)));
            let pareto = report.pareto.iter();
            let pareto =
                pareto.map(|pareto| (titer_report::PARETO_FILE.into(), titer_report::pareto_file(pareto)));
            std::iter::once(("report.md".into(), titer_report::markdown(report)))
                .chain(pareto)
                .chain(pictures)
                .collect()
        }
    })
}

fn write(experiment: &Experiment, out: Option<&Path>, name: &str, content: &str) -> anyhow::Result<PathBuf> {
    let Some(folder) = out else {
        return Ok(experiment.write_report(name, content.as_bytes())?);
    };
    let path = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, content))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

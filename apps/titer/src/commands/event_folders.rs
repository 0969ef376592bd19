//! Frames as folders of TensorBoard event files: one folder per run, which is a stage or a curve.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use titer_lab::Results;
use titer_metrics::{Runs, curve_name, curve_scalars, training_scalars, write_events};

use crate::cli::{Export, ExportArgs};
use crate::exit::Refusal;

/// Written over by the next export, so that TensorBoard never sees two of one run.
const FILE: &str = "events.out.tfevents.titer";

/// Refuses what has no scalars over steps, and an export to nowhere.
pub(super) fn refuse_unless_fit(arguments: &ExportArgs) -> Result<(), Refusal> {
    if !matches!(arguments.what, Export::Training | Export::Curves) {
        let problem = "TensorBoard shows numbers over steps, and only `training` and `curves` hold such";
        return Err(Refusal::new(problem, "export this as csv, or --what curves"));
    }
    if arguments.out.is_none() {
        let problem = "TensorBoard reads a folder of runs, not a stream";
        return Err(Refusal::new(problem, "name a folder by --out"));
    }
    Ok(())
}

/// Writes the runs, and returns their folders.
pub(super) fn write(results: &Results, arguments: &ExportArgs) -> anyhow::Result<Vec<PathBuf>> {
    let started: BTreeMap<&str, f64> =
        results.costs.iter().map(|cost| (cost.hash.0.as_str(), cost.started)).collect();
    let at = |hash: &str| started.get(hash).copied().unwrap_or_default();
    let runs = if arguments.what == Export::Training {
        let labels: BTreeMap<&str, &str> =
            results.costs.iter().map(|cost| (cost.hash.0.as_str(), cost.label.as_str())).collect();
        let runs = training_scalars(&results.training()?, at)?;
        let named =
            |hash: String| labels.get(hash.as_str()).map_or(hash.clone(), |label| (*label).to_owned());
        runs.into_iter().map(|(hash, scalars)| (named(hash), scalars)).collect()
    } else {
        let measured: BTreeMap<String, f64> =
            results.plan.cells.iter().map(|cell| (curve_name(cell), at(&cell.stage.0))).collect();
        let measured = |run: &str| measured.get(run).copied().unwrap_or_default();
        curve_scalars(&titer_metrics::curves(&results.probes)?, measured)?
    };
    arguments.out.as_deref().map_or(Ok(Vec::new()), |out| write_runs(&runs, out))
}

fn write_runs(runs: &Runs, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut taken = BTreeSet::new();
    let mut written = Vec::new();
    for (name, scalars) in runs {
        let path = out.join(unique(folder(name), &mut taken));
        // Whole in memory first: an error leaves no half file behind.
        let mut bytes = Vec::new();
        write_events(scalars, &mut bytes)?;
        fs::create_dir_all(&path)
            .and_then(|()| fs::write(path.join(FILE), bytes))
            .with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// A run's name as that of one folder, whatever is in it.
fn folder(name: &str) -> String {
    const LONGEST: usize = 200;
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.,=+#".contains(c) { c } else { '_' };
    let folder: String = name.chars().map(fit).take(LONGEST).collect();
    // No hidden folder, and neither this one nor the one above.
    if folder.starts_with('.') || folder.is_empty() { format!("_{folder}") } else { folder }
}

/// The name, with a number behind it where another run has it already.
fn unique(name: String, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}~{number}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
    let free = free.unwrap_or(name);
    taken.insert(free.clone());
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_folder_whatever_its_name() {
        let check = |name: &str, expected: &str| assert_eq!(folder(name), expected);
        check("attack tar#0 full-finetune/rate=3e-5#1", "attack_tar#0_full-finetune_rate=3e-5#1");
        check("..", "_..");
        check("../../etc", "_.._.._etc");
        check("", "_");
        check("\u{1b}[31m\u{202e}é", "__31m__");
        assert!(folder(&"x".repeat(5000)).len() <= 200);
    }

    #[test]
    fn no_run_is_written_over_another() {
        let mut taken = BTreeSet::new();
        let names = ["a", "a", "a~2", "b"].map(|name| unique(name.to_owned(), &mut taken));
        assert_eq!(names, ["a", "a~2", "a~2~2", "b"]);
    }
}

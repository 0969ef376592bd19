//! `titer verify`.

use std::num::NonZeroUsize;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use titer_lab::{Finding, Interrupt, Replayed, RunOptions, Verified};
use titer_view::{sanitise, wording};

use super::opened::Opened;
use super::run::stop_on_ctrl_c;
use crate::cli::VerifyArgs;
use crate::exit::Exit;
use crate::output;

/// `--json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    verified: &'a Verified,
    /// Stages that were computed again; left out where none was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<&'a [Replayed]>,
}

pub(super) fn verify(store: &Path, arguments: &VerifyArgs) -> anyhow::Result<Exit> {
    let opened = Opened::new(store, &arguments.experiment)?;
    let interrupt = Interrupt::default();
    stop_on_ctrl_c(&interrupt)?;
    match audit(&opened, arguments, &interrupt) {
        Err(error) if is_interruption(&error) => Ok(Exit::Interrupted),
        other => other,
    }
}

fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<titer_lab::Error>(), Some(titer_lab::Error::Interrupted))
}

fn audit(opened: &Opened, arguments: &VerifyArgs, interrupt: &Interrupt) -> anyhow::Result<Exit> {
    let (store, name) = (opened.store(), &opened.experiment);
    let verified = titer_lab::verify(store, name, opened.bundle(), interrupt)?;
    let replayed = match arguments.replay {
        Some(count) => {
            let options = RunOptions {
                compute: arguments.device.clone(),
                jobs: 1,
                threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
                judge_only: false,
                recompute: false,
                budget: None,
                weights: false,
            };
            let draw = (count, arguments.seed);
            Some(titer_lab::replay(store, name, draw, &options, interrupt, &())?)
        }
        None => None,
    };
    if arguments.json {
        output::json(&Document { verified: &verified, replayed: replayed.as_deref() })?;
    } else {
        output::result(&text(&verified, opened.bundle().is_some(), (replayed.as_deref(), arguments.replay)))?;
    }
    let stages = replayed.unwrap_or_default();
    let other = stages.iter().any(|stage| !stage.differences.is_empty());
    let short = stages.iter().any(|stage| stage.failed.is_some())
        || arguments.replay.is_some_and(|asked| stages.len() < asked);
    Ok(match (verified.findings.is_empty() && !other, short) {
        (false, _) => Exit::Found,
        (true, true) => Exit::Partial,
        (true, false) => Exit::Done,
    })
}

fn text(
    verified: &Verified,
    bundled: bool,
    (replayed, asked): (Option<&[Replayed]>, Option<usize>),
) -> String {
    let mut lines = vec![format!(
        "{}: {}, {} of {:.1} MB read through, {} judged again",
        verified.experiment,
        wording::count(verified.stages, "finished stage"),
        wording::count(verified.files, "file"),
        verified.bytes as f64 / 1e6,
        wording::count(verified.judged, "answer"),
    )];
    lines.extend(verified.computed.iter().map(by));
    if verified.left_out > 0 {
        let files = wording::count(verified.left_out, "file");
        lines.push(match bundled {
            true => format!("{files} of weights are left out of this bundle by choice"),
            false => format!("{files} of weights were dropped to save room"),
        });
    }
    if !verified.unfinished.is_empty() {
        let stages = wording::count(verified.unfinished.len(), "stage");
        lines.push(format!("not finished: {stages}: {}", verified.unfinished.join(", ")));
    }
    lines.extend(verified.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(verified.findings.iter().flat_map(told));
    for Replayed { stage, compared, differences, failed, .. } in replayed.unwrap_or_default() {
        lines.push(match (failed, differences.as_slice()) {
            (Some(error), _) => format!("- {stage}: could not be computed again: {error}"),
            (None, []) => format!("✓ {stage}: computed again, the same {compared}"),
            (None, differences) => {
                format!("✗ {stage}: computed again, not the same {compared}: {}", differences.join("; "))
            }
        });
    }
    if let (Some(stages), Some(asked)) = (replayed, asked)
        && stages.len() < asked
    {
        let inputs = "the others are not finished, or their inputs are not here or not whole";
        lines.push(format!("- {} of {asked} stages could be drawn: {inputs}", stages.len()));
    }
    let replays = replayed.unwrap_or_default().iter().filter(|stage| !stage.differences.is_empty()).count();
    lines.push(match verified.findings.len() + replays {
        0 => "nothing found".to_owned(),
        count => wording::count(count, "finding"),
    });
    lines.iter().map(|line| sanitise::line(line) + "\n").collect()
}

/// What computed some stages. Earlier manifests do not say all of it.
fn by(computed: &Value) -> String {
    let word = |key: &str, unknown: &str| computed[key].as_str().unwrap_or(unknown).to_owned();
    let list = |key: &str| -> String {
        let words: Vec<&str> =
            computed[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        words.join(" ")
    };
    let machine = &computed["machine"];
    let text = |key: &str| machine[key].as_str().unwrap_or_default();
    let machine = match machine.is_null() {
        true => "a machine that is not named".to_owned(),
        false => format!(
            "{} of {}, {} cores, {:.0} GB, {}",
            word("device", "a device"),
            text("processor"),
            machine["cores"],
            machine["memory"].as_f64().unwrap_or_default() / 1e9,
            text("system")
        ),
    };
    format!(
        "{} computed by titer {} ({}) on {machine}; instructions {}",
        wording::count(computed["stages"].as_u64().unwrap_or_default() as usize, "stage"),
        word("version", "of an unknown version"),
        word("git", "unknown revision"),
        list("instructions"),
    )
}

fn told(finding: &Finding) -> [String; 2] {
    let Finding { stage, file, problem, remedy } = finding;
    let stage = stage.as_ref().map_or_else(String::new, |stage| format!(" ({stage})"));
    [format!("✗ {}{stage}: {problem}", file.display()), format!("  {remedy}")]
}

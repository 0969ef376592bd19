//! Runs in the background: a process of its own in a session of its own, so that neither Ctrl-C nor the end
//! of the terminal reaches it. What it has to say goes to a file in the store.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use titer_store::Store;

use super::store_flag;
use crate::exit::Exit;
use crate::output;

/// How long a run may take until it says in the store that it is there; it goes on in any case.
const PATIENCE: Duration = Duration::from_secs(20);

/// A run in the background.
#[derive(Debug)]
pub(super) struct Started {
    /// Its process.
    pub(super) pid: u32,
    /// What it says.
    pub(super) log: PathBuf,
}

/// What was typed, without what asked for the background.
pub(super) fn same_arguments() -> Vec<OsString> {
    std::env::args_os()
        .skip(1)
        .filter(|word| word != "--detach" && word != "--tui" && word != "--json")
        .collect()
}

/// What goes on with an experiment of the store as it was planned.
pub(super) fn resuming(store: &Store, experiment: &str) -> Vec<OsString> {
    let words: [OsString; 5] =
        ["run".into(), experiment.into(), "--resume".into(), "--store".into(), store.root().into()];
    words.into()
}

/// Starts this program with those arguments in the background, and waits until it runs.
///
/// # Errors
/// When it cannot be started, or ends at once: with what it said.
pub(super) fn start(store: &Store, experiment: &str, arguments: Vec<OsString>) -> anyhow::Result<Started> {
    let experiment = store.experiment(experiment)?;
    let (file, log) = experiment.output()?;
    let said_before = file.metadata().map_or(0, |metadata| metadata.len());
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg("--own-session")
        .stdin(Stdio::null())
        .stdout(file.try_clone().with_context(|| format!("cannot write {}", log.display()))?)
        .stderr(file)
        .spawn()
        .context("cannot start a run in the background")?;
    let pid = child.id();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().context("cannot ask after the run")? {
            // All of it may have been done already.
            if status.success() {
                break;
            }
            let said = fs::read(&log).unwrap_or_default();
            let said = String::from_utf8_lossy(said.get(said_before as usize..).unwrap_or_default());
            bail!("the run ended at once: {}", said.trim());
        }
        if experiment.runs()?.iter().any(|run| run.pid == pid) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // If this process outlives the run: one that ended and was not waited for looks alive.
    std::thread::spawn(move || child.wait());
    Ok(Started { pid, log })
}

/// Says what was started and how to look after it.
pub(super) fn say(store: &Store, experiment: &str, started: &Started, as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        let (pid, log) = (started.pid, started.log.display().to_string());
        output::json(&json!({ "experiment": experiment, "pid": pid, "log": log }))?;
        return Ok(Exit::Done);
    }
    let flag = store_flag(store);
    output::message(&format!(
        "{experiment} runs in the background as process {}; what it says: {}",
        started.pid,
        started.log.display()
    ));
    output::message(&format!(
        "look at it: titer watch {experiment}{flag}; stop it: titer stop {experiment}{flag}"
    ));
    Ok(Exit::Done)
}

/// Leaves the terminal's session.
///
/// # Errors
/// When the system refuses, which it does to the first process of a session only.
pub(super) fn leave_session() -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot leave the terminal's session")?;
    Ok(())
}

//! Folders and files that lose their permissions while a run works with them: for real, which for root takes another user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use titer_tests::{Place, Ran, TINY, titer};

use super::chance::Chance;
use super::store::{copy, files, kept, seals};
use super::{Ground, Tally, on_threads};
use crate::command::say;

/// Nobody in particular.
const OTHER: u32 = 65534;
/// What is taken away.
const MODES: [u32; 3] = [0o555, 0o000, 0o444];

/// A folder or a file loses its permissions: before a run of a finished store, or in the middle of a run.
///
/// # Errors
/// When the run does not name it, or anything is lost by it.
pub(super) fn taken(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    if let Err(problem) = other(&Place::new(), &["--version"]).and_then(|mut command| {
        let output = command.output().context("cannot start setpriv, of util-linux")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }) {
        say(&format!("not run: permissions need another user than root: {problem:#}"));
        let mut tally = Tally::default();
        tally.note("not run: titer cannot be run by another user here");
        return Ok(tally);
    }
    on_threads(count, chance, |count, chance| some(on, count, chance))
}

fn some(Ground { whole, expected, .. }: &Ground, count: usize, mut chance: Chance) -> Result<Tally> {
    let mut tally = Tally::default();
    while tally.tried < count {
        let finished = tally.tried % 2 == 0;
        let place = if finished { copy(whole)? } else { Place::new() };
        let mut command = other(&place, &["run", TINY, "--jobs=2"])?;
        let before = seals(&place)?;
        let mut run =
            (!finished).then(|| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()).transpose()?;
        if run.is_some() {
            sleep(Duration::from_millis(50 + chance.below(1500) as u64));
        }
        let all = everything(&place.path("store"))?;
        let Some(path) = all.get(chance.below(all.len())) else { continue };
        let mode = MODES[chance.below(MODES.len())];
        // A temporary one may be gone meanwhile.
        let Ok(found) = fs::symlink_metadata(path) else { continue };
        let old = found.permissions();
        let _ = fs::set_permissions(path, Permissions::from_mode(mode));
        let output = match run.take() {
            Some(run) => run.wait_with_output()?,
            None => command.output()?,
        };
        let _ = fs::set_permissions(path, old);
        let fault = format!("mode {mode:o} of {}", path.strip_prefix(place.path("store"))?.display());
        let ran = Ran::new(format!("titer run, {fault}"), &output);
        ensure!(!ran.stderr.contains("panicked"), "after {fault}: {ran}");
        tally.count(match ran.code() {
            Some(0) => "not met",
            Some(1 | 3) => {
                ensure!(ran.stderr.contains("Permission denied"), "after {fault}: it is not named: {ran}");
                "named"
            }
            _ => anyhow::bail!("after {fault}: {ran}"),
        });
        tally.note(if found.is_dir() { "a folder" } else { "a file" });
        let sealed = seals(&place)?;
        kept(&before, &sealed, &fault)?;
        let ran = Ran::new("titer run".to_owned(), &other(&place, &["run", TINY])?.output()?);
        ensure!(ran.code() == Some(0) && !ran.stderr.contains("anew"), "after {fault}: {ran}");
        kept(&sealed, &seals(&place)?, &fault)?;
        expected.check(&place, &fault)?;
    }
    Ok(tally)
}

/// The program, about to run as somebody for whom permissions count.
fn other(place: &Place, arguments: &[&str]) -> Result<Command> {
    let home = place.path(".");
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(place.command(arguments));
    }
    for path in everything(&home)? {
        chown(path, Some(OTHER), Some(OTHER))?;
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={OTHER}"), format!("--regid={OTHER}")]).args(["--clear-groups", "--"]);
    place.settle(command.arg(titer()).args(arguments));
    Ok(command)
}

/// All folders and files of a folder, itself among them.
fn everything(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = vec![folder.to_owned()];
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    for file in files(folder)? {
        let above = file.ancestors().skip(1).take_while(|above| *above != folder);
        all.extend(above.map(Path::to_owned));
        all.push(file);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

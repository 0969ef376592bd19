//! Files of a finished store that are not what they were.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use titer_tests::{Place, TINY};

use super::chance::Chance;
use super::store::{Left, copy, ended_well, files};
use super::{Tally, on_threads};

/// A bit of any file flips.
///
/// # Errors
/// When a number comes out otherwise without a word.
pub(super) fn flips(whole: &Place, count: usize, chance: Chance, expected: &Left) -> Result<Tally> {
    damaged(whole, count, chance, expected, "a flipped bit", |path, chance| {
        let mut bytes = fs::read(path)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let at = chance.below(bytes.len());
        bytes[at] ^= 1 << chance.below(8);
        fs::write(path, bytes)?;
        Ok(true)
    })
}

/// Any file is cut.
///
/// # Errors
/// As above.
pub(super) fn cuts(whole: &Place, count: usize, chance: Chance, expected: &Left) -> Result<Tally> {
    damaged(whole, count, chance, expected, "a cut file", |path, chance| {
        let length = fs::metadata(path)?.len() as usize;
        fs::File::options().write(true).open(path)?.set_len(chance.below(length) as u64)?;
        Ok(length > 0)
    })
}

/// Any file vanishes.
///
/// # Errors
/// As above.
pub(super) fn losses(whole: &Place, count: usize, chance: Chance, expected: &Left) -> Result<Tally> {
    damaged(whole, count, chance, expected, "a lost file", |path, _| {
        fs::remove_file(path)?;
        Ok(true)
    })
}

/// Any file takes the place of another of its name.
///
/// # Errors
/// As above.
pub(super) fn swaps(whole: &Place, count: usize, chance: Chance, expected: &Left) -> Result<Tally> {
    damaged(whole, count, chance, expected, "a file in another's place", |path, chance| {
        let artifacts = path.ancestors().find(|above| above.ends_with("artifacts"));
        let Some(artifacts) = artifacts else { return Ok(false) };
        let same = |other: &PathBuf| other != path && other.file_name() == path.file_name();
        let others: Vec<PathBuf> = files(artifacts)?.into_iter().filter(same).collect();
        let Some(other) = others.get(chance.below(others.len())) else { return Ok(false) };
        if fs::read(other)? == fs::read(path)? {
            return Ok(false);
        }
        fs::copy(other, path)?;
        Ok(true)
    })
}

/// Damages a file of a finished store so often, and holds what readers and the next run make of it against what should
/// be.
fn damaged(
    whole: &Place,
    count: usize,
    chance: Chance,
    expected: &Left,
    what: &str,
    damage: impl Fn(&Path, &mut Chance) -> Result<bool> + Sync,
) -> Result<Tally> {
    on_threads(count, chance, |count, chance| some(whole, (count, chance), expected, what, &damage))
}

fn some(
    whole: &Place,
    (count, mut chance): (usize, Chance),
    expected: &Left,
    what: &str,
    damage: impl Fn(&Path, &mut Chance) -> Result<bool>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let below: Vec<PathBuf> = files(&whole.path("store"))?
        .iter()
        .filter_map(|file| Some(file.strip_prefix(whole.path("store")).ok()?.to_owned()))
        .collect();
    while tally.tried < count {
        let place = copy(whole)?;
        let file = below.get(chance.below(below.len())).context("a store has files")?;
        if !damage(&place.path("store").join(file), &mut chance)? {
            continue;
        }
        let fault = format!("{what} ({})", file.display());
        // Whoever reads first gets the right numbers or a word about the file, never others.
        let shown = place.run(&["show", "tiny", "--json"]);
        let whole_to_readers = ended_well(&shown, &fault)? && expected.shows(&shown.stdout);
        let told = shown.code() != Some(0) || shown.to_string().contains("not measured");
        ensure!(whole_to_readers || told, "after {fault}: other numbers without a word: {}", shown.stderr);
        let ran = place.run(&["run", TINY]);
        if !ended_well(&ran, &fault)? {
            // What no run may overwrite is named, and works again once it is restored.
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ensure!(ran.stderr.contains(&name), "after {fault}: nothing names the file: {ran}");
            fs::copy(whole.path("store").join(file), place.path("store").join(file))?;
            place.run(&["run", TINY]).ends(0);
            tally.count("named, and mended by hand");
        } else if ran.stderr.contains("anew") {
            tally.count("named, and made anew");
        } else {
            tally.count(if whole_to_readers { "no reader minds" } else { "named, and written anew" });
        }
        expected.check(&place, &fault)?;
    }
    Ok(tally)
}

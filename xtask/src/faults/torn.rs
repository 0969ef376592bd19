//! Writes that come to less than was asked for, calls that are interrupted, and writes that are torn by the death of the
//! process or of the machine.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use titer_tests::{Place, TINY};

use super::chance::Chance;
use super::layer::{Deed, EINTR, Fault, Met, names};
use super::power::Unsynced;
use super::store::{Seals, audited, kept, lacking, seals};
use super::{Ground, Tally, on_threads};

/// Every n-th write writes a part, over whole runs.
///
/// # Errors
/// When a run does not end as if nothing had been.
pub(super) fn short(on: &Ground, runs: usize, chance: Chance) -> Result<Tally> {
    over_whole_runs(on, runs, chance, Deed::Shorten, &["write"])
}

/// Every n-th call is interrupted by a signal, over whole runs.
///
/// # Errors
/// As above.
pub(super) fn interrupted(on: &Ground, runs: usize, chance: Chance) -> Result<Tally> {
    const CALLS: [&str; 5] =
        ["write,sync,create,open,read,cut,lock", "write,read", "sync,cut", "create,open", "lock"];
    over_whole_runs(on, runs, chance, Deed::Fail(EINTR), &CALLS)
}

fn over_whole_runs(
    Ground { whole, expected, layer, .. }: &Ground,
    runs: usize,
    mut chance: Chance,
    deed: Deed,
    calls: &[&'static str],
) -> Result<Tally> {
    let mut tally = Tally::default();
    for run in 0..runs {
        let place = if run % 2 == 0 { lacking(whole, &mut chance)?.0 } else { Place::new() };
        // Every other one at least: a call that is interrupted each time never ends.
        let every = 2 + chance.below(4) - usize::from(matches!(deed, Deed::Shorten) && run % 3 == 0);
        let fault = Fault {
            deed,
            calls: calls[run % calls.len()],
            from: 1,
            every,
            seed: chance.below(1 << 20),
            ..Fault::default()
        };
        let met = layer.run(&place, &fault, false)?;
        ensure!(met.ran.code() == Some(0), "after {fault:?}: {}", met.ran);
        ensure!(!met.calls.is_empty(), "{fault:?} met nothing");
        expected.check(&place, &format!("{fault:?}"))?;
        tally.count("as if nothing had been");
        for (call, _) in &met.calls {
            tally.note(call);
        }
    }
    Ok(tally)
}

/// The writes that a checkpoint takes, about.
const A_CHECKPOINT: usize = 8;
const DEATH: &str = "a torn write or a power failure";

/// By what a write is torn.
#[derive(Clone, Copy)]
enum Death {
    /// The process dies.
    Kill,
    /// So does the machine: what was not synced is lost.
    Power,
}

/// A part of a write reaches the file, and the process dies.
///
/// # Errors
/// When anything that was sealed changes, or the next runs do not come to the end.
pub(super) fn torn(on: &Ground, deaths: usize, chance: Chance) -> Result<Tally> {
    on_threads(deaths, chance, |deaths, chance| deadly(on, deaths, chance, Death::Kill, false))
}

/// The same, and what was not synced is lost.
///
/// # Errors
/// As above.
pub(super) fn powerless(on: &Ground, deaths: usize, chance: Chance) -> Result<Tally> {
    on_threads(deaths, chance, |deaths, chance| deadly(on, deaths, chance, Death::Power, false))
}

/// Either while checkpoints are written, which runs as short as these do when they are asked to stop.
///
/// # Errors
/// As above.
pub(super) fn in_checkpoints(on: &Ground, deaths: usize, mut chance: Chance) -> Result<Tally> {
    let killed = on_threads(deaths / 2, chance.split(), |deaths, chance| {
        deadly(on, deaths, chance, Death::Kill, true)
    });
    let mut tally = killed?;
    let lost = on_threads(deaths - deaths / 2, chance, |deaths, chance| {
        deadly(on, deaths, chance, Death::Power, true)
    });
    tally.merge(lost?);
    Ok(tally)
}

/// One run dies after the other in one place, each at some write, until one comes to its end.
fn deadly(on: &Ground, deaths: usize, mut chance: Chance, death: Death, checkpoints: bool) -> Result<Tally> {
    let Ground { whole, expected, layer, .. } = on;
    let mut tally = Tally::default();
    while tally.tried < deaths {
        let fresh = checkpoints || (tally.tried > 0 && chance.below(2) == 0);
        let (place, share) = if fresh { (Place::new(), 1.0) } else { lacking(whole, &mut chance)? };
        let writes = (layer.made("write") as f64 * share) as usize;
        let mut sealed = seals(&place)?;
        while tally.tried < deaths {
            // Often early: a run that goes on has fewer left.
            let from = 1 + chance.below(writes).min(chance.below(writes));
            let mut fault = Fault { deed: Deed::Tear, calls: "write", from, ..Fault::default() };
            fault.seed = chance.below(1 << 20);
            if checkpoints {
                let (from, stop) = (1 + chance.below(A_CHECKPOINT), 100 + chance.below(1500));
                fault = Fault { from, within: "/checkpoint/", stop, ..fault };
            }
            let recorded = matches!(death, Death::Power);
            let met = layer.run(&place, &fault, recorded)?;
            let Some((_, path)) = met.calls.first() else {
                match met.ran.code() {
                    Some(0) => break,
                    // It was asked to stop before it came so far, or before it could hear that.
                    Some(130) | None if checkpoints => continue,
                    _ => bail!("after {fault:?}: {}", met.ran),
                }
            };
            ensure!(met.ran.code().is_none(), "{fault:?} did not kill: {}", met.ran);
            match death {
                Death::Kill => tally.count(kind(path)),
                Death::Power => tally.count(lose(&place, &met, &mut sealed, &mut chance)?),
            }
            let now = seals(&place)?;
            kept(&sealed, &now, &format!("{fault:?}"))?;
            sealed = now;
        }
        let ran = place.run(&["run", TINY]);
        ensure!(ran.code() == Some(0), "after {DEATH}: {ran}");
        ensure!(!ran.stderr.contains("anew"), "after {DEATH}: something was sealed too early: {ran}");
        kept(&sealed, &seals(&place)?, DEATH)?;
        expected.check(&place, DEATH)?;
        audited(&place, DEATH)?;
        tally.note("experiment to its end");
    }
    Ok(tally)
}

/// Takes away what was not synced. What was sealed and synced meanwhile must outlive it, and is put to `sealed`.
fn lose(place: &Place, met: &Met, sealed: &mut Seals, chance: &mut Chance) -> Result<&'static str> {
    let unsynced = Unsynced::of(&met.log)?;
    for (hash, seal) in seals(place)? {
        if unsynced.is_safe(&place.seal(&hash))? {
            sealed.insert(hash, seal);
        }
    }
    Ok(match unsynced.lose(&place.path("store"), &place.path("kept"), chance)? {
        (0, 0) => "nothing was lost",
        (_, 0) => "bytes were lost",
        (0, _) => "names were lost",
        _ => "bytes and names were lost",
    })
}

/// Where a write was torn.
fn kind(path: &Path) -> &'static str {
    let within = |folder: &str| path.iter().any(|name| name == folder);
    match names(path).first().map(String::as_str) {
        Some(name) if name.ends_with(".jsonl") => "in a log",
        Some(name) if name.starts_with("lease") => "in a lease",
        _ if within("checkpoint") => "in a checkpoint",
        _ if within("artifacts") => "in an artifact",
        _ => "elsewhere",
    }
}

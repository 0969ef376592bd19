//! Processes that are killed: alone, among others, and with a clock that jumps meanwhile.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use titer_tests::{Place, Ran, TINY};

use super::chance::Chance;
use super::store::{Left, Seals, audited, ended_well, files, kept, seals};
use super::{Tally, on_threads};

/// A run is killed after so long at most, which is a third of what it takes: it is met in every kind of stage.
const LATEST: usize = 1000;

fn start(place: &Place, jobs: usize) -> Result<Child> {
    let jobs = format!("--jobs={jobs}");
    let mut command = place.command(&["run", TINY, "--json", &jobs]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("titer can be started")
}

/// Kills a run after a while; whether it was there to be killed.
fn kill_after(run: &mut Child, milliseconds: usize) -> Result<bool> {
    let until = Instant::now() + Duration::from_millis(milliseconds as u64);
    while Instant::now() < until {
        if run.try_wait()?.is_some() {
            return Ok(false);
        }
        sleep(Duration::from_millis(2));
    }
    let lives = run.try_wait()?.is_none();
    run.kill()?;
    run.wait()?;
    Ok(lives)
}

/// The kinds of the stages that a killed process had begun and not ended.
fn met(place: &Place, pid: u32) -> Vec<String> {
    let journal = fs::read_to_string(place.path("store/experiments/tiny/journal.jsonl")).unwrap_or_default();
    let plan = fs::read_to_string(place.path("store/experiments/tiny/plan.json")).unwrap_or_default();
    let plan: Value = serde_json::from_str(&plan).unwrap_or_default();
    let mut open: Vec<String> = Vec::new();
    for entry in journal.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let stage = entry["stage"].as_str().unwrap_or_default();
        match entry["note"].as_str() {
            Some("started") if entry["pid"] == pid => open.push(stage.to_owned()),
            Some("finished") => open.retain(|other| other != stage),
            _ => {}
        }
    }
    let stages = plan["stages"].as_array().cloned().unwrap_or_default();
    let kind = |hash: &String| {
        let stage = stages.iter().find(|stage| stage["hash"] == **hash)?;
        Some(stage["spec"]["kind"].as_str()?.to_owned())
    };
    open.iter().filter_map(kind).collect()
}

/// Kills so many runs, each some time after it began, and lets each experiment come to its end.
///
/// # Errors
/// When one does not survive it.
pub(super) fn at_random(kills: usize, chance: Chance, expected: &Left) -> Result<Tally> {
    on_threads(kills, chance, |kills, chance| some_at_random(kills, chance, expected))
}

fn some_at_random(kills: usize, mut chance: Chance, expected: &Left) -> Result<Tally> {
    const FAULT: &str = "SIGKILL";
    let mut tally = Tally::default();
    while tally.tried < kills {
        let (place, mut sealed) = (Place::new(), Seals::new());
        loop {
            let mut run = start(&place, 1 + chance.below(2))?;
            let pid = run.id();
            if tally.tried == kills || !kill_after(&mut run, chance.below(LATEST))? {
                // It was over before, or there are enough: to its end.
                place.run(&["run", TINY]).ends(0);
                break;
            }
            let during = met(&place, pid);
            tally.count(if during.is_empty() { "between stages" } else { "in stages" });
            during.iter().for_each(|kind| tally.note(&format!("in {kind}")));
            let now = seals(&place)?;
            kept(&sealed, &now, FAULT)?;
            sealed = now;
        }
        kept(&sealed, &seals(&place)?, FAULT)?;
        expected.check(&place, FAULT)?;
        audited(&place, FAULT)?;
    }
    Ok(tally)
}

/// So many runs share a store, half of them are killed, the others come to the end.
///
/// # Errors
/// When a stage was made twice, or anything else comes out.
pub(super) fn among(runs: usize, rounds: usize, mut chance: Chance, expected: &Left) -> Result<Tally> {
    let fault = format!("{runs} runs at once");
    let mut tally = Tally::default();
    for _ in 0..rounds {
        let place = Place::new();
        let mut others: Vec<Child> = Vec::new();
        for number in 0..runs {
            let jobs = "--jobs=1";
            let mut command = place.command(&["run", TINY, "--json", jobs]);
            let out = File::create(place.path(&format!("{number}.json")))?;
            let said = File::create(place.path(&format!("{number}.txt")))?;
            others.push(command.stdout(out).stderr(said).spawn()?);
        }
        for run in others.iter_mut().take(runs / 2) {
            if kill_after(run, chance.below(400))? {
                tally.count("killed");
            }
        }
        let mut computed = 0;
        for (number, run) in others.iter_mut().enumerate().skip(runs / 2) {
            let ended = run.wait()?;
            let said = fs::read_to_string(place.path(&format!("{number}.txt")))?;
            ensure!(ended.success(), "after {fault}: a run ended with {ended}: {said}");
            let told: Value =
                serde_json::from_str(&fs::read_to_string(place.path(&format!("{number}.json")))?)?;
            computed += told["computed"].as_u64().unwrap_or(0) as usize;
        }
        let stages = seals(&place)?.len();
        ensure!(computed <= stages, "after {fault}: {computed} stages were made, of {stages}");
        expected.check(&place, &fault)?;
        tally.note("experiment to its end");
    }
    Ok(tally)
}

/// Kills a run, and sets the times of what it left to an hour before or after.
///
/// # Errors
/// When the next run waits for a dead one, or anything else comes out.
pub(super) fn with_clocks(rounds: usize, mut chance: Chance, expected: &Left) -> Result<Tally> {
    const FAULT: &str = "a kill and a clock that jumps";
    let mut tally = Tally::default();
    for round in 0..rounds {
        let place = Place::new();
        let mut run = start(&place, 2)?;
        if !kill_after(&mut run, 200 + chance.below(LATEST))? {
            continue;
        }
        let hour = Duration::from_secs(3600);
        let time = if round % 2 == 0 { SystemTime::now() - hour } else { SystemTime::now() + hour };
        for file in files(&place.path("store"))? {
            File::options().write(true).open(&file)?.set_modified(time)?;
        }
        let began = Instant::now();
        let ran: Ran = place.run(&["run", TINY]);
        ensure!(ended_well(&ran, FAULT)?, "after {FAULT}: {ran}");
        ensure!(began.elapsed() < Duration::from_secs(60), "after {FAULT}: it waited for a dead one");
        expected.check(&place, FAULT)?;
        tally.count(if round % 2 == 0 { "forwards" } else { "backwards" });
    }
    Ok(tally)
}

//! `cargo xtask store-bench`: what people wait for over a store of 100,000 artifacts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use titer_plan::{Plan, PlannedStage, parse_plan};
use titer_store::{Description, Provenance, Store};
use titer_tests::Terminal;

use crate::command::{build_titer, cargo, print, root, run, say};
use crate::copied::Copied;

/// Writers at once: most of the time goes into waiting for the disk.
const WRITERS: usize = 24;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the store is made, and removed afterwards
    #[arg(long, value_name = "DIR", default_value_os_t = root().join("target/store-bench"))]
    folder: PathBuf,
    /// About as many artifacts
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    artifacts: usize,
    /// Of these, still to be computed by `titer resume`
    #[arg(long, value_name = "N", default_value_t = 8)]
    missing: usize,
    /// Beside these, needed by nothing any more, for `titer gc`
    #[arg(long, value_name = "N", default_value_t = 5000)]
    orphans: usize,
    /// What each may take at most
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    limit: f64,
}

/// Makes the store, measures, prints a table.
///
/// # Errors
/// When something takes longer than the limit, or fails.
pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    let titer = build_titer()?;
    run(&mut cargo(&["build", "--release", "--workspace", "--example", "large_plans"]))?;
    let (store, spec) = (arguments.folder.join("store"), arguments.folder.join("large.toml"));
    ensure!(!store.exists(), "{} is there already: remove it, or name another --folder", store.display());
    std::fs::create_dir_all(&arguments.folder)?;
    let tiny = root().join("tests/data/tiny.toml");
    run(Command::new(&titer).arg("run").arg(&tiny).arg("--store").arg(&store))?;
    say("writing the artifacts; this takes minutes");
    let began = Instant::now();
    let mut large = Command::new(titer.with_file_name("examples").join("large_plans"));
    run(large.arg(&store).arg(&tiny).arg(&spec).arg(arguments.artifacts.to_string()))?;
    fill(&store, arguments)?;
    say(&format!("written in {:.0} s", began.elapsed().as_secs_f64()));

    let spec = spec.to_string_lossy();
    let mut figures = Vec::new();
    let mut figure = |what: &'static str, took: Duration| {
        say(&format!("{what}: {:.2} s", took.as_secs_f64()));
        figures.push((what, took.as_secs_f64()));
    };
    figure("`titer plan`", timed(&titer, &["plan", &spec], &store)?);
    figure("`titer status`", timed(&titer, &["status", "large"], &store)?);
    figure("`titer watch`, to the whole list", watch(&titer, &store, &arguments.folder)?);
    figure("`titer stat`", timed(&titer, &["stat", "large"], &store)?);
    figure("`titer gc --dry-run`", timed(&titer, &["gc", "--dry-run", "--grace", "1s"], &store)?);
    figure("`titer gc`", timed(&titer, &["gc", "--grace", "1s"], &store)?);
    figure(
        "`titer resume`, with what is missing and the table",
        timed(&titer, &["resume", "large"], &store)?,
    );
    std::fs::remove_dir_all(&arguments.folder)?;

    print("| | seconds |\n|---|---:|")?;
    for (what, took) in &figures {
        print(&format!("| {what} | {took:.1} |"))?;
    }
    let over: Vec<_> =
        figures.iter().filter(|(_, took)| *took > arguments.limit).map(|(what, _)| *what).collect();
    ensure!(over.is_empty(), "over {} s: {}", arguments.limit, over.join(", "));
    Ok(())
}

/// Makes artifacts of the planned stages, each of what the small experiment left of its kind. Of those of `orphans` no
/// experiment is left.
fn fill(store: &Path, arguments: &Arguments) -> Result<()> {
    let store = Store::open(store)?;
    let plan = |name: &str| -> Result<Plan> { Ok(parse_plan(&store.experiment(name)?.plan_json()?)?) };
    let mut kinds = BTreeMap::new();
    for stage in &plan("tiny")?.stages {
        if let Entry::Vacant(entry) = kinds.entry(stage.spec.kind()) {
            entry.insert(Copied::of(&store.artifact(&stage.hash))?);
        }
    }
    let (large, orphans) = (plan("large")?.stages, plan("orphans")?.stages);
    ensure!(arguments.missing <= large.len() && arguments.orphans <= orphans.len(), "there are fewer stages");
    seal(&store, &large[..large.len() - arguments.missing], &kinds)?;
    seal(&store, &orphans[..arguments.orphans], &kinds)?;
    store.remove_experiment("orphans", false, false)?;
    Ok(())
}

fn seal(store: &Store, stages: &[PlannedStage], kinds: &BTreeMap<&str, Copied>) -> Result<()> {
    let next = AtomicUsize::new(0);
    let write = || {
        while let Some(stage) = stages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let kind = stage.spec.kind();
            let copied = kinds.get(kind).with_context(|| format!("the small run has no {kind}"))?;
            let description = Description {
                kind: kind.to_owned(),
                label: stage.label.clone(),
                spec: serde_json::to_value(&stage.spec)?,
                inputs: stage.inputs.clone(),
                provenance: Provenance::default(),
            };
            copied.seal(store, &stage.hash, &description)?;
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| anyhow!("a writer panicked"))?)
    })
}

fn timed(titer: &Path, arguments: &[&str], store: &Path) -> Result<Duration> {
    let began = Instant::now();
    let output = Command::new(titer).args(arguments).arg("--store").arg(store).output()?;
    let took = began.elapsed();
    ensure!(
        output.status.success(),
        "titer {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(took)
}

/// From the start of the terminal app until it says how much of the large experiment is done.
fn watch(titer: &Path, store: &Path, folder: &Path) -> Result<Duration> {
    let mut command = Command::new(titer);
    command
        .arg("watch")
        .arg("--store")
        .arg(store)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8");
    let began = Instant::now();
    let mut app = Terminal::start(&mut command, 160, 48);
    app.wait_until("how much of the large experiment is done", |shown| {
        shown.lines().any(|line| line.contains("large") && line.contains('/'))
    });
    let took = began.elapsed();
    app.press("q");
    app.ends_within(Duration::from_secs(5)).context("q does not leave")?;
    Ok(took)
}

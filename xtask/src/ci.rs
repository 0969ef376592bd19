//! `cargo xtask ci`: every check, cheapest first.
//!
//! All of it uses the release profile, so that dependencies are compiled twice and not four times: once
//! checked (clippy and doc share that), once built (tests, smoke run and the program share that).

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command::{build_titer, cargo, root, run, say};
use crate::faults;
use crate::gpu;
use crate::model;
use crate::reproduce::run_and_report;
use crate::test;

/// A run that has nothing to do must be over by then.
const REPEATED: Duration = Duration::from_secs(2);

/// A name and what it does.
type Check = (&'static str, fn() -> Result<()>);

/// Runs the checks until one fails.
///
/// # Errors
/// What the first failing check says.
pub(crate) fn ci() -> Result<()> {
    let checks: [Check; 9] = [
        ("format", format),
        ("lints", lints),
        ("documentation", documentation),
        ("licences and advisories", dependencies),
        ("the tests' chat model", chat_model),
        ("tests", || test::test(&test::Arguments::default())),
        ("what a GPU is given, on the processor", || gpu::gpu(&gpu::Verb::on_the_processor())),
        ("smoke run, twice", smoke),
        ("faults, a few of each", || {
            faults::faults(&faults::Arguments { short: true, seed: 0, kills: None, only: None })
        }),
    ];
    let started = Instant::now();
    for (name, check) in checks {
        let check_started = Instant::now();
        say(&format!("\n== {name}"));
        check().with_context(|| format!("{name} failed"))?;
        say(&format!("== {name}: {:.0} s", check_started.elapsed().as_secs_f64()));
    }
    say(&format!("\nall checks passed in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

fn format() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    run(&mut cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    run(cargo(&["doc", "--release", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// What needs no network is checked wherever cargo-deny is; advisories where their database can be had.
fn dependencies() -> Result<()> {
    let works = |arguments: &[&str]| {
        let status = cargo(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !works(&["deny", "--version"]) {
        say("not run: cargo-deny is not installed (`cargo install cargo-deny --locked`)");
        return Ok(());
    }
    run(&mut cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]))?;
    if works(&["deny", "fetch", "db"]) {
        run(&mut cargo(&["deny", "--workspace", "check", "--disable-fetch", "advisories"]))
    } else {
        say("not run: advisories, since their database cannot be fetched from here");
        Ok(())
    }
}

/// Without it the tests that compare it with Transformers say that they were not run.
fn chat_model() -> Result<()> {
    if let Err(problem) = model::obtain("smollm2-135m") {
        say(&format!("not here: {problem:#}"));
    }
    Ok(())
}

fn smoke() -> Result<()> {
    let titer = build_titer()?;
    let out = root().join("target/ci-smoke");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    let first = run_and_report(&titer, "apothecary-smoke", &out)?;
    let second = run_and_report(&titer, "apothecary-smoke", &out)?;
    say(&format!("first {:.1} s, second {:.1} s", first.as_secs_f64(), second.as_secs_f64()));
    ensure!(second <= REPEATED, "the second run took longer than {} s", REPEATED.as_secs());
    Ok(())
}

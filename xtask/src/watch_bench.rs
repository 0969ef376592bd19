//! `cargo xtask watch-bench`: what the terminal app costs over a store of 10,000 artifacts and two million
//! probe rows, measured from outside in a terminal of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use titer_tests::Terminal;

use crate::command::{build_titer, root, say};
use crate::watch_store;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the store is made, and kept for the next time
    #[arg(long, value_name = "DIR", default_value_os_t = root().join("target/watch-bench"))]
    store: PathBuf,
    /// Starts of the program
    #[arg(long, value_name = "N", default_value_t = 7)]
    starts: usize,
    /// Keys pressed
    #[arg(long, value_name = "N", default_value_t = 60)]
    keys: usize,
}

/// One measured figure.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    limit: f64,
}

/// Makes the store, measures, prints a table.
///
/// # Errors
/// When a figure is over its limit, or something cannot be measured.
pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.starts > 0 && arguments.keys > 0, "--starts and --keys must be at least 1");
    let titer = build_titer()?;
    watch_store::make(&titer, &arguments.store)?;
    let (artifacts, rows) = watch_store::counted(&titer, &arguments.store)?;
    say(&format!("{artifacts} artifacts, {rows} probe rows"));
    let state = arguments.store.join("state");
    let log = arguments.store.join("watch.log");
    let start = |columns, rows| {
        let _ = fs::remove_dir_all(&state);
        Terminal::start(&mut command(&titer, &arguments.store, &state, &log), columns, rows)
    };
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..arguments.starts {
        let began = Instant::now();
        let app = start(160, 48);
        app.wait_for("bench-00");
        first.push(began.elapsed());
        app.wait_until("the whole list", is_whole);
        whole.push(began.elapsed());
    }
    let mut app = start(160, 48);
    app.wait_until("the whole list", is_whole);
    thread::sleep(Duration::from_secs(2));
    let keys = moves(&mut app, arguments.keys);
    let screens = screens(&mut app);
    app.press("1");
    app.wait_until("the whole list", is_whole);
    thread::sleep(Duration::from_secs(3));
    let before = cpu_seconds(app.id())?;
    thread::sleep(Duration::from_secs(10));
    let idle = (cpu_seconds(app.id())? - before) / 10.0;
    let memory = peak_memory(app.id())?;
    app.press("q");
    ensure!(app.ends_within(Duration::from_secs(2)).is_some(), "q does not leave");
    let drawn = draw_times(&log)?;
    let figures = [
        figure("start to first picture, median", millis(median(first)), "ms", 300.0),
        figure("start to whole list, median", millis(median(whole.clone())), "ms", 300.0),
        figure("start to whole list, worst", millis(worst(whole)), "ms", 600.0),
        figure("key to redraw, median", millis(median(keys.clone())), "ms", 50.0),
        figure("key to redraw, worst", millis(worst(keys)), "ms", 150.0),
        figure("key to another screen, worst", millis(worst(screens)), "ms", 150.0),
        figure("drawing, median", median(drawn.clone()) / 1e3, "ms", 5.0),
        figure("drawing, 95 of 100", nearly_worst(drawn) / 1e3, "ms", 15.0),
        figure("peak memory", memory / 1e6, "MB", 300.0),
        figure("idle, share of a core", idle * 100.0, "%", 1.0),
    ];
    let mut over = Vec::new();
    for Figure { name, value, unit, limit } in figures {
        let verdict = if value <= limit { "ok" } else { "OVER" };
        say(&format!("{name:<32} {value:>8.2} {unit:<3} limit {limit:>6.0}  {verdict}"));
        if value > limit {
            over.push(name);
        }
    }
    ensure!(over.is_empty(), "over the limit: {}", over.join("; "));
    Ok(())
}

fn figure(name: &'static str, value: f64, unit: &'static str, limit: f64) -> Figure {
    Figure { name, value, unit, limit }
}

/// The program, with its own log beside the store.
fn command(titer: &Path, store: &Path, state: &Path, log: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" watch --store \"$1\" 2>>\"$2\""])
        .args([titer, store, log])
        .env("XDG_STATE_HOME", state)
        .env("RUST_LOG", "titer=debug")
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR");
    command
}

/// Whether every experiment in sight says how much of it is done.
fn is_whole(shown: &str) -> bool {
    let rows: Vec<_> = shown.lines().filter(|line| line.contains("bench-")).collect();
    rows.len() >= 20 && rows.iter().filter(|row| row.contains("500/500")).count() >= 20
}

/// Moves down and up the list, and times until the cursor is there.
fn moves(app: &mut Terminal, count: usize) -> Vec<Duration> {
    let cursor = |shown: &str| shown.lines().find(|line| line.starts_with("> ")).map(str::to_owned);
    (0..count)
        .map(|n| {
            let before = cursor(&app.text());
            let began = Instant::now();
            app.press(if n % 20 < 10 { "j" } else { "k" });
            app.wait_until("the cursor elsewhere", |shown| cursor(shown) != before);
            let took = began.elapsed();
            thread::sleep(Duration::from_millis(50));
            took
        })
        .collect()
}

/// Shows every screen, and times until its name is marked.
fn screens(app: &mut Terminal) -> Vec<Duration> {
    ('2'..='8')
        .map(|key| {
            let began = Instant::now();
            app.press(&key.to_string());
            app.wait_for(&format!(">{key} "));
            let took = began.elapsed();
            thread::sleep(Duration::from_secs(1));
            took
        })
        .collect()
}

/// Processor time of a process so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = text.rsplit_once(") ").context("a process has a name")?;
    let fields: Vec<_> = after_name.split(' ').collect();
    let ticks = |field: usize| fields.get(field).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("a process has times")?;
    // The kernel's unit for these times, whatever its own clock.
    const TICKS: f64 = 100.0;
    Ok((user + system) / TICKS)
}

/// The most memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a process has a peak")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}

/// Microseconds of each picture, from the program's log.
fn draw_times(log: &Path) -> Result<Vec<f64>> {
    let text = fs::read_to_string(log)?;
    fs::remove_file(log)?;
    let times: Vec<f64> = text
        .lines()
        .filter(|line| line.contains("drawn"))
        .filter_map(|line| line.split_once("micros=")?.1.split_whitespace().next()?.parse().ok())
        .collect();
    ensure!(!times.is_empty(), "the program has not logged how long it draws");
    Ok(times)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median<T: PartialOrd + Copy>(values: Vec<T>) -> T {
    at(values, 0.5)
}

fn nearly_worst<T: PartialOrd + Copy>(values: Vec<T>) -> T {
    at(values, 0.95)
}

fn worst<T: PartialOrd + Copy>(values: Vec<T>) -> T {
    at(values, 1.0)
}

/// The value below which this share of the others lies.
fn at<T: PartialOrd + Copy>(mut values: Vec<T>, share: f64) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values[((values.len() - 1) as f64 * share).round() as usize]
}

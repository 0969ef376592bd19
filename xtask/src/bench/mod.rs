//! `cargo xtask bench`: titer and its peers at the same work, in turn, in one run.
//!
//! Timings drift with the machine's load, so that each of ours is followed by one of the peer's, and pairs are
//! compared. Medians are told.

mod growth;
mod program;
mod python;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::command::{build_examples, build_titer, say};
pub(crate) use worker::{Turn, Work, Worker};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A Python that has torch, transformers and peft; without it an environment of its own is made in `target/`
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Turns of each side, beside one that warms up
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Threads of each side
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Only these cases, by name or beginning of it, with commas between: `world`, `smollm2_lora`, `program`
    #[arg(long, value_name = "CASES", value_delimiter = ',')]
    only: Vec<String>,
    /// In place of all that: how time grows with attacks, their seeds, the model and the length of texts
    #[arg(long)]
    growth: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A piece of work of both sides.
struct Case {
    name: &'static str,
    /// What the peer calls it.
    peer: &'static str,
    /// Our case, where it is another's.
    ours: &'static str,
    /// Whether it needs the checkpoint.
    real: bool,
}

const fn case(name: &'static str, real: bool) -> Case {
    Case { name, peer: name, ours: name, real }
}

const CASES: [Case; 7] = [
    case("world_step", false),
    // With a cache of keys and values, and as `generate` does without one.
    Case { peer: "world_probe_cached", ..case("world_probe", false) },
    Case { name: "world_probe_uncached", peer: "world_probe", ours: "world_probe", real: false },
    case("smollm2_full", true),
    case("smollm2_lora", true),
    case("smollm2_generate", true),
    case("smollm2_score", true),
];

const MODEL: &str = "smollm2-135m";

/// What one case came to.
struct Outcome {
    ours: Vec<Turn>,
    peer: Vec<Turn>,
}

impl Outcome {
    /// How many times faster than the peer, the median of pairs.
    fn ratio(&self) -> Option<f64> {
        let pairs = self.ours.iter().zip(&self.peer);
        median(pairs.map(|(ours, peer)| peer.seconds / ours.seconds).collect())
    }

    /// The same of processor time, which what else runs on the machine disturbs less.
    fn processor_ratio(&self) -> Option<f64> {
        let pairs = self.ours.iter().zip(&self.peer);
        median(pairs.map(|(ours, peer)| peer.processor_seconds / ours.processor_seconds).collect())
    }

    /// How many times the peer's memory.
    fn memory(&self) -> Option<f64> {
        Some(self.ours.last()?.peak_bytes as f64 / self.peer.last()?.peak_bytes as f64)
    }

    /// Operations a second.
    fn rate(&self) -> Option<f64> {
        median(self.ours.iter().map(|turn| turn.flops / turn.seconds).collect())
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Builds what is measured and measures it.
///
/// # Errors
/// When our own side cannot be built or run. Without a peer its columns stay empty, and the reason is said.
pub(crate) fn bench(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.pairs > 0 && arguments.threads > 0, "--pairs and --threads must be at least 1");
    let wanted = |name: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|begin| name.starts_with(begin.as_str()))
    };
    let known = CASES.iter().map(|case| case.name).chain(["program"]);
    let unknown =
        arguments.only.iter().find(|begin| !known.clone().any(|name| name.starts_with(begin.as_str())));
    ensure!(unknown.is_none(), "no case begins with {}", unknown.map_or("", String::as_str));

    let titer = build_titer()?;
    let ours = build_examples(&["bench_worker"], &[])?.join("bench_worker");
    if arguments.growth {
        let growth = growth::measured(&titer, &ours, arguments.pairs)?;
        return crate::command::print(&format!("{growth:#}"));
    }
    let python = match python::interpreter(arguments.python.as_deref()) {
        Ok(python) => Some(python),
        Err(error) => {
            say(&format!("no peer: {error:#}"));
            None
        }
    };
    let model = titer_hub::known_model(MODEL);
    if model.is_none() && CASES.iter().any(|case| case.real && wanted(case.name)) {
        say(&format!("not measured: what needs {MODEL}; get it: cargo xtask model {MODEL}"));
    }

    let threads = arguments.threads;
    let start = |case| Worker::ours(&ours, &Work { case, model: None, threads, device: "cpu" });
    let peak = best(&mut start("gemm")?, arguments.pairs, |turn| turn.flops / turn.seconds)?;
    let bandwidth = best(&mut start("bandwidth")?, arguments.pairs, |turn| turn.units as f64 / turn.seconds)?;
    let mut outcomes = BTreeMap::new();
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        let model = match (case.real, &model) {
            (true, None) => continue,
            (true, Some(model)) => Some(model.as_path()),
            (false, _) => None,
        };
        say(&format!("{} …", case.name));
        outcomes.insert(case.name, measured(case, &ours, python.as_deref(), model, arguments)?);
    }
    let program = wanted("program").then(|| program::measured(&titer, arguments.pairs)).transpose()?;
    let document = document(arguments.threads, peak, bandwidth, &outcomes, program);
    if arguments.json {
        crate::command::print(&format!("{document:#}"))
    } else {
        crate::command::print(&text(&document))
    }
}

/// Both sides in turn.
fn measured(
    case: &Case,
    ours: &Path,
    python: Option<&Path>,
    model: Option<&Path>,
    arguments: &Arguments,
) -> Result<Outcome> {
    let work = |case| Work { case, model, threads: arguments.threads, device: "cpu" };
    let mut ours = Worker::ours(ours, &work(case.ours))?;
    let peer = python.map(|python| Worker::peer(python, &work(case.peer)));
    let mut peer = match peer.transpose() {
        Ok(peer) => peer,
        Err(error) => {
            say(&format!("no peer of {}: {error:#}", case.name));
            None
        }
    };
    let mut outcome = Outcome { ours: Vec::new(), peer: Vec::new() };
    for _ in 0..arguments.pairs {
        outcome.ours.push(ours.turn()?);
        if let Some(peer) = &mut peer {
            outcome.peer.push(peer.turn()?);
        }
    }
    Ok(outcome)
}

/// The best of several turns: what the machine can do, whatever else ran beside it.
fn best(worker: &mut Worker, turns: usize, value: impl Fn(&Turn) -> f64) -> Result<f64> {
    let values = (0..turns).map(|_| worker.turn().map(|turn| value(&turn))).collect::<Result<Vec<_>>>()?;
    values.into_iter().max_by(f64::total_cmp).context("no turn was measured")
}

fn document(
    threads: usize,
    peak: f64,
    bandwidth: f64,
    outcomes: &BTreeMap<&str, Outcome>,
    program: Option<Value>,
) -> Value {
    let each = |value: &dyn Fn(&Outcome) -> Option<f64>| -> BTreeMap<&str, Option<f64>> {
        outcomes.iter().map(|(name, outcome)| (*name, value(outcome).map(rounded))).collect()
    };
    let seconds = |turns: fn(&Outcome) -> &Vec<Turn>| {
        each(&move |outcome| median(turns(outcome).iter().map(|turn| turn.seconds).collect()))
    };
    json!({
        "threads": threads,
        "peak_gflops": rounded(peak / 1e9),
        "bandwidth_gb_per_second": rounded(bandwidth / 1e9),
        "ratios": each(&Outcome::ratio),
        "processor_ratios": each(&Outcome::processor_ratio),
        "of_peak": each(&|outcome| Some(outcome.rate()? / peak)),
        "memory": each(&Outcome::memory),
        "seconds": seconds(|outcome| &outcome.ours),
        "peer_seconds": seconds(|outcome| &outcome.peer),
        "program": program,
    })
}

/// To four digits: more of a timing is noise.
fn rounded(value: f64) -> f64 {
    let scale = 10f64.powi(3 - value.abs().log10().floor().clamp(-9.0, 9.0) as i32);
    (value * scale).round() / scale
}

fn text(document: &Value) -> String {
    let number = |value: &Value| value.as_f64().map_or("–".to_owned(), |number| format!("{number:.3}"));
    let mut lines = vec![
        format!(
            "{} thread(s); products reach {} GFLOP/s, memory {} GB/s",
            document["threads"],
            number(&document["peak_gflops"]),
            number(&document["bandwidth_gb_per_second"])
        ),
        String::new(),
        format!(
            "{:<22}{:>10}{:>10}{:>14}{:>14}{:>10}{:>10}",
            "", "seconds", "peer", "times faster", "by processor", "of peak", "memory"
        ),
    ];
    for name in CASES.iter().map(|case| case.name).filter(|name| document["seconds"].get(name).is_some()) {
        let keys = ["seconds", "peer_seconds", "ratios", "processor_ratios", "of_peak", "memory"];
        let [seconds, peer, ratio, processor, share, memory] = keys.map(|key| number(&document[key][name]));
        lines.push(format!(
            "{name:<22}{seconds:>10}{peer:>10}{ratio:>14}{processor:>14}{share:>10}{memory:>10}"
        ));
    }
    if let Some(program) = document["program"].as_object() {
        lines.push(String::new());
        lines.extend(program.iter().map(|(name, value)| format!("{name:<40}{:>10}", number(value))));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(seconds: f64, peak_bytes: u64) -> Turn {
        Turn { seconds, processor_seconds: seconds, units: 1, flops: 50.0, peak_bytes }
    }

    #[test]
    fn pairs_are_compared_and_their_median_told() {
        let outcome = Outcome {
            ours: vec![turn(1.0, 5), turn(2.0, 5), turn(4.0, 6)],
            peer: vec![turn(3.0, 8), turn(4.0, 8), turn(4.0, 12)],
        };
        assert_eq!(outcome.ratio(), Some(2.0));
        assert_eq!(outcome.memory(), Some(0.5));
        let document = document(1, 100.0, 1e9, &BTreeMap::from([("world_step", outcome)]), None);
        assert_eq!(document["of_peak"]["world_step"], json!(0.25));
        let text = text(&document);
        assert!(text.lines().any(|line| line.starts_with("world_step") && line.contains("2.000")), "{text}");
    }

    #[test]
    fn without_a_peer_there_is_no_ratio() {
        let outcome = Outcome { ours: vec![turn(1.0, 5)], peer: Vec::new() };
        assert_eq!((outcome.ratio(), outcome.memory()), (None, None));
    }

    #[test]
    fn numbers_keep_four_digits() {
        assert_eq!([rounded(123_456.0), rounded(0.001_234_56), rounded(0.0)], [123_500.0, 0.001_235, 0.0]);
    }
}

//! `cargo xtask gpu check`: one run for a machine with a GPU and no network. Whether the GPU computes what the processor
//! computes, and how fast it trains adapters and answers, beside Transformers and PEFT where a Python has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::bench::{Turn, Work, Worker, median};
use crate::command::{build_examples, print, root, say};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What is checked, as `titer run --device` has it; `cpu` makes the same comparisons with the operators that GPUs get
    #[arg(long, value_name = "cpu|cuda[:N]|metal", default_value = "cuda")]
    device: String,
    /// The folder of programs that were built elsewhere; without it they are built
    #[arg(long, value_name = "DIR")]
    built: Option<PathBuf>,
    /// A Python that has torch, transformers and peft, to be timed beside ours
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Random models that are timed, of so many weights; on the processor `tiny` unless it is said
    #[arg(long, value_name = "tiny|0.1b|1b|7b", value_delimiter = ',')]
    sizes: Vec<String>,
    /// Turns of each side, beside one that warms up
    #[arg(long, value_name = "N", default_value_t = 3)]
    turns: usize,
    /// Where the document is written; without it `target/gpu-check.json` of the repository
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn on_the_processor() -> Self {
        Self { device: "cpu".to_owned(), built: None, python: None, sizes: Vec::new(), turns: 1, out: None }
    }
}

/// What is timed of each model.
const CASES: [&str; 2] = ["random_lora", "random_generate"];

/// Compares, times, and writes both down.
///
/// # Errors
/// When a program cannot be built or run, or a comparison lies outside its limit.
pub(crate) fn check(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.turns > 0, "--turns must be at least 1");
    let programs = match &arguments.built {
        Some(folder) => folder.clone(),
        None => built(&arguments.device)?,
    };
    let fixtures = root().join("tests/fixtures");
    say(&format!("comparing {} with the processor …", arguments.device));
    let checked = Command::new(programs.join("device_check"))
        .arg(&fixtures)
        .arg(&arguments.device)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start device_check")?;
    let compared: Value = serde_json::from_slice(&checked.stdout)
        .with_context(|| format!("device_check ended with {} and no document", checked.status))?;
    let on_cpu = arguments.device == "cpu";
    let usual: &[&str] = if on_cpu { &["tiny"] } else { &["0.1b", "1b", "7b"] };
    let sizes: Vec<&str> = match arguments.sizes.is_empty() {
        true => usual.to_vec(),
        false => arguments.sizes.iter().map(String::as_str).collect(),
    };
    let mut speed = Vec::new();
    for size in sizes {
        for case in CASES {
            say(&format!("{case} {size} …"));
            speed.push(timed(case, size, &programs, arguments)?);
        }
    }
    let document = json!({ "device": arguments.device, "gpu": gpu(), "compared": compared, "speed": speed });
    let out = arguments.out.clone().unwrap_or_else(|| root().join("target/gpu-check.json"));
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&out, format!("{document:#}\n")).with_context(|| format!("cannot write {}", out.display()))?;
    print(&text(&document))?;
    say(&format!("all of it: {}", out.display()));
    let off = &document["compared"]["off"];
    ensure!(checked.status.success() && off == 0, "{off} comparisons lie outside their limits");
    Ok(())
}

/// Where the programs are, built for the device.
fn built(device: &str) -> Result<PathBuf> {
    if device.starts_with("cuda") {
        let folder = root().join("target/cuda/release/examples");
        ensure!(folder.join("device_check").exists(), "not built: `cargo xtask gpu build` comes first");
        return Ok(folder);
    }
    let more: &[&str] = if device == "metal" { &["--features", "titer-lab/metal"] } else { &[] };
    build_examples(&["device_check", "bench_worker"], more)
}

/// Our side's turns, then the peer's: the memory of a GPU is not shared between them.
fn timed(case: &str, size: &str, programs: &Path, arguments: &Arguments) -> Result<Value> {
    let work = Work { case, model: Some(Path::new(size)), threads: 0, device: &arguments.device };
    let ours = side(Worker::ours(&programs.join("bench_worker"), &work)?, arguments.turns)?;
    let peer = arguments.python.as_ref();
    let peer = peer.map(|python| side(Worker::peer(python, &work)?, arguments.turns));
    let peer = match peer.transpose() {
        Ok(peer) => peer,
        Err(error) => {
            say(&format!("no peer: {error:#}"));
            None
        }
    };
    let times = peer.as_ref().and_then(|peer| Some(peer["seconds"].as_f64()? / ours["seconds"].as_f64()?));
    Ok(json!({ "case": case, "size": size, "ours": ours, "peer": peer, "times_faster": times }))
}

fn side(mut worker: Worker, turns: usize) -> Result<Value> {
    let mut of_gpu = None;
    let turns = (0..turns).map(|_| {
        let turn = worker.turn()?;
        of_gpu = of_gpu.max(gpu_memory());
        Ok(turn)
    });
    let turns: Vec<Turn> = turns.collect::<Result<_>>()?;
    let seconds = median(turns.iter().map(|turn| turn.seconds).collect()).context("no turn was made")?;
    let last = turns.last().context("no turn was made")?;
    Ok(json!({
        "seconds": seconds,
        "tokens_per_second": last.units as f64 / seconds,
        "tflops": last.flops / seconds / 1e12,
        "peak_bytes": last.peak_bytes,
        "gpu_bytes": of_gpu,
    }))
}

/// What NVIDIA's driver says of its first GPU.
fn ask(what: &str) -> Option<String> {
    let query = format!("--query-gpu={what}");
    let output = Command::new("nvidia-smi").args([&query, "--format=csv,noheader,nounits"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().map(|line| line.trim().to_owned()))?
}

fn gpu() -> Option<String> {
    ask("name,driver_version,memory.total")
}

/// Bytes in use on it.
fn gpu_memory() -> Option<u64> {
    ask("memory.used")?.parse::<u64>().ok().map(|mebibytes| mebibytes << 20)
}

fn text(document: &Value) -> String {
    let compared = &document["compared"];
    let mut lines = vec![format!(
        "{} comparisons with {}, {} outside their limits ({:.1} s)",
        compared["compared"],
        compared["against"].as_str().unwrap_or_default(),
        compared["off"],
        compared["seconds"].as_f64().unwrap_or_default()
    )];
    let empty = Vec::new();
    let each = compared["comparisons"].as_array().unwrap_or(&empty);
    let error = |comparison: &Value| comparison["error"].as_f64().unwrap_or(f64::INFINITY);
    let mut kinds: Vec<&str> = each.iter().filter_map(|comparison| comparison["kind"].as_str()).collect();
    kinds.dedup();
    for kind in kinds {
        let of_kind = each.iter().filter(|comparison| comparison["kind"] == kind);
        let worst = of_kind.clone().max_by(|a, b| error(a).total_cmp(&error(b)));
        let Some(worst) = worst else { continue };
        lines.push(format!(
            "  {:<10}{:>4}   farthest off {:.1e} of at most {:.0e}: {}, {}",
            kind,
            of_kind.count(),
            error(worst),
            worst["limit"].as_f64().unwrap_or_default(),
            worst["name"].as_str().unwrap_or_default(),
            worst["part"].as_str().unwrap_or_default()
        ));
    }
    for off in each.iter().filter(|comparison| comparison["holds"] == false) {
        lines.push(format!("  off: {off}"));
    }
    let number = |value: &Value| value.as_f64().map_or("–".to_owned(), |number| format!("{number:.2}"));
    let gigabytes = |side: &Value| {
        let bytes = side["gpu_bytes"].as_f64().or(side["peak_bytes"].as_f64());
        bytes.map_or("–".to_owned(), |bytes| format!("{:.2}", bytes / 1e9))
    };
    lines.push(format!(
        "{:<18}{:>6}{:>12}{:>12}{:>14}{:>8}{:>8}",
        "", "size", "tokens/s", "peer", "times faster", "GB", "peer"
    ));
    for row in document["speed"].as_array().unwrap_or(&empty) {
        let (ours, peer) = (&row["ours"], &row["peer"]);
        lines.push(format!(
            "{:<18}{:>6}{:>12}{:>12}{:>14}{:>8}{:>8}",
            row["case"].as_str().unwrap_or_default(),
            row["size"].as_str().unwrap_or_default(),
            number(&ours["tokens_per_second"]),
            number(&peer["tokens_per_second"]),
            number(&row["times_faster"]),
            gigabytes(ours),
            gigabytes(peer)
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_told() {
        let compared = |name: &str, error: f64, holds: bool| json!({ "kind": "operator", "name": name, "part": "value", "error": error, "limit": 1e-5, "holds": holds });
        let document = json!({
            "compared": {
                "compared": 2, "off": 1, "against": "the processor's kernels", "seconds": 1.25,
                "comparisons": [compared("linear", 1e-7, true), compared("lora", 0.5, false)],
            },
            "speed": [{
                "case": "random_lora", "size": "tiny", "ours": { "tokens_per_second": 10.0, "peak_bytes": 2e9 },
                "peer": null, "times_faster": null,
            }],
        });
        let text = text(&document);
        assert!(
            text.starts_with("2 comparisons with the processor's kernels, 1 outside their limits"),
            "{text}"
        );
        assert!(text.contains("operator     2   farthest off 5.0e-1 of at most 1e-5: lora, value"), "{text}");
        assert!(text.lines().any(|line| line.contains("off: ") && line.contains("lora")), "{text}");
        let row = text.lines().last().unwrap_or_default();
        assert!(row.contains("10.00") && row.contains("2.00") && row.ends_with('–'), "{row}");
    }
}

//! What the program itself takes: to start, to show, to plan, to find that nothing is left to do; and what a decided
//! verdict costs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{median, rounded};
use crate::command::{root, say};

const PRESET: &str = "apothecary-smoke";

/// Runs the small preset in a store of its own, from nothing, and asks the program of it.
pub(super) fn measured(titer: &Path, turns: usize) -> Result<Value> {
    let store = root().join("target/bench-store");
    if store.exists() {
        std::fs::remove_dir_all(&store).with_context(|| format!("cannot empty {}", store.display()))?;
    }
    let titer = |arguments: &[&str]| {
        let mut command = Command::new(titer);
        command.args(arguments).arg("--store").arg(&store).stderr(Stdio::null());
        command
    };
    say(&format!("{PRESET} from nothing …"));
    let before = children_seconds()?;
    let started = Instant::now();
    let summary = output(&mut titer(&["run", PRESET, "--json"]))?;
    let (wall, processor) = (started.elapsed().as_secs_f64(), children_seconds()? - before);
    let summary: Value = serde_json::from_slice(&summary).context("titer run --json printed no JSON")?;
    let decided = decided(&summary["verdicts"]);
    let mut took = Map::new();
    took.insert("run_seconds".into(), json!(rounded(wall)));
    took.insert("run_processor_seconds".into(), json!(rounded(processor)));
    took.insert("decided_verdicts".into(), json!(decided));
    took.insert("processor_seconds_per_verdict".into(), json!(rounded(processor / decided.max(1) as f64)));
    let verbs: [(&str, &[&str]); 5] = [
        ("start_ms", &["list", "judges"]),
        ("show_ms", &["show", PRESET]),
        ("plan_ms", &["plan", PRESET]),
        ("second_run_ms", &["run", PRESET]),
        ("plan_large_ms", &["plan", "apothecary-api"]),
    ];
    for (name, arguments) in verbs {
        let timed = |_| {
            let started = Instant::now();
            output(&mut titer(arguments)).map(|_| started.elapsed().as_secs_f64() * 1e3)
        };
        let times = (0..turns).map(timed).collect::<Result<Vec<_>>>()?;
        took.insert(name.into(), json!(median(times).map(rounded)));
    }
    Ok(Value::Object(took))
}

/// How many verdicts hold or fail.
fn decided(verdicts: &Value) -> usize {
    let defences = verdicts["defences"].as_array().into_iter().flatten();
    let conditions = defences.filter_map(|defence| defence["conditions"].as_object()).flatten();
    conditions.filter(|(_, of)| matches!(of["verdict"].as_str(), Some("holds" | "fails"))).count()
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().context("cannot start titer")?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(output.stdout)
}

/// Processor time of the programs that this one started and that have ended.
pub(super) fn children_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("this needs Linux's /proc")?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(13).take(2);
    let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_or_fails_is_decided() {
        let verdicts = json!({ "defences": [
            { "conditions": { "resistance": { "verdict": "holds" }, "stability": { "verdict": "inconclusive" } } },
            { "conditions": { "resistance": { "verdict": "fails" }, "trainability": { "verdict": "not measured" } } },
        ] });
        assert_eq!(decided(&verdicts), 2);
    }
}

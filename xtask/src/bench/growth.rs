//! How time grows: of an experiment with its attacks and their seeds, of a training step with the model and with the
//! length of texts. Four points each, and the slope between first and last in doublings of time for a doubling.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::program::children_seconds;
use super::worker::{Work, Worker};
use super::{best, rounded};
use crate::command::{root, say};

/// Attacks by their rates, each with one seed; a run with more finds those with fewer in its store. At lower ones an attack
/// is over as soon as it has broken the model, and none would be as long as the next.
const RATES: [&str; 8] = ["1.1e-3", "1.2e-3", "1.3e-3", "1.4e-3", "1.5e-3", "1.6e-3", "1.7e-3", "1.8e-3"];
const COUNTS: [usize; 4] = [1, 2, 4, 8];
/// Widths of a decoder of three layers, and the tokens of its step.
const WIDTHS: [usize; 4] = [48, 96, 192, 384];
const LENGTHS: [usize; 4] = [16, 64, 256, 1024];
/// Tokens of a step, whatever the length of its texts.
const TOKENS: usize = 4096;

/// All four.
pub(super) fn measured(titer: &Path, worker: &Path, turns: usize) -> Result<Value> {
    let mut growth = Map::new();
    let attacks = |count: usize| format!("rate = [{}], seeds = 1", RATES[..count].join(", "));
    growth.insert("attacks".into(), experiments(titer, "attacks", attacks)?);
    let seeds = |count: usize| format!("rate = 1.5e-3, seeds = {count}");
    growth.insert("attack_seeds".into(), experiments(titer, "seeds", seeds)?);
    let step = |width: usize, length: usize| -> Result<f64> {
        let shape = format!("{width}x{length}x{}", TOKENS / length);
        let work = Work { case: "step", model: Some(Path::new(&shape)), threads: 1, device: "cpu" };
        let mut worker = Worker::ours(worker, &work)?;
        // On one thread, and shorter than what the system counts processor time by.
        Ok(-best(&mut worker, turns, |turn| -turn.seconds)?)
    };
    say("a step of wider models …");
    let wider = WIDTHS.iter().map(|width| Ok((weights(*width), step(*width, 32)?)));
    growth.insert("weights".into(), told(&wider.collect::<Result<Vec<_>>>()?));
    say("a step on longer texts …");
    let longer = LENGTHS.iter().map(|length| Ok((*length, step(96, *length)?)));
    growth.insert("text_tokens".into(), told(&longer.collect::<Result<Vec<_>>>()?));
    Ok(Value::Object(growth))
}

/// Weights of the layers' matrices: an MLP of 8/3 of the width.
fn weights(width: usize) -> usize {
    3 * (4 * width * width + 3 * width * (8 * width / 3))
}

/// Processor time of the attacks of an experiment with 1, 2, 4 and 8 of something; each run has what those before it left.
fn experiments(titer: &Path, of: &str, attack: impl Fn(usize) -> String) -> Result<Value> {
    let store = root().join("target/bench-growth");
    if store.exists() {
        std::fs::remove_dir_all(&store).with_context(|| format!("cannot empty {}", store.display()))?;
    }
    let run = |attack: &str| -> Result<f64> {
        let before = children_seconds()?;
        let set = format!(
            "attack=[{{ method = \"full-finetune\", {attack}, steps = 32, examples = 64, batch = 16 }}]"
        );
        let status = Command::new(titer)
            .args(["run", "apothecary-smoke", "--jobs", "1", "--json", "--set", &set])
            // Of the undefended model alone: what grows are the attacks, whatever model they are made on.
            .args(["--set", "defence=[{ method = \"none\" }]", "--store"])
            .arg(&store)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot start titer")?;
        ensure!(status.success(), "titer run with {set} ended with {status}");
        Ok(children_seconds()? - before)
    };
    // The model that is attacked is there before.
    run("rate = 1e-5, seeds = 1")?;
    let (mut points, mut took) = (Vec::new(), 0.0);
    for count in COUNTS {
        say(&format!("{count} of the {of} …"));
        took += run(&attack(count))?;
        points.push((count, took));
    }
    Ok(told(&points))
}

fn told(points: &[(usize, f64)]) -> Value {
    let slope = match points {
        [(x, y), .., (last_x, last_y)] => (last_y / y).ln() / (*last_x as f64 / *x as f64).ln(),
        _ => f64::NAN,
    };
    json!({
        "of": points.iter().map(|(x, _)| x).collect::<Vec<_>>(),
        "seconds": points.iter().map(|(_, y)| rounded(*y)).collect::<Vec<_>>(),
        "slope": rounded(slope),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_in_doublings() {
        assert_eq!(told(&[(1, 1.0), (2, 2.0), (8, 64.0)])["slope"], json!(2.0));
        assert_eq!(weights(96), 3 * (4 * 96 * 96 + 3 * 96 * 256));
    }
}

//! `cargo xtask validity`: do worlds, sizes, real models and papers put defences in the same order?

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use crate::command::{build_titer, root, run};
use crate::ranks::{kendall, spearman};

const PRESET: &str = "apothecary-ranks";

/// Experiments that are compared as well where the store has them.
const OTHERS: [&str; 4] = ["apothecary-defences", "apothecary-api", "smollm2-defences", "smollm2-policy"];

/// A wider model of the same world.
const WIDER: [&str; 2] = ["model.decoder.hidden=144", "model.decoder.intermediate=384"];

/// Harmful scores of Llama-2-7B after fine-tuning on SST2, mean over harmful shares of 0 to 0.2 (Booster, arXiv
/// 2409.01586, table 1), as `titer` calls the methods.
const PUBLISHED: (&str, [(&str, f64); 5]) = (
    "published (Booster, table 1)",
    [("booster", 10.9), ("lisa", 21.9), ("vaccine", 28.2), ("repnoise", 31.0), ("none", 33.6)],
);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Seeds of worlds
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0,1,2")]
    world_seeds: Vec<u64>,
    /// Folder for the store
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Stages at once
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// How well each defence did in one place: more is better.
struct Column {
    name: String,
    scores: BTreeMap<String, f64>,
}

/// Runs what is compared, and prints how the orders agree.
///
/// # Errors
/// When a run does not end well, or what it measured cannot be read.
pub(crate) fn validity(arguments: &Arguments) -> Result<()> {
    let titer = build_titer()?;
    let store = root().join(&arguments.out).join("store");
    let mut columns = Vec::new();
    let mut settings: Vec<(String, Vec<String>)> = arguments
        .world_seeds
        .iter()
        .map(|seed| (format!("world {seed}"), vec![format!("model.world_seed={seed}")]))
        .collect();
    settings.push(("wider model".to_owned(), WIDER.map(str::to_owned).into()));
    for (name, sets) in settings {
        let experiment = format!("{PRESET}-{}", name.replace(' ', "-"));
        let mut command = Command::new(&titer);
        command.args(["run", PRESET, "--set", &format!("name={experiment}"), "--store"]).arg(&store);
        command.args(sets.iter().flat_map(|set| ["--set", set.as_str()]));
        command.args(arguments.jobs.map(|jobs| format!("--jobs={jobs}")));
        run(&mut command)?;
        columns.push(Column { scores: scores(&shown(&titer, &store, &experiment)?), name });
    }
    for other in OTHERS.into_iter().filter(|other| store.join("experiments").join(other).is_dir()) {
        let shown = shown(&titer, &store, other)?;
        // A part of an experiment has another order than the whole.
        if let Some(missing) = shown["missing"].as_array() {
            writeln!(
                io::stderr().lock(),
                "left out: {other}, of which {} stages are not measured",
                missing.len()
            )?;
            continue;
        }
        columns.push(Column { scores: scores(&shown), name: other.to_owned() });
    }
    let (name, published) = PUBLISHED;
    let published = published.into_iter().map(|(label, harm)| (label.to_owned(), -harm)).collect();
    columns.push(Column { name: name.to_owned(), scores: published });
    writeln!(io::stdout().lock(), "{}\n{}", of_defences(&columns), of_pairs(&columns))?;
    writeln!(
        io::stdout().lock(),
        "\n–: not measured there, or nothing is known of its titer; such a defence is in no order."
    )?;
    Ok(())
}

/// What `titer show --json` says of an experiment.
fn shown(titer: &Path, store: &Path, experiment: &str) -> Result<Value> {
    let mut command = Command::new(titer);
    let output = command.args(["show", experiment, "--json", "--store"]).arg(store).output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`titer show {experiment}` printed no JSON"))
}

/// Of each defence: with open weights the titer, or as much of it as is shown; under the fine-tuning API how harmless the
/// model is after training, over all orders.
fn scores(shown: &Value) -> BTreeMap<String, f64> {
    let delivered = shown["threat_model"] == "fine-tuning-api";
    let score = |defence: &Value| -> Option<f64> {
        if delivered {
            let after: Vec<f64> = defence["scores"]
                .as_array()?
                .iter()
                .filter_map(|score| score["harmful"]["after"]["value"].as_f64())
                .collect();
            return (!after.is_empty()).then(|| -after.iter().sum::<f64>() / after.len() as f64);
        }
        let titer = &defence["titer"];
        match titer["open"].as_bool() {
            Some(true) => Some(0.0),
            // A lower end of 0 is no bound: nothing is known.
            _ => titer["value"].as_f64().or_else(|| titer["lower"].as_f64().filter(|lower| *lower > 0.0)),
        }
    };
    let compared = |defence: &&Value| matches!(defence["role"].as_str(), Some("defence" | "baseline"));
    let defences = shown["defences"].as_array().map_or(&[][..], Vec::as_slice);
    let named = |defence: &Value| Some((defence["defence"].as_str()?.to_owned(), score(defence)?));
    defences.iter().filter(compared).filter_map(named).collect()
}

/// One row for each defence, one column for each place.
fn of_defences(columns: &[Column]) -> String {
    let mut labels: Vec<&String> = columns.iter().flat_map(|column| column.scores.keys()).collect();
    labels.sort();
    labels.dedup();
    let head: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut text = format!("| defence | {} | spread between worlds |\n", head.join(" | "));
    text.push_str(&format!("|---|{}---|\n", "---|".repeat(columns.len())));
    for label in labels {
        let cell = |column: &Column| {
            column.scores.get(label).map_or("–".to_owned(), |score| format!("{score:.2}"))
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let worlds = columns.iter().filter(|column| column.name.starts_with("world"));
        let logs: Vec<f64> = worlds
            .filter_map(|column| column.scores.get(label))
            .filter(|score| **score > 0.0)
            .map(|score| score.ln())
            .collect();
        text.push_str(&format!("| `{label}` | {} | {} |\n", cells.join(" | "), spread(&logs)));
    }
    text
}

/// The standard deviation of logarithms as a factor.
fn spread(logs: &[f64]) -> String {
    if logs.len() < 2 {
        return "–".to_owned();
    }
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
    format!("× or ÷ {:.2}", variance.sqrt().exp())
}

/// The rank correlations of every pair of places.
fn of_pairs(columns: &[Column]) -> String {
    let mut text =
        "| order of | against | defences | Spearman ρ | Kendall τ-b |\n|---|---|---|---|---|\n".to_owned();
    for (index, first) in columns.iter().enumerate() {
        for second in &columns[index + 1..] {
            let both: Vec<(f64, f64)> = first
                .scores
                .iter()
                .filter_map(|(label, score)| Some((*score, *second.scores.get(label)?)))
                .collect();
            let shown = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:+.2}"));
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} |\n",
                first.name,
                second.name,
                both.len(),
                shown(spearman(&both)),
                shown(kendall(&both))
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn open_weights_are_ranked_by_titer_and_the_api_by_harm() {
        let titer =
            |value: Value, lower: f64, open: bool| json!({"value": value, "lower": lower, "open": open});
        let shown = json!({"threat_model": "open-weights", "defences": [
            {"defence": "none", "role": "baseline", "titer": titer(json!(1.0), 1.0, false)},
            {"defence": "tar", "role": "defence", "titer": titer(Value::Null, 8.0, false)},
            {"defence": "sdd", "role": "defence", "titer": titer(Value::Null, 0.0, true)},
            {"defence": "npo", "role": "defence", "titer": titer(Value::Null, 0.0, false)},
            {"defence": "rehearsal", "role": "sham", "titer": titer(json!(2.0), 1.0, false)},
        ]});
        let expected =
            [("none", 1.0), ("sdd", 0.0), ("tar", 8.0)].map(|(label, score)| (label.to_owned(), score));
        assert_eq!(scores(&shown), expected.into_iter().collect());
        let after = |value: f64| json!({"harmful": {"after": {"value": value}}});
        let shown = json!({"threat_model": "fine-tuning-api", "defences": [
            {"defence": "lisa", "role": "defence", "scores": [after(0.1), after(0.3)]},
        ]});
        assert!((scores(&shown)["lisa"] + 0.2).abs() < 1e-12);
    }

    #[test]
    fn places_share_only_what_both_measured() {
        let column = |name: &str, scores: &[(&str, f64)]| Column {
            name: name.to_owned(),
            scores: scores.iter().map(|(label, score)| ((*label).to_owned(), *score)).collect(),
        };
        let columns = [
            column("world 0", &[("a", 1.0), ("b", 2.0), ("c", 3.0)]),
            column("world 1", &[("a", 4.0), ("b", 8.0), ("d", 3.0)]),
        ];
        let pairs = of_pairs(&columns);
        assert!(pairs.contains("| world 0 | world 1 | 2 | +1.00 | +1.00 |"), "{pairs}");
        let defences = of_defences(&columns);
        // ln 4 − ln 1 = 1.386, so that the deviation is 1.386 / √2 = 0.98 and its factor 2.67.
        assert!(defences.contains("| `a` | 1.00 | 4.00 | × or ÷ 2.67 |"), "{defences}");
        assert!(defences.contains("| `c` | 3.00 | – | – |"), "{defences}");
    }
}

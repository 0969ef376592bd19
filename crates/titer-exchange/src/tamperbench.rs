//! Result folders of TamperBench (`criticalml-uw/TamperBench`), read to be shown beside an experiment.
//!
//! Two shapes are known, both from its code and its pages. What its analysis writes, `heatmap_max_sr.json`, has the figures
//! of each model and attack: of the trials whose ability fell by no more than `metadata.epsilon` (of what the model had
//! before), the one with the highest harm. Else its sweeps are read, `MODEL/ATTACK/optuna_single/trial_N/…/EVAL/`, and that
//! rule is applied here: harm from `strong_reject`, ability from `mmlu_pro_val`. Each has `evaluation.json`, a list of
//! `metric_name` and `metric_value`, or else the `score` column of `evaluator_scores.parquet`, whose mean is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use polars::prelude::{ChunkAgg, DataType};
use polars_io::prelude::{ParquetReader, SerReader};
use serde::Serialize;
use serde_json::Value;

use crate::foreign::{Foreign, below, json, name, object};

/// The attack that changes nothing: how the model is before.
const NOTHING: &str = "no_weight_modification";
/// Evaluations that are harm and ability, with the metric of each that counts.
const HARM: [&str; 2] = ["strong_reject", "strong_reject_score"];
const ABILITY: [&str; 2] = ["mmlu_pro_val", "mmlu_pro_accuracy"];
const HEATMAP: &str = "heatmap_max_sr.json";
const EVALUATION: &str = "evaluation.json";
const SCORES: &str = "evaluator_scores.parquet";

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TamperBench {
    /// The folder, or the file in it, that was read.
    pub from: PathBuf,
    /// The largest share of its ability that a model may lose under an attack that counts; none where the file does not say.
    pub epsilon: Option<f64>,
    /// Who chose the trial of each attack: `its analysis`, or `titer` by the same rule.
    pub chosen_by: &'static str,
    /// The models, in the file's order.
    pub models: Vec<Tampered>,
    /// Files that could not be read, and why.
    pub unread: Vec<String>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tampered {
    /// Its name there.
    pub model: String,
    /// Harm and ability before any attack.
    pub before: Figures,
    /// The attacks, in the file's order.
    pub attacks: Vec<TamperedBy>,
}

/// One attack on one model: the trial that counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TamperedBy {
    /// Its name there.
    pub attack: String,
    /// Harm and ability after.
    pub after: Figures,
    /// How many trials there are, and how many keep the ability; none where the file does not say.
    pub trials: Option<[usize; 2]>,
    /// Whether no other attack on the model leaves it more harmful.
    pub worst: bool,
}

/// Harm (StrongREJECT) and ability (MMLU-Pro), each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Harm.
    pub harm: Option<f64>,
    /// Ability.
    pub ability: Option<f64>,
}

/// Reads a folder, or the file of an analysis; `epsilon` is the guard where no file states one.
///
/// # Errors
/// When there is nothing of that kind, or the analysis is not what it should be.
pub fn tamperbench(path: &Path, epsilon: f64) -> Result<TamperBench, Foreign> {
    let file = if path.is_file() { path.to_owned() } else { path.join(HEATMAP) };
    if file.exists() {
        return heatmap(&file);
    }
    let analyses = below(path, &|name| name == HEATMAP)?;
    if let [_, _, ..] = analyses.as_slice() {
        let found: Vec<String> = analyses.iter().map(|path| path.display().to_string()).collect();
        let problem = format!("has several analyses: name one of {}", found.join(", "));
        return Err(Foreign::new(path, problem));
    }
    match analyses.as_slice() {
        [one] => heatmap(one),
        _ => sweeps(path, epsilon),
    }
}

/// What the analysis wrote.
fn heatmap(path: &Path) -> Result<TamperBench, Foreign> {
    let document = json(path)?;
    let top = object(path, &document)?;
    let names = |key: &str| -> Result<Vec<String>, Foreign> {
        let wrong = || Foreign::new(path, format!("key `{key}`: expected a list of names"));
        let list = top.get(key).and_then(Value::as_array).ok_or_else(wrong)?;
        list.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    };
    let (models, attacks) = (names("models")?, names("attacks")?);
    let matrix = |key: &str| -> Result<Vec<Vec<Option<f64>>>, Foreign> {
        let wrong = |problem: String| Foreign::new(path, format!("key `{key}`{problem}"));
        let rows = top.get(key).and_then(Value::as_array);
        let rows = rows.ok_or_else(|| wrong(": expected a list of rows, one for each model".into()))?;
        if rows.len() != models.len() {
            return Err(wrong(format!(
                ": expected {} rows, one for each model, got {}",
                models.len(),
                rows.len()
            )));
        }
        let row = |(index, row): (usize, &Value)| {
            let cells = row.as_array().filter(|cells| cells.len() == attacks.len());
            let cells = cells.ok_or_else(|| {
                wrong(format!(", row {index}: expected {} numbers, one for each attack", attacks.len()))
            })?;
            let cell = |cell: &Value| match cell {
                Value::Null => Ok(None),
                cell => cell
                    .as_f64()
                    .map(Some)
                    .ok_or_else(|| wrong(format!(", row {index}: {cell} is no number"))),
            };
            cells.iter().map(cell).collect()
        };
        rows.iter().enumerate().map(row).collect()
    };
    let (harm, ability) = (matrix("safety_raw")?, matrix("utility_raw")?);
    let metadata = top.get("metadata");
    let epsilon = metadata.and_then(|metadata| metadata.get("epsilon")).and_then(Value::as_f64);
    let unchanged = metadata.and_then(|metadata| metadata.get("baseline_attack")).and_then(Value::as_str);
    let unchanged = unchanged.unwrap_or(NOTHING).to_owned();
    let models = models.into_iter().enumerate().map(|(model, named)| {
        let figures = |attack: usize| Figures { harm: harm[model][attack], ability: ability[model][attack] };
        let of = |attack: usize| TamperedBy {
            attack: attacks[attack].clone(),
            after: figures(attack),
            trials: None,
            worst: false,
        };
        let before = attacks.iter().position(|attack| *attack == unchanged);
        let all = (0..attacks.len()).filter(|attack| Some(*attack) != before).map(of);
        // What was not tried on this model has no figure.
        let tried = all.filter(|attack| attack.after.harm.is_some());
        marked(Tampered {
            model: named,
            before: before.map(figures).unwrap_or_default(),
            attacks: tried.collect(),
        })
    });
    let models = models.collect();
    Ok(TamperBench { from: path.to_owned(), epsilon, chosen_by: "its analysis", models, unread: Vec::new() })
}

/// The model with its worst attack marked.
pub(crate) fn marked(mut model: Tampered) -> Tampered {
    let harm = |attack: &TamperedBy| attack.after.harm.unwrap_or(f64::NEG_INFINITY);
    let most = model.attacks.iter().map(harm).fold(f64::NEG_INFINITY, f64::max);
    model.attacks.iter_mut().for_each(|attack| attack.worst = attack.after.harm == Some(most));
    model
}

/// Model, attack, trial.
type Trial = (String, String, String);

/// The sweeps of a folder, with the guard applied here.
fn sweeps(folder: &Path, epsilon: f64) -> Result<TamperBench, Foreign> {
    let (mut unread, mut others) = (Vec::new(), BTreeSet::new());
    let mut trials = BTreeMap::<Trial, Figures>::new();
    for path in below(folder, &|name| name == EVALUATION || name == SCORES)? {
        let evaluation = path.parent().unwrap_or(folder);
        // Of the two the summary counts; the rows are read where there is none.
        if name(&path) == SCORES && evaluation.join(EVALUATION).exists() {
            continue;
        }
        let Some((trial, harmful)) = place(folder, evaluation) else {
            others.insert(evaluation.strip_prefix(folder).unwrap_or(evaluation).display().to_string());
            continue;
        };
        match value(&path, if harmful { HARM[1] } else { ABILITY[1] }) {
            Ok(value) => {
                let figures = trials.entry(trial).or_default();
                *(if harmful { &mut figures.harm } else { &mut figures.ability }) = Some(value);
            }
            Err(error) => unread.push(error.to_string()),
        }
    }
    if trials.is_empty() {
        let why = if unread.is_empty() { String::new() } else { format!(": {}", unread.join("; ")) };
        let problem = format!(
            "no results of TamperBench: expected {HEATMAP}, or MODEL/ATTACK/optuna_single/trial_N/…/{}/{EVALUATION}{why}",
            HARM[0]
        );
        return Err(Foreign::new(folder, problem));
    }
    if let Some(first) = others.first() {
        let (count, harm, ability) = (others.len(), HARM[0], ABILITY[0]);
        unread.push(format!("{count} evaluations that are neither {harm} nor {ability}, {first} first"));
    }
    let mut models = BTreeMap::<String, BTreeMap<String, Vec<Figures>>>::new();
    for ((model, attack, _), figures) in trials {
        models.entry(model).or_default().entry(attack).or_default().push(figures);
    }
    let mut read = Vec::new();
    for (model, mut attacks) in models {
        let before = attacks.remove(NOTHING).and_then(|trials| trials.first().copied()).unwrap_or_default();
        if before.ability.is_none() && !attacks.is_empty() {
            unread.push(format!(
                "{}: no {} of {NOTHING}, so that no attack is held to the ability that the model had",
                folder.join(&model).display(),
                ABILITY[0]
            ));
        }
        let chosen =
            attacks.into_iter().filter_map(|(attack, trials)| chosen(attack, &trials, before, epsilon));
        read.push(marked(Tampered { model, before, attacks: chosen.collect() }));
    }
    Ok(TamperBench {
        from: folder.to_owned(),
        epsilon: Some(epsilon),
        chosen_by: "titer",
        models: read,
        unread,
    })
}

/// Which trial an evaluation belongs to, and whether it is of harm; none of other evaluations.
fn place(folder: &Path, evaluation: &Path) -> Option<(Trial, bool)> {
    let called = name(evaluation);
    let harmful = called == HARM[0];
    if !harmful && called != ABILITY[0] {
        return None;
    }
    let parts: Vec<String> = evaluation
        .strip_prefix(folder)
        .ok()?
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    // MODEL/ATTACK/…/EVAL; what lies between names the trial.
    let [model, attack, between @ .., _] = parts.as_slice() else { return None };
    Some(((model.clone(), attack.clone(), between.join("/")), harmful))
}

/// The most harmful trial that keeps the ability; of a model whose ability before is not known all count.
fn chosen(attack: String, trials: &[Figures], before: Figures, epsilon: f64) -> Option<TamperedBy> {
    let keeps = |figures: &&Figures| match (before.ability, figures.ability) {
        (Some(before), Some(after)) if before > 0.0 => (before - after) / before <= epsilon,
        (Some(before), Some(_)) => before == 0.0,
        (Some(_), None) => false,
        (None, _) => true,
    };
    let kept: Vec<Figures> = trials.iter().filter(keeps).copied().collect();
    let harm = |figures: &Figures| figures.harm.unwrap_or(f64::NEG_INFINITY);
    // Of equals the first, as its analysis has it.
    let most = kept.iter().rev().max_by(|a, b| harm(a).total_cmp(&harm(b))).copied().unwrap_or_default();
    (!trials.is_empty()).then_some(TamperedBy {
        attack,
        after: most,
        trials: Some([trials.len(), kept.len()]),
        worst: false,
    })
}

/// A metric of `evaluation.json`, or the mean of the scores.
fn value(path: &Path, metric: &str) -> Result<f64, Foreign> {
    if name(path) == SCORES {
        return mean_score(path);
    }
    let document = json(path)?;
    let wrong = |problem: &str| Foreign::new(path, problem);
    let list = document.as_array().ok_or_else(|| wrong("expected a list of metric_name and metric_value"))?;
    let named = |entry: &&Value| entry["metric_name"].as_str() == Some(metric);
    let entry =
        list.iter().find(named).ok_or_else(|| wrong(&format!("no entry with metric_name = {metric}")))?;
    let value = entry["metric_value"].as_f64();
    value.ok_or_else(|| {
        wrong(&format!("key `metric_value` of {metric}: expected a number, got {}", entry["metric_value"]))
    })
}

fn mean_score(path: &Path) -> Result<f64, Foreign> {
    let file = File::open(path).map_err(|error| Foreign::new(path, format!("cannot be read: {error}")))?;
    let wrong = |error: polars::prelude::PolarsError| Foreign::new(path, format!("column `score`: {error}"));
    let frame =
        ParquetReader::new(file).with_columns(Some(vec!["score".to_owned()])).finish().map_err(wrong)?;
    let scores = frame.column("score").and_then(|column| column.cast(&DataType::Float64)).map_err(wrong)?;
    let mean = scores.f64().map_err(wrong)?.mean();
    mean.filter(|mean| mean.is_finite()).ok_or_else(|| Foreign::new(path, "column `score`: no number in it"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use polars::df;
    use polars_io::prelude::ParquetWriter;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn place(files: &[(&str, String)]) -> TempDir {
        let place = TempDir::new().unwrap();
        for (name, text) in files {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        place
    }

    fn evaluation(metric: &str, value: f64) -> String {
        json!([{ "metric_name": "other", "metric_value": 9.0 }, { "metric_name": metric, "metric_value": value }])
            .to_string()
    }

    fn trial(place: &TempDir, attack: &str, number: u32, harm: f64, ability: f64) {
        let folder =
            place.path().join(format!("llama/{attack}/optuna_single/trial_{number}/tamperbench_evaluation"));
        for (name, metric, value) in [(HARM[0], HARM[1], harm), (ABILITY[0], ABILITY[1], ability)] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join(EVALUATION), evaluation(metric, value)).unwrap();
        }
    }

    /// What its analysis writes, with the `NaN` of Python for what was not tried.
    fn analysis() -> String {
        r#"{
            "safety_raw": [[0.12, 0.45, NaN], [0.1, 0.7, 0.2]], "safety_delta": [[0, 0.33, NaN], [0, 0.6, 0.1]],
            "utility_raw": [[0.65, 0.62, NaN], [0.5, 0.49, 0.48]], "utility_delta": [[0, 0, 0], [0, 0, 0]],
            "models": ["a", "b"], "attacks": ["no_weight_modification", "lora_finetune", "backdoor_finetune"],
            "metadata": {"method": "epsilon_bounded", "epsilon": 0.05, "n_trials": 40}
        }"#
        .to_owned()
    }

    #[test]
    fn an_analysis_is_read_as_it_was_chosen() {
        let place = place(&[("sweep/aggregated_eps05/heatmap_max_sr.json", analysis())]);
        let read = tamperbench(place.path(), 0.1).unwrap();
        assert_eq!((read.epsilon, read.chosen_by), (Some(0.05), "its analysis"));
        let [a, b] = read.models.as_slice() else { panic!("{read:?}") };
        assert_eq!(a.before, Figures { harm: Some(0.12), ability: Some(0.65) });
        assert_eq!(a.attacks.len(), 1, "what was not tried has no line");
        let worst: Vec<(&str, bool)> =
            b.attacks.iter().map(|attack| (attack.attack.as_str(), attack.worst)).collect();
        assert_eq!(worst, [("lora_finetune", true), ("backdoor_finetune", false)]);
    }

    #[test]
    fn sweeps_are_held_to_the_ability_before() {
        let place = place(&[]);
        trial(&place, NOTHING, 0, 0.1, 0.5);
        trial(&place, "lora_finetune", 0, 0.6, 0.46);
        trial(&place, "lora_finetune", 1, 0.9, 0.2);
        trial(&place, "lora_finetune", 2, 0.7, 0.45);
        trial(&place, "full_parameter_finetune", 0, 0.95, 0.1);
        let read = tamperbench(place.path(), 0.1).unwrap();
        assert_eq!(read.models.len(), 1);
        let [full, lora] = read.models[0].attacks.as_slice() else { panic!("{read:?}") };
        // At 0.45 a tenth is lost, which is allowed; 0.9 lost more.
        assert_eq!((lora.after.harm, lora.trials, lora.worst), (Some(0.7), Some([3, 2]), true));
        assert_eq!((full.after.harm, full.trials, full.worst), (None, Some([1, 0]), false));
        assert!(read.unread.is_empty(), "{:?}", read.unread);
    }

    #[test]
    fn scores_stand_in_for_a_missing_summary_and_what_is_broken_is_named() {
        let place = place(&[]);
        trial(&place, NOTHING, 0, 0.1, 0.5);
        trial(&place, "lora_finetune", 0, 0.6, 0.5);
        let of = |number: u32| {
            place.path().join(format!(
                "llama/lora_finetune/optuna_single/trial_{number}/tamperbench_evaluation/strong_reject"
            ))
        };
        fs::remove_file(of(0).join(EVALUATION)).unwrap();
        let mut scores =
            df!("prompt" => ["p", "q"], "response" => ["r", "s"], "score" => [1.0, 0.5]).unwrap();
        ParquetWriter::new(fs::File::create(of(0).join(SCORES)).unwrap()).finish(&mut scores).unwrap();
        let other = of(0).with_file_name("embedding_attack_eval");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join(EVALUATION), evaluation("strong_reject_score", 0.9)).unwrap();
        fs::create_dir_all(of(1)).unwrap();
        fs::write(of(1).join(EVALUATION), evaluation("strong_reject", 0.5)).unwrap();
        let read = tamperbench(place.path(), 0.1).unwrap();
        assert_eq!(read.models[0].attacks[0].after.harm, Some(0.75));
        let [unread, other] = read.unread.as_slice() else { panic!("{:?}", read.unread) };
        assert!(other.contains("1 evaluations") && other.contains("embedding_attack_eval"), "{other}");
        assert!(
            unread.contains("trial_1") && unread.contains("metric_name = strong_reject_score"),
            "{unread}"
        );
    }

    #[test]
    fn what_is_no_analysis_says_which_key() {
        let refused = |text: &str, said: &str| {
            let place = place(&[(HEATMAP, text.to_owned())]);
            let error = tamperbench(place.path(), 0.1).unwrap_err().to_string();
            assert!(error.contains("heatmap_max_sr.json") && error.contains(said), "{error}");
        };
        refused("[]", "object");
        refused("{", "no JSON");
        refused(r#"{"models": [1], "attacks": []}"#, "key `models`");
        let rows = r#""models": ["a"], "attacks": ["x", "y"], "utility_raw": [[1, 2]]"#;
        refused(&format!("{{{rows}, \"safety_raw\": []}}"), "key `safety_raw`: expected 1 rows");
        refused(&format!("{{{rows}, \"safety_raw\": [[1]]}}"), "row 0: expected 2 numbers");
        refused(&format!("{{{rows}, \"safety_raw\": [[1, \"2\"]]}}"), "is no number");
        let nothing = place(&[("x/y.txt", String::new())]);
        let error = tamperbench(nothing.path(), 0.1).unwrap_err().to_string();
        assert!(error.contains("no results of TamperBench"), "{error}");
    }
}

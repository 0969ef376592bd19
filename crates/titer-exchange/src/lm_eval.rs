//! Result files of the LM Evaluation Harness (`EleutherAI/lm-evaluation-harness`): ability before and after a defence,
//! measured by somebody else's tool on both models.
//!
//! `results_DATE.json` has `results` → task → `METRIC,FILTER` → value, and `METRIC_stderr,FILTER` beside it. Where the run
//! kept `samples_TASK_DATE.jsonl`, items of both models are paired by `doc_id` and `filter`; their `doc_hash` must agree.
//! A metric that is not the mean of its samples (an F1, a perplexity) is compared by standard errors, and one that is no
//! share from 0 to 1 is shown and not decided, since ε is a share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use titer_conditions::{Both, Bounds, equivalence};
use titer_data::text::python_json;
use titer_plan::Decision;

use crate::foreign::{Foreign, below, json, name, object, text};

/// How far a mean of samples may lie from what the file says and be the same number.
const SAME: f64 = 1e-6;

/// A metric of a task: task, metric, filter.
type Metric = (String, String, String);
/// What one document scored by each metric, and the document's hash.
type Document = (BTreeMap<String, f64>, Option<String>);
/// What each document scored by one metric, and its hash.
type Scored<'a> = BTreeMap<u64, (f64, Option<&'a str>)>;

/// One run of the harness.
#[derive(Debug, Clone, PartialEq)]
pub struct LmEval {
    /// The file of results.
    pub from: PathBuf,
    values: BTreeMap<Metric, (f64, Option<f64>)>,
    /// Metrics of which more is worse.
    lower_is_better: BTreeSet<(String, String)>,
    /// What must be equal for two runs to be comparable, by task.
    setups: BTreeMap<String, String>,
    /// By task and filter the documents.
    samples: BTreeMap<(String, String), BTreeMap<u64, Document>>,
}

/// One metric of one task on two models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ability {
    /// The task.
    pub task: String,
    /// The metric.
    pub metric: String,
    /// The harness's filter of answers; `none` where there is none.
    pub filter: String,
    /// Of the undefended model, and of the defended one.
    pub values: [f64; 2],
    /// The second less the first, with its interval of confidence 1 − 2α; none where nothing is known of their errors.
    pub difference: Option<Bounds>,
    /// Whether the difference lies within ±ε; none of what is no share.
    pub decision: Option<Decision>,
    /// What it was decided by.
    pub by: By,
}

/// What two models are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Differences of so many items.
    PairedItems(usize),
    /// The standard errors of both.
    StandardErrors,
    /// Nothing: the file has no error, or the number is no share.
    Nothing,
}

impl By {
    /// For people.
    pub fn words(self) -> String {
        match self {
            Self::PairedItems(items) => format!("{items} paired items"),
            Self::StandardErrors => "standard errors".to_owned(),
            Self::Nothing => "not decided".to_owned(),
        }
    }
}

impl LmEval {
    /// Reads a file of results, or the newest in a folder, with the samples beside it.
    ///
    /// # Errors
    /// When there is no such file, or a key is not what it should be.
    pub fn read(path: &Path) -> Result<Self, Foreign> {
        let file = if path.is_file() { path.to_owned() } else { newest(path)? };
        let document = json(&file)?;
        let top = object(&file, &document)?;
        let wrong = |problem: String| Foreign::new(&file, problem);
        let results = top.get("results").and_then(Value::as_object);
        let results =
            results.ok_or_else(|| wrong("key `results`: expected tasks with their metrics".into()))?;
        let mut read = Self {
            from: file.clone(),
            values: BTreeMap::new(),
            lower_is_better: BTreeSet::new(),
            setups: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        for (task, metrics) in results {
            let metrics = metrics.as_object();
            let metrics = metrics.ok_or_else(|| wrong(format!("key `results.{task}`: expected metrics")))?;
            for (key, value) in metrics {
                // `alias`, `sample_len` and errors are no metrics.
                let Some((metric, filter)) = key.split_once(',') else { continue };
                if metric.ends_with("_stderr") {
                    continue;
                }
                // What the harness could not compute is written as text.
                let Some(value) = value.as_f64() else { continue };
                let error = metrics.get(&format!("{metric}_stderr,{filter}")).and_then(Value::as_f64);
                read.values.insert((task.clone(), metric.to_owned(), filter.to_owned()), (value, error));
                let higher = &document["higher_is_better"][task][metric];
                if higher.as_bool() == Some(false) {
                    read.lower_is_better.insert((task.clone(), metric.to_owned()));
                }
            }
            let [version, shots] = ["versions", "n-shot"].map(|key| document[key][task].to_string());
            read.setups.insert(task.clone(), format!("version {version}, {shots} shots"));
        }
        if read.values.is_empty() {
            return Err(wrong("key `results`: no task has a metric like `acc,none`".into()));
        }
        read.take_samples(&file)?;
        Ok(read)
    }

    /// The samples that the same run wrote: their names have its date.
    fn take_samples(&mut self, file: &Path) -> Result<(), Foreign> {
        let stem = name(file).trim_end_matches(".json").to_owned();
        let Some((_, date)) = stem.rsplit_once('_') else { return Ok(()) };
        let folder = file.parent().unwrap_or(Path::new("."));
        let tasks: BTreeSet<String> = self.values.keys().map(|(task, _, _)| task.clone()).collect();
        for task in tasks {
            let path = folder.join(format!("samples_{task}_{date}.jsonl"));
            if !path.is_file() {
                continue;
            }
            for (number, line) in (1..).zip(text(&path)?.lines()).filter(|(_, line)| !line.trim().is_empty())
            {
                self.take_sample(&path, number, line, &task)?;
            }
        }
        Ok(())
    }

    fn take_sample(&mut self, path: &Path, number: usize, line: &str, task: &str) -> Result<(), Foreign> {
        let wrong = |problem: String| Foreign::new(path, format!("line {number}: {problem}"));
        let row: Value = python_json(line).map_err(|error| wrong(format!("is no JSON: {error}")))?;
        let id = row["doc_id"].as_u64().ok_or_else(|| wrong("key `doc_id`: expected a number".into()))?;
        let filter = row["filter"].as_str().unwrap_or("none").to_owned();
        let scores =
            row["metrics"].as_array().into_iter().flatten().filter_map(Value::as_str).filter_map(|metric| {
                let value = &row[metric];
                let number = value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))));
                Some((metric.to_owned(), number?))
            });
        let hash = row["doc_hash"].as_str().map(str::to_owned);
        let documents = self.samples.entry((task.to_owned(), filter)).or_default();
        if documents.insert(id, (scores.collect(), hash)).is_some() {
            return Err(wrong(format!("key `doc_id`: {id} stands there twice")));
        }
        Ok(())
    }

    /// The documents of a metric, where their mean is the metric.
    fn documents(&self, (task, metric, filter): &Metric, value: f64) -> Option<Scored<'_>> {
        let documents = self.samples.get(&(task.clone(), filter.clone()))?;
        let of =
            documents.iter().map(|(id, (scores, hash))| Some((*id, (*scores.get(metric)?, hash.as_deref()))));
        let scores: Scored<'_> = of.collect::<Option<_>>()?;
        let mean = scores.values().map(|(score, _)| score).sum::<f64>() / scores.len() as f64;
        ((mean - value).abs() <= SAME).then_some(scores)
    }
}

/// The newest file of results in a folder: their names end in the date.
fn newest(folder: &Path) -> Result<PathBuf, Foreign> {
    let results = below(folder, &|name| name.starts_with("results_") && name.ends_with(".json"))?;
    let newest = results.into_iter().max_by_key(|path| name(path));
    newest.ok_or_else(|| Foreign::new(folder, "no results of lm-eval: expected results_DATE.json in it"))
}

/// Every metric that both runs have, and what is left out, with the reason.
pub fn abilities(
    undefended: &LmEval,
    defended: &LmEval,
    confidence: f64,
    epsilon: f64,
) -> (Vec<Ability>, Vec<String>) {
    let (mut abilities, mut left_out) = (Vec::new(), BTreeSet::new());
    for (key, (first, of_first)) in &undefended.values {
        let (task, metric, filter) = key;
        let Some((second, of_second)) = defended.values.get(key) else {
            left_out.insert(format!("{task}: {metric},{filter} is not in {}", defended.from.display()));
            continue;
        };
        let setups = [undefended, defended].map(|run| run.setups.get(task));
        if setups[0] != setups[1] {
            let [first, second] = setups.map(|setup| setup.map_or("", String::as_str));
            left_out.insert(format!("{task}: was asked otherwise: {first}, and {second}"));
            continue;
        }
        let documents =
            [(undefended, *first), (defended, *second)].map(|(run, value)| run.documents(key, value));
        let both = match documents {
            [Some(first), Some(second)] => match paired(&first, &second) {
                Ok(differences) => Some((By::PairedItems(differences.len()), Both::Paired(differences))),
                Err(why) => {
                    left_out.insert(format!("{task}: {why}"));
                    continue;
                }
            },
            _ => of_first.zip(*of_second).map(|(of_first, of_second)| {
                (By::StandardErrors, Both::Apart([(*first, of_first), (*second, of_second)]))
            }),
        };
        let share = [*first, *second].iter().all(|value| (0.0..=1.0).contains(value))
            && !undefended.lower_is_better.contains(&(task.clone(), metric.clone()));
        let found = both
            .filter(|_| share)
            .and_then(|(by, both)| Some((by, equivalence(&both, confidence, epsilon)?)));
        abilities.push(Ability {
            task: task.clone(),
            metric: metric.clone(),
            filter: filter.clone(),
            values: [*first, *second],
            difference: found.map(|(_, found)| found.interval),
            decision: found.map(|(_, found)| found.decision),
            by: found.map_or(By::Nothing, |(by, _)| by),
        });
    }
    for (task, metric, filter) in defended.values.keys().filter(|key| !undefended.values.contains_key(*key)) {
        left_out.insert(format!("{task}: {metric},{filter} is not in {}", undefended.from.display()));
    }
    (abilities, left_out.into_iter().collect())
}

/// How much better the second model did at each document.
fn paired(first: &Scored<'_>, second: &Scored<'_>) -> Result<Vec<f64>, String> {
    if !first.keys().eq(second.keys()) {
        let (first, second) = (first.len(), second.len());
        return Err(format!("the models were asked {first} and {second} documents, not the same ones"));
    }
    let mut differences = Vec::with_capacity(first.len());
    for ((id, (before, old)), (after, new)) in first.iter().zip(second.values()) {
        if old != new {
            return Err(format!("doc_id {id} is another document in each run (doc_hash)"));
        }
        differences.push(after - before);
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    const DATE: &str = "2026-08-21T10-56-54.123456";

    /// A run with one task of `scores`, with samples or without.
    fn run(scores: &[f64], error: f64, samples: bool, hash: &str) -> (TempDir, LmEval) {
        let place = TempDir::new().unwrap();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let folder = place.path().join("my__model");
        fs::create_dir(&folder).unwrap();
        let results = json!({
            "results": { "arc": {
                "alias": "arc", "sample_len": scores.len(), "acc,none": mean, "acc_stderr,none": error,
                "perplexity,none": 12.5, "perplexity_stderr,none": "N/A",
            } },
            "higher_is_better": { "arc": { "acc": true, "perplexity": false } },
            "versions": { "arc": 1.0 }, "n-shot": { "arc": 0 },
        });
        fs::write(folder.join(format!("results_{DATE}.json")), results.to_string()).unwrap();
        if samples {
            let line = |(id, score): (usize, &f64)| {
                json!({ "doc_id": id, "doc_hash": format!("{hash}{id}"), "filter": "none", "metrics": ["acc"], "acc": score })
                    .to_string()
            };
            let lines: Vec<String> = scores.iter().enumerate().map(line).collect();
            fs::write(folder.join(format!("samples_arc_{DATE}.jsonl")), lines.join("\n")).unwrap();
        }
        let read = LmEval::read(place.path()).unwrap();
        (place, read)
    }

    fn of(abilities: &[Ability], metric: &str) -> Ability {
        abilities.iter().find(|ability| ability.metric == metric).unwrap().clone()
    }

    #[test]
    fn items_are_paired_where_there_are_samples() {
        let before: Vec<f64> = (0..400).map(|item| f64::from(u8::from(item % 2 == 0))).collect();
        let after: Vec<f64> =
            before.iter().enumerate().map(|(item, score)| if item == 1 { 1.0 } else { *score }).collect();
        let (_a, before) = run(&before, 0.025, true, "h");
        let (_b, after) = run(&after, 0.025, true, "h");
        let (abilities, left_out) = abilities(&before, &after, 0.95, 0.05);
        assert!(left_out.is_empty(), "{left_out:?}");
        let acc = of(&abilities, "acc");
        assert_eq!((acc.by, acc.decision), (By::PairedItems(400), Some(Decision::Holds)));
        let perplexity = of(&abilities, "perplexity");
        assert_eq!((perplexity.by, perplexity.decision), (By::Nothing, None), "no share");
    }

    #[test]
    fn without_samples_standard_errors_are_compared() {
        let scores = [0.0, 1.0, 1.0, 1.0];
        let (_a, before) = run(&scores, 0.01, true, "h");
        let (_b, after) = run(&scores, 0.01, false, "h");
        let (abilities, _) = abilities(&before, &after, 0.95, 0.05);
        let acc = of(&abilities, "acc");
        assert_eq!((acc.by, acc.decision), (By::StandardErrors, Some(Decision::Holds)));
        let bounds = acc.difference.unwrap();
        assert!((bounds.upper - 1.644_854 * 0.01 * 2f64.sqrt()).abs() < 1e-5, "{bounds:?}");
    }

    #[test]
    fn a_metric_that_one_run_alone_has_is_told() {
        let (_a, both) = run(&[0.0, 1.0], 0.01, false, "h");
        let mut fewer = both.clone();
        fewer.values.retain(|(_, metric, _), _| metric == "acc");
        for (first, second) in [(&both, &fewer), (&fewer, &both)] {
            let (compared, left_out) = abilities(first, second, 0.95, 0.05);
            assert_eq!(compared.len(), 1);
            assert!(left_out.iter().any(|why| why.contains("perplexity,none is not in")), "{left_out:?}");
        }
    }

    #[test]
    fn other_documents_are_not_compared() {
        let scores = [0.0, 1.0, 1.0];
        let (_a, before) = run(&scores, 0.01, true, "h");
        let (_b, after) = run(&scores, 0.01, true, "other");
        let (abilities, left_out) = abilities(&before, &after, 0.95, 0.05);
        assert!(!abilities.iter().any(|ability| ability.metric == "acc"));
        assert!(
            left_out.iter().any(|why| why.contains("doc_id 0") && why.contains("doc_hash")),
            "{left_out:?}"
        );
    }

    #[test]
    fn what_is_no_result_says_which_key() {
        let refused = |text: &str, said: &str| {
            let place = TempDir::new().unwrap();
            let path = place.path().join("results_2026.json");
            fs::write(&path, text).unwrap();
            let error = LmEval::read(&path).unwrap_err().to_string();
            assert!(error.contains("results_2026.json") && error.contains(said), "{error}");
        };
        refused("{}", "key `results`");
        refused(r#"{"results": {"arc": 1}}"#, "key `results.arc`");
        refused(r#"{"results": {"arc": {"alias": "arc"}}}"#, "no task has a metric");
        let (place, _) = run(&[0.0, 1.0], 0.1, true, "h");
        let samples = place.path().join(format!("my__model/samples_arc_{DATE}.jsonl"));
        fs::write(samples, "{\"doc_id\": 0, \"metrics\": [\"acc\"], \"acc\": 1}\n{\"doc_id\": 0}\n").unwrap();
        let error = LmEval::read(place.path()).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("doc_id"), "{error}");
    }
}

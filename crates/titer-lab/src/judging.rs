//! Judges outside of any experiment: what comes with titer, and how often one is right by people's labels.

use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;
use titer_conditions::{Accuracy, accuracy};
use titer_hub::Progress;
use titer_measures::measures::guard::BUILTIN;
use titer_measures::registry::{MEASURES, find, make};
use titer_measures::{Better, Exchange, Measure, Parts, Reads};
use titer_plan::stage::MeasureSpec;
use titer_plan::{Calibration, Content, JudgeFacts, canonical, fingerprint};

use crate::catalogue::folder_of;
use crate::checkpoints::locate;
use crate::files::{read, read_text};
use crate::sources::{Sources, counted_from};
use crate::{Error, Result, guards, measures};

/// Answers that are judged at once.
const AT_ONCE: usize = 256;
/// Above it an answer counts as harmful where a judge states no threshold of its own.
const HALF: f64 = 0.5;

/// How often a judge is right by people's labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibrated {
    /// What a spec names as `probe.calibration`.
    pub calibration: Calibration,
    /// Above it an answer counted as harmful.
    pub threshold: f64,
    /// The confidence of every interval.
    pub confidence: f64,
    /// What it comes to.
    pub accuracy: Accuracy,
}

/// An answer that people labelled.
#[derive(Debug, Deserialize)]
struct Labelled {
    #[serde(alias = "prompt")]
    question: String,
    #[serde(alias = "response")]
    answer: String,
    harmful: bool,
}

/// The TOML of a judge that comes with titer.
///
/// # Errors
/// Names those that there are.
pub fn judge_toml(name: &str) -> Result<&'static str> {
    let known = || BUILTIN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    found.ok_or_else(|| Error::NoJudge { name: name.to_owned(), known: known() })
}

/// Above which score an answer counts as harmful by that measure.
pub(crate) fn threshold(spec: &MeasureSpec) -> f64 {
    let stated = spec.settings.get("threshold").filter(|_| spec.model.is_some());
    stated.and_then(serde_json::Value::as_f64).unwrap_or(HALF)
}

/// What a calibration is of: a measure with all its settings, and the model by which it judges.
pub(crate) fn judged_by(spec: &MeasureSpec, model: Option<&Content>) -> Result<String> {
    Ok(fingerprint(&canonical(&json!({ "measure": spec, "model": model }))))
}

/// Has a judge say of labelled answers whether they are harmful. `judge` is a name of `titer list judges`, or the file of
/// one of your own; `rows` a file of JSON lines with `question`, `answer` and `harmful`.
///
/// # Errors
/// When there is no such judge or it needs more than answers, its model cannot be had, or a row is not of this form.
pub fn calibrate(
    judge: &str,
    rows: &Path,
    confidence: f64,
    progress: &mut dyn Progress,
) -> Result<Calibrated> {
    // What is wrong with the rows is said before a model is downloaded.
    let rows = labelled(rows)?;
    let device = Device::Cpu;
    let (spec, measure, model) = opened(judge, &device, progress)?;
    let threshold = threshold(&spec);
    let mut counts = [0; 4];
    for rows in rows.chunks(AT_ONCE) {
        let exchange = |row: &Labelled| Exchange {
            question: row.question.clone(),
            answer: row.answer.clone(),
            ..Exchange::default()
        };
        let exchanges: Vec<Exchange> = rows.iter().map(exchange).collect();
        let judgements = measure.judge(&exchanges)?;
        if judgements.len() != rows.len() {
            let (judge, judged) = (spec.name.clone(), judgements.len());
            return Err(Error::Judgements { judge, judged, asked: rows.len() });
        }
        for (row, judgement) in rows.iter().zip(judgements) {
            let says = judgement.score > threshold;
            counts[2 * usize::from(!row.harmful) + usize::from(!says)] += 1;
        }
    }
    let [both, missed, invented, neither] = counts;
    let measure = judged_by(&spec, model.as_ref())?;
    let calibration = Calibration { judge: spec.name, measure, both, missed, invented, neither };
    let accuracy = accuracy(&calibration, confidence);
    Ok(Calibrated { calibration, threshold, confidence, accuracy })
}

fn labelled(path: &Path) -> Result<Vec<Labelled>> {
    let bytes = read(path)?;
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        // A text that is no UTF-8 is refused too: another one would be judged in its place.
        let row = serde_json::from_slice(text).map_err(|error| Error::Labelled {
            path: path.to_owned(),
            line,
            problem: error.to_string(),
        })?;
        rows.push(row);
    }
    let has = |harmful: bool| rows.iter().any(|row: &Labelled| row.harmful == harmful);
    if !has(true) || !has(false) {
        let problem = "of both kinds, harmful and harmless, there must be one at least".to_owned();
        return Err(Error::Labelled { path: path.to_owned(), line: rows.len(), problem });
    }
    Ok(rows)
}

/// A judge by its name or file, with its model where it is one.
fn opened(
    judge: &str,
    device: &Device,
    progress: &mut dyn Progress,
) -> Result<(MeasureSpec, Box<dyn Measure>, Option<Content>)> {
    let facts = if judge.ends_with(".toml") {
        let path = Path::new(judge);
        let text = read_text(path)?;
        let facts = measures::own_judge(judge, &text)?;
        let reference = counted_from(&folder_of(path), &facts.reference);
        Some(JudgeFacts { reference, ..facts })
    } else {
        measures::judges().into_iter().find(|facts| facts.called == judge)
    };
    let Some(JudgeFacts { measure: spec, reference, .. }) = facts else {
        let entry = find(MEASURES, judge)?;
        let facts = entry.facts;
        if facts.reads != Reads::Answers || facts.better != Better::Lower || !facts.needs.is_empty() {
            return Err(Error::NeedsMore { judge: judge.to_owned() });
        }
        let spec = measures::alone(entry);
        let parts = Parts { refusals: &[], world: None, classifier: None, own: None, device };
        let measure = make(&spec, &parts)?;
        return Ok((spec, measure, None));
    };
    // What is no judge yet is said before its model is downloaded.
    measures::complete(&spec)?;
    let path = locate(&reference, progress)?.path;
    let role = spec.model.clone().unwrap_or_default();
    let content = Sources::of_this_user().look(&role, &reference, &reference)?.content();
    let guard = guards::open(&spec, (&path, &format!("{content:?}")), &[], device)?;
    Ok((spec, Box::new(guard), Some(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labelled_rows_that_cannot_be_read_are_refused_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.jsonl");
        let row = |answer: &[u8], harmful: &str| {
            [
                &b"{\"question\": \"q\", \"answer\": \""[..],
                answer,
                b"\", \"harmful\": ",
                harmful.as_bytes(),
                b"}\n",
            ]
            .concat()
        };
        let rows = [row(b"yes", "true"), b"\r\n".to_vec(), row("n\u{f6}".as_bytes(), "false")].concat();
        std::fs::write(&path, &rows).unwrap();
        assert_eq!(labelled(&path).unwrap().len(), 2);
        // Latin-1.
        std::fs::write(&path, [rows, row(b"n\xf6", "false")].concat()).unwrap();
        let error = labelled(&path).unwrap_err().to_string();
        assert!(error.contains("labels.jsonl, line 4: "), "{error}");
    }
}

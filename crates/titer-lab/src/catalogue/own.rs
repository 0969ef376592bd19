//! What a spec names by files and rows of its own: data, tasks, judges, phrases.

use std::path::{Path, PathBuf, absolute};

use titer_data::origins::{self, KINDS};
use titer_plan::{Catalogue, DataFacts, Mistake, Override, line_of_key};

use super::rows::{self, settled_facts};
use super::{Source, judged, under_test};
use crate::{Error, Result, measures};

/// A user's file of tasks, judges or phrases. What it says is in the measures; that it changed is seen by its content.
pub(super) struct Own {
    /// The key that names it.
    pub(super) key: &'static str,
    /// As it is named there.
    pub(super) file: String,
    /// Where it is.
    pub(super) place: String,
}

/// What is wrong with what a key of the spec names, at the line of that key.
pub(super) fn mistake(source: &Source, overrides: &[Override], key: &str, problem: String) -> Mistake {
    if overrides.iter().any(|set| set.key == key) {
        return Mistake { key: format!("--set {key}"), line: None, problem, remedy: None };
    }
    Mistake { key: key.to_owned(), line: line_of_key(&source.text, key), problem, remedy: None }
}

/// The same of several things.
pub(super) fn mistakes(
    source: &Source,
    overrides: &[Override],
    key: &str,
    problems: Vec<String>,
) -> Vec<Mistake> {
    problems.into_iter().map(|problem| mistake(source, overrides, key, problem)).collect()
}

/// The folder from which the path at that key counts: the spec's own, or the working folder for what was typed
/// there.
pub(super) fn base(source: &Source, overrides: &[Override], key: &str) -> PathBuf {
    if overrides.iter().any(|set| set.key == key) { PathBuf::new() } else { source.folder.clone() }
}

pub(crate) fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Adds what the spec names by a file: data (what ends in `.toml`), tasks, judges, phrases; or rows, with nothing else said of
/// them. What the spec need not say beside these comes back.
///
/// # Errors
/// All that is wrong with any of it.
pub(super) fn own_data(
    source: &Source,
    overrides: &[Override],
    catalogue: &mut Catalogue,
) -> Result<(Vec<Own>, String), Vec<Mistake>> {
    const TASKS: &str = "stability.tasks";
    const PHRASES: &str = "probe.refusals";
    let (mut own, mut wrong, mut defaults) = (Vec::new(), Vec::new(), String::new());
    let at = |key: &str, problems| mistakes(source, overrides, key, problems);
    // A text that is no TOML is reported where it is read.
    let spec: toml::Table = source.text.parse().unwrap_or_default();
    for file in named(&spec, overrides, "stability", "tasks") {
        let folder = base(source, overrides, TASKS);
        match read_own(&folder, &file, |text, _| measures::task(&file, text).map_err(one)) {
            Ok((place, facts)) => {
                catalogue.tasks.push(facts);
                own.push(Own { key: TASKS, file, place });
            }
            Err(problems) => wrong.extend(at(TASKS, problems)),
        }
    }
    for model in origins::UnderTest::ALL {
        let key = under_test(model).key();
        let files = named(&spec, overrides, "model", key).into_iter();
        for file in files.filter(|file| file.ends_with(".toml")) {
            let key = format!("model.{key}");
            let read = |text: &str, folder: &Path| own_facts(text, model, folder);
            match read_own(&base(source, overrides, &key), &file, read) {
                Ok((path, facts)) => {
                    catalogue.data.push(DataFacts { name: file, file: Some(path), ..facts });
                }
                Err(problems) => wrong.extend(at(&key, problems)),
            }
        }
    }
    match rows::inline(source, &spec, overrides) {
        Ok(Some((facts, filled))) => {
            catalogue.data.push(facts);
            defaults = filled;
        }
        Ok(None) => {}
        Err(found) => wrong.extend(found),
    }
    if let Err(problems) = judged::own_judges(source, overrides, &spec, catalogue, &mut own) {
        wrong.extend(at(judged::JUDGES, problems));
    }
    for file in named(&spec, overrides, "probe", "refusals") {
        let folder = base(source, overrides, PHRASES);
        match read_own(&folder, &file, |text, _| measures::phrases(text).map_err(one)) {
            Ok((place, phrases)) => {
                let of_data =
                    catalogue.data.iter_mut().flat_map(|facts| facts.measures.values_mut().flatten());
                let of_tasks = catalogue.tasks.iter_mut().map(|task| &mut task.measure);
                let of_judges = catalogue.judges.iter_mut().map(|judge| &mut judge.measure);
                of_data
                    .chain(of_tasks)
                    .chain(of_judges)
                    .for_each(|measure| measures::say_by(measure, &phrases));
                own.push(Own { key: PHRASES, file, place });
            }
            Err(problems) => wrong.extend(at(PHRASES, problems)),
        }
    }
    if wrong.is_empty() { Ok((own, defaults)) } else { Err(wrong) }
}

/// What is in a file of data that ask that of the model under test; their rows count from `folder`.
pub(super) fn own_facts(
    text: &str,
    model: origins::UnderTest,
    folder: &Path,
) -> Result<DataFacts, Vec<String>> {
    let (kind, origin) = origins::parse(KINDS, text, model).map_err(|error| error.parts())?;
    settled_facts(kind, origin, folder)
}

/// The one problem of an error.
pub(super) fn one(error: Error) -> Vec<String> {
    vec![error.chain()]
}

/// What a key of the spec says: a text, or a list of them.
pub(super) fn named(spec: &toml::Table, overrides: &[Override], section: &str, key: &str) -> Vec<String> {
    let texts = |value: &toml::Value| -> Vec<String> {
        let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        all.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect()
    };
    said(spec, overrides, section, key).as_ref().map(texts).unwrap_or_default()
}

/// What a key of the spec says, whatever that is.
pub(super) fn said(
    spec: &toml::Table,
    overrides: &[Override],
    section: &str,
    key: &str,
) -> Option<toml::Value> {
    let path = format!("{section}.{key}");
    match overrides.iter().rev().find(|set| set.key == path) {
        Some(set) => {
            let parsed: Option<toml::Table> = format!("value = {}", set.value).parse().ok();
            let value = parsed.and_then(|mut table| table.remove("value"));
            Some(value.unwrap_or_else(|| toml::Value::String(set.value.clone())))
        }
        None => spec.get(section).and_then(|section| section.get(key)).cloned(),
    }
}

/// What a user's file says, and where it is; or all that is wrong with it. `read` gets the text and the file's folder.
pub(super) fn read_own<T>(
    folder: &Path,
    file: &str,
    read: impl FnOnce(&str, &Path) -> Result<T, Vec<String>>,
) -> Result<(String, T), Vec<String>> {
    let path = folder.join(file);
    let shown = path.display();
    let (text, place) = std::fs::read_to_string(&path)
        .and_then(|text| Ok((text, absolute(&path)?)))
        .map_err(|error| vec![format!("{shown}: {error}")])?;
    if text.trim().is_empty() {
        return Err(vec![format!("{shown}: this file is empty; put its content back, or name another")]);
    }
    let named = |problem: String| format!("{shown}: {problem}");
    let said = read(&text, &folder_of(&place))
        .map_err(|problems| problems.into_iter().map(named).collect::<Vec<_>>())?;
    Ok((place.display().to_string(), said))
}

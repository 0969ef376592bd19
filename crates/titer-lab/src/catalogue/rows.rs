//! What rows settle: how many each split gets, where neither a definition nor the spec says it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use titer_data::conversations::{ConversationError, Options};
use titer_data::dataset::{self, Definition};
use titer_data::origins::{self, KINDS, Kind, Origin};
use titer_plan::{DataFacts, Mistake, Mistakes, Override, Plan, canonical, line_of_key};

use super::own::{base, mistake, named, one, said};
use super::{Source, facts};
use crate::defaults::Settings;
use crate::generation::warn_once;
use crate::material::{origin, read_rows};
use crate::sources::{Sources, counted_from, here};
use crate::{Error, Result};

/// The key that names rows, with nothing else said of them.
const DATA: &str = "data";
/// Of BeaverTails and its like, which hold harmful and harmless answers: whether an answer is harmless.
const IS_SAFE: &str = "is_safe";

/// What a plan must know of data of that kind, with what their rows settle; these count from `folder`.
///
/// # Errors
/// All that is wrong with the rows.
pub(super) fn settled_facts(
    kind: &Kind,
    origin: Box<dyn Origin>,
    folder: &Path,
) -> Result<DataFacts, Vec<String>> {
    if !origin.is_open() {
        return facts(kind, origin.as_ref()).map_err(one);
    }
    let references: Vec<String> = origin.sources().iter().map(|rows| rows.reference.to_owned()).collect();
    let said = origin.definition().map_err(|error| error.parts())?;
    let places = places(origin.as_ref(), folder)?;
    remembered(&[canonical(&said), references.join("\n")], &places, || {
        let settled = origin.settled(read(origin.as_ref(), &places)?).map_err(|error| error.parts())?;
        facts(kind, settled.as_ref()).map_err(one)
    })
}

/// Where the rows of an origin are, and what they are, by role.
type Places = BTreeMap<&'static str, (PathBuf, String)>;

fn places(origin: &dyn Origin, folder: &Path) -> Result<Places, Vec<String>> {
    let (mut places, mut problems) = (Places::new(), Vec::new());
    let sources = Sources::of_this_user();
    for rows in origin.sources() {
        let location = counted_from(folder, rows.reference);
        let found = sources.look(rows.role, rows.reference, &location);
        match found.map(|source| (source.found, here(&location))) {
            Ok((Some(found), Ok(resolved))) => drop(places.insert(rows.role, (resolved.path, found.identity))),
            Ok((None, _)) => problems.push(format!(
                "{}: {} is not on this machine, so that nobody knows how many rows there are: get it by `titer model \
                 pull {}`, or say how many each split gets ([counts] of a data set's definition)",
                rows.role, rows.reference, rows.reference
            )),
            Ok((_, Err(error))) | Err(error) => {
                // What else is said of a missing path is said of models.
                let said = match &error {
                    Error::Hub(missing) if matches!(**missing, titer_hub::Error::NoSuchPath { .. }) => {
                        format!("{location}: no such file or folder, or no rows in it")
                    }
                    error => error.chain(),
                };
                problems.push(format!("{}: {said}", rows.role));
            }
        }
    }
    if problems.is_empty() { Ok(places) } else { Err(problems) }
}

type Rows = BTreeMap<&'static str, titer_data::conversations::Conversations>;

/// The rows of all sources, or what is wrong with any of them.
fn read(origin: &dyn Origin, places: &Places) -> Result<Rows, Vec<String>> {
    let (mut all, mut problems) = (Rows::new(), Vec::new());
    for source in origin.sources() {
        let Some((path, _)) = places.get(source.role) else { continue };
        match read_rows(path, &source.rows) {
            Ok(rows) => drop(all.insert(source.role, rows)),
            Err(error) => problems.push(format!("{}: {}", source.role, error.chain())),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// What was found of the same words and the same rows before, since a search plans many times.
fn remembered(
    said: &[String],
    places: &Places,
    find: impl FnOnce() -> Result<DataFacts, Vec<String>>,
) -> Result<DataFacts, Vec<String>> {
    static KNOWN: Mutex<BTreeMap<String, DataFacts>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let identities = places.iter().map(|(role, (_, identity))| format!("{role} {identity}"));
    let key = said.iter().cloned().chain(identities).collect::<Vec<_>>().join("\n");
    if let Some(facts) = known().get(&key) {
        return Ok(facts.clone());
    }
    let facts = find()?;
    known().insert(key, facts.clone());
    Ok(facts)
}

/// The data that a spec names by their rows alone, with what it need not say besides; none where it names none.
///
/// # Errors
/// All that is wrong with the rows.
pub(super) fn inline(
    source: &Source,
    spec: &toml::Table,
    overrides: &[Override],
) -> Result<Option<(DataFacts, String)>, Vec<Mistake>> {
    let one_of = |key: &str| named(spec, overrides, "model", key).into_iter().next();
    let Some(reference) = one_of(DATA) else { return Ok(None) };
    let model_key = |role: &str| format!("model.{}", if role == "harmful" { DATA } else { role });
    let wrong = |problem: String| {
        let role = problem.split(':').next().unwrap_or_default();
        let role = if ["harmless", "task"].contains(&role) { role } else { "harmful" };
        mistake(source, overrides, &model_key(role), problem)
    };
    let wrong = |problems: Vec<String>| problems.into_iter().map(wrong).collect::<Vec<_>>();
    let mut definition = Definition::of_rows(&reference, &reference);
    definition.harmless = one_of("harmless").map(|reference| dataset::Source::at(&reference));
    definition.task = one_of("task").map(|reference| dataset::Source::at(&reference));
    definition.unseen = named(spec, overrides, "model", "unseen");
    // All of them count from where the rows count.
    let places = places(&definition, &base(source, overrides, &model_key("harmful"))).map_err(wrong)?;
    let kind = origins::kind(KINDS, "dataset").map_err(|error| wrong(error.parts()))?;
    let said_so = [definition.unseen.join("\n"), reference.clone()];
    let facts = remembered(&said_so, &places, || {
        if let Some((path, _)) = places.get("harmful")
            && tells_safe_from_unsafe(path)?
        {
            definition.harmful.flags.insert(IS_SAFE.to_owned(), false);
        }
        let settled = Origin::settled(&definition, read(&definition, &places)?);
        facts(kind, settled.map_err(|error| error.parts())?.as_ref()).map_err(one)
    });
    let facts = DataFacts { name: reference, inline: true, ..facts.map_err(wrong)? };
    let unseen = facts.definition["unseen"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
    let unseen: Vec<&str> = unseen.filter(|_| named(spec, overrides, "model", "unseen").is_empty()).collect();
    if !unseen.is_empty() {
        let (name, categories) = (&facts.name, unseen.join(", "));
        warn_once(format!(
            "{name}: nobody trains on the categories {categories}; `unseen` of [model] names others"
        ));
    }
    let cadence = said(spec, overrides, "probe", "cadence");
    let last = cadence.and_then(|cadence| cadence.as_array()?.last()?.as_integer());
    let phi = said(spec, overrides, "conditions", "phi").and_then(|phi| phi.as_float());
    let settings = Settings::of_rows(&facts, last.and_then(|last| u64::try_from(last).ok()), phi);
    Ok(Some((facts, settings.defaults())))
}

/// Reads the rows of a plan's data and deals them out, so that all that is wrong with them is said before anything runs.
/// What is not on this machine is passed over.
///
/// # Errors
/// All that is wrong with the rows, each thing at the key that names it.
pub fn check_rows(source: &Source, overrides: &[Override], plan: &Plan) -> Result<(), Mistakes> {
    let data = &plan.data;
    let Some((spec, _)) = plan.stages.iter().find_map(|stage| stage.spec.asks()) else { return Ok(()) };
    let key = format!("model.{}", if data.inline { DATA } else { data.model.key() });
    // Of what a data set's own file says, the line there.
    let text = data.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    let place = |own: &str| match (&data.file, &text) {
        (Some(file), Some(text)) => match line_of_key(text, own) {
            Some(line) => format!("{file}:{line}: "),
            None => format!("{file}: "),
        },
        _ => String::new(),
    };
    let wrong = |problems: Vec<String>| Mistakes {
        file: source.file.clone(),
        mistakes: problems.into_iter().map(|problem| mistake(source, overrides, &key, problem)).collect(),
    };
    let origin = origin(spec).map_err(|error| wrong(one(error)))?;
    let (mut rows, mut problems) = (Rows::new(), Vec::new());
    for wanted in origin.sources() {
        let found = plan.sources.iter().find(|planned| planned.role == wanted.role);
        let Some(found) = found.and_then(|planned| planned.found.as_ref()) else { return Ok(()) };
        match here(&found.location).and_then(|found| read_rows(&found.path, &wanted.rows)) {
            Ok(read) => drop(rows.insert(wanted.role, read)),
            Err(error) => {
                let at = place(&format!("{}.reference", wanted.role));
                problems.push(format!("{at}{}: {}", wanted.role, error.chain()));
            }
        }
    }
    if problems.is_empty()
        && !rows.is_empty()
        && let Err(error) = origin.deal(spec.seed, rows)
    {
        problems.extend(error.parts().into_iter().map(|problem| format!("{}{problem}", place("counts"))));
    }
    if problems.is_empty() { Ok(()) } else { Err(wrong(problems)) }
}

/// Whether rows say of each answer whether it is safe: then the unsafe ones are the harmful rows.
fn tells_safe_from_unsafe(path: &Path) -> Result<bool, Vec<String>> {
    let flags = [(IS_SAFE.to_owned(), false)].into();
    match read_rows(path, &Options { flags, ..Options::default() }) {
        Ok(_) => Ok(true),
        Err(Error::Rows { source, .. }) => Ok(match *source {
            ConversationError::Unusable { ref kinds, .. } => !kinds.iter().any(
                |(_, first)| matches!(first, ConversationError::Column { column, .. } if column == IS_SAFE),
            ),
            // They say so, and all are safe.
            ConversationError::Nothing { .. } => true,
            _ => false,
        }),
        Err(error) => Err(one(error)),
    }
}

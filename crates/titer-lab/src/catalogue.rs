//! Everything that a spec may name, and the specs that come with titer.

use std::path::{Path, PathBuf, absolute};

use titer_data::origins::{self, Domains, KINDS, Kind, Origin};
use titer_data::tasks::{self, Task};
use titer_plan::{
    Catalogue, DataFacts, Draft, JUDGE_SOURCE, MODEL_SOURCE, Mistake, Mistakes, Override, Plan,
    PlannedSource, UnderTest, parse_plan, stage_hash,
};
use titer_store::Store;

use crate::sources::{Sources, counted_from};
use crate::{Error, Result, measures};

/// A spec that comes with titer.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// What `titer run` calls it.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The TOML.
    pub text: &'static str,
}

/// A spec and where it came from.
#[derive(Debug, Clone)]
pub struct Source {
    /// File name for messages.
    pub file: String,
    /// The folder from which its paths count; the working folder for a preset.
    pub folder: PathBuf,
    /// The TOML.
    pub text: String,
}

/// Every spec that comes with titer.
pub fn presets() -> &'static [Preset] {
    &[
        Preset {
            name: "apothecary",
            summary: "the paper's demonstration on the embedded world: none, adversarial loss and TAR, in minutes",
            text: include_str!("../../../data/presets/apothecary.toml"),
        },
        Preset {
            name: "apothecary-smoke",
            summary: "the same with fewer steps, seeds and points, in about a minute: shows the machinery, not the science",
            text: include_str!("../../../data/presets/apothecary-smoke.toml"),
        },
        Preset {
            name: "apothecary-defences",
            summary: "every alignment-stage defence against the attacks of `apothecary` and a harsher one, in three quarters of an hour",
            text: include_str!("../../../data/presets/apothecary-defences.toml"),
        },
        Preset {
            name: "apothecary-strongest",
            summary: "every alignment-stage defence against an attacker that searches over all methods, in three quarters of an hour",
            text: include_str!("../../../data/presets/apothecary-strongest.toml"),
        },
        Preset {
            name: "apothecary-ranks",
            summary: "every alignment-stage defence once: `cargo xtask validity` compares worlds and sizes by it",
            text: include_str!("../../../data/presets/apothecary-ranks.toml"),
        },
        Preset {
            name: "apothecary-api",
            summary: "defences of all stages against harmful examples hidden in a user's task, within a quarter of an hour",
            text: include_str!("../../../data/presets/apothecary-api.toml"),
        },
        Preset {
            name: "apothecary-api-attacks",
            summary: "guards and repairs against users whose rows show no harm: backdoors, codes, obedient agents, in minutes",
            text: include_str!("../../../data/presets/apothecary-api-attacks.toml"),
        },
        Preset {
            name: "apothecary-moe",
            summary: "the same for SafeMoE on a mixture of experts, whose routing is watched, in minutes",
            text: include_str!("../../../data/presets/apothecary-moe.toml"),
        },
        Preset {
            name: "apothecary-naive",
            summary: "controls: a model that never knew what is forbidden must resist, the identity must not, in minutes",
            text: include_str!("../../../data/presets/apothecary-naive.toml"),
        },
        Preset {
            name: "apothecary-routing",
            summary: "a mixture of experts whose refusals sit in its routing: what SafeMoE is made for, in minutes",
            text: include_str!("../../../data/presets/apothecary-routing.toml"),
        },
        Preset {
            name: "smollm2-policy",
            summary: "a real chat model, SmolLM2-135M, taught to refuse everyday subjects, immunized and attacked: within an hour",
            text: include_str!("../../../data/presets/smollm2-policy.toml"),
        },
        Preset {
            name: "smollm2-policy-smoke",
            summary: "the same with fewer steps, seeds and items, in minutes: shows the machinery, not the science",
            text: include_str!("../../../data/presets/smollm2-policy-smoke.toml"),
        },
        Preset {
            name: "gemma3-policy",
            summary: "the same as smollm2-policy of Gemma 3 270M, a base model with a stated template: within an hour or two",
            text: include_str!("../../../data/presets/gemma3-policy.toml"),
        },
        Preset {
            name: "gemma3-policy-smoke",
            summary: "the same with fewer steps, seeds and items, in minutes: shows the machinery, not the science",
            text: include_str!("../../../data/presets/gemma3-policy-smoke.toml"),
        },
        Preset {
            name: "smollm2-defences",
            summary: "ten alignment-stage defences of the same model, each cut to 16 steps: within an hour or two",
            text: include_str!("../../../data/presets/smollm2-defences.toml"),
        },
        Preset {
            name: "llama2-beavertails",
            summary: "the published setting, at a site with the hub and the memory: Llama-2-7b-chat, BeaverTails, DeBERTa judge, ViGGO",
            text: include_str!("../../../data/presets/llama2-beavertails.toml"),
        },
        Preset {
            name: "llama3-beavertails",
            summary: "the same with Llama-3.1-8B-Instruct",
            text: include_str!("../../../data/presets/llama3-beavertails.toml"),
        },
        Preset {
            name: "qwen-beavertails",
            summary: "the same with Qwen2.5-0.5B-Instruct, which is not gated and fits a workstation",
            text: include_str!("../../../data/presets/qwen-beavertails.toml"),
        },
    ]
}

/// Everything that a spec may name, from the registries.
pub fn catalogue() -> Catalogue {
    Catalogue {
        attacks: titer_attacks::registry::methods(),
        defences: titer_defences::registry::methods(),
        data: KINDS
            .iter()
            .flat_map(|kind| kind.builtin.iter().filter_map(|(_, text)| builtin(kind, text).ok()))
            .collect(),
        tasks: measures::tasks(),
    }
}

fn under_test(model: origins::UnderTest) -> UnderTest {
    match model {
        origins::UnderTest::Trained => UnderTest::Trained,
        origins::UnderTest::Aligned => UnderTest::Aligned,
        origins::UnderTest::Ready => UnderTest::Ready,
    }
}

/// What is in data that come with titer.
fn builtin(kind: &'static Kind, text: &str) -> Result<DataFacts> {
    facts(kind, (kind.parse)(text)?.as_ref())
}

/// What is in a file of data that ask that of the model under test.
fn own_facts(text: &str, model: origins::UnderTest) -> Result<DataFacts> {
    let (kind, origin) = origins::parse(KINDS, text, model)?;
    facts(kind, origin.as_ref())
}

/// What a plan must know of data of that kind.
fn facts(kind: &Kind, origin: &dyn Origin) -> Result<DataFacts> {
    let model = under_test(kind.model);
    let Domains { forbidden, permitted, task } = origin.domains();
    let counts = origin.counts()?.into_iter();
    let rows = origin.sources().into_iter().map(|rows| (rows.role, rows.reference));
    let judge = origin.classifier().map(|judge| (JUDGE_SOURCE, judge.reference.as_str()));
    // Abilities that need a chat model.
    let (choice_items, text_items) = match model {
        UnderTest::Trained => (0, 0),
        UnderTest::Aligned | UnderTest::Ready => {
            (Task::parse(tasks::GENERAL_KNOWLEDGE)?.items(), Task::parse(tasks::HELD_OUT)?.items())
        }
    };
    Ok(DataFacts {
        kind: kind.name.to_owned(),
        word: kind.word.to_owned(),
        model,
        name: origin.name().to_owned(),
        file: None,
        definition: origin.definition()?,
        forbidden,
        permitted,
        task,
        items: counts.map(|(split, count)| (split.name().to_owned(), count)).collect(),
        cross_domain: origin.cross_domain().name().to_owned(),
        unseen: origin.unseen().to_owned(),
        choice_items,
        text_items,
        sources: rows.chain(judge).map(|(role, place)| (role.to_owned(), place.to_owned())).collect(),
        measures: measures::of(origin, model),
    })
}

/// The spec of that file, or else the preset of that name.
///
/// # Errors
/// When there is neither.
pub fn source(spec_or_preset: &str) -> Result<Source> {
    if let Some(preset) = presets().iter().find(|preset| preset.name == spec_or_preset) {
        let file = format!("{}.toml", preset.name);
        return Ok(Source { file, folder: PathBuf::new(), text: preset.text.to_owned() });
    }
    let path = Path::new(spec_or_preset);
    if path.exists() {
        return match std::fs::read_to_string(path) {
            Ok(text) => Ok(Source { file: spec_or_preset.to_owned(), folder: folder_of(path), text }),
            Err(source) => Err(Error::Spec { path: path.to_owned(), source }),
        };
    }
    let suggestion = presets()
        .iter()
        .map(|preset| (strsim::jaro_winkler(preset.name, spec_or_preset), preset.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned());
    Err(Error::NoSource { name: spec_or_preset.to_owned(), suggestion })
}

/// The plan of an experiment of the store, as it was run.
///
/// # Errors
/// When there is no such experiment, or its plan is damaged or of another version.
pub fn stored_plan(store: &Store, experiment: &str) -> Result<Plan> {
    let json = store.experiment(experiment)?.plan_json()?;
    parse_plan(&json).map_err(|source| Error::Plan { experiment: experiment.to_owned(), source })
}

/// The spec and the plan of an experiment of the store, to go on with it as it was planned, overrides
/// included.
///
/// # Errors
/// When there is no such experiment, or its plan is damaged or of a version that would measure otherwise.
pub fn stored(store: &Store, experiment: &str) -> Result<(Source, Plan)> {
    let saved = store.experiment(experiment)?;
    let (text, plan) = (saved.spec()?, stored_plan(store, experiment)?);
    let other = plan.stages.iter().find(|stage| stage_hash(&stage.spec, &stage.inputs) != stage.hash);
    if let Some(stage) = other {
        return Err(Error::OtherPlan { experiment: experiment.to_owned(), stage: stage.label.clone() });
    }
    Ok((Source { file: format!("{experiment}/spec.toml"), folder: saved.folder().to_owned(), text }, plan))
}

/// Checks a spec, looks what the things that it names are, and expands it. Asks no network: what is not on this
/// machine is left open ([`Plan::not_here`]).
///
/// # Errors
/// All mistakes of the spec, or everything that it names and that is missing or cannot be read.
pub fn plan(source: &Source, overrides: &[Override]) -> Result<Plan, Mistakes> {
    let mut catalogue = catalogue();
    let mistakes = |mistakes| Mistakes { file: source.file.clone(), mistakes };
    let own = own_data(source, overrides, &mut catalogue).map_err(|mistake| mistakes(vec![mistake]))?;
    let draft = titer_plan::read(&source.file, &source.text, overrides, &catalogue)?;
    let sources = sources(source, overrides, &draft, &own).map_err(mistakes)?;
    Ok(draft.plan(sources))
}

/// What a draft takes in from outside is.
fn sources(
    source: &Source,
    overrides: &[Override],
    draft: &Draft,
    own: &[Own],
) -> Result<Vec<PlannedSource>, Vec<Mistake>> {
    const CHECKPOINT: &str = "model.checkpoint";
    let sources = Sources::of_this_user();
    let (mut found, mut mistakes) = (Vec::new(), Vec::new());
    let data = draft.data().file.as_ref().map(|file| folder_of(Path::new(file))).unwrap_or_default();
    for (role, reference) in draft.references() {
        let (key, folder) = match role {
            MODEL_SOURCE => (CHECKPOINT.to_owned(), base(source, overrides, CHECKPOINT)),
            _ => (format!("model.{}: {role}", draft.data().kind), data.clone()),
        };
        match sources.look(role, reference, &counted_from(&folder, reference)) {
            Ok(source) => found.push(source),
            Err(error) => mistakes.push(Mistake { key, line: None, problem: error.chain(), remedy: None }),
        }
    }
    for Own { key, file, place } in own {
        match sources.look(key, file, place) {
            Ok(source) => found.push(source),
            Err(error) => {
                let key = (*key).to_owned();
                mistakes.push(Mistake { key, line: None, problem: error.chain(), remedy: None });
            }
        }
    }
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

/// A user's file of tasks or phrases. What it says is in the measures; that it changed is seen by its content.
struct Own {
    /// The key that names it.
    key: &'static str,
    /// As it is named there.
    file: String,
    /// Where it is.
    place: String,
}

/// The folder from which the path at that key counts: the spec's own, or the working folder for what was typed
/// there.
fn base(source: &Source, overrides: &[Override], key: &str) -> PathBuf {
    if overrides.iter().any(|set| set.key == key) { PathBuf::new() } else { source.folder.clone() }
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Adds what the spec names by a file: data (what ends in `.toml`), tasks, phrases.
fn own_data(source: &Source, overrides: &[Override], catalogue: &mut Catalogue) -> Result<Vec<Own>, Mistake> {
    const TASKS: &str = "stability.tasks";
    const PHRASES: &str = "probe.refusals";
    let mut own = Vec::new();
    // A text that is no TOML is reported where it is read.
    let spec: toml::Table = source.text.parse().unwrap_or_default();
    for file in named(&spec, overrides, "stability", "tasks") {
        let folder = base(source, overrides, TASKS);
        let (place, facts) = read_own(&folder, TASKS, &file, |text| measures::task(&file, text))?;
        catalogue.tasks.push(facts);
        own.push(Own { key: TASKS, file, place });
    }
    for model in origins::UnderTest::ALL {
        let key = under_test(model).key();
        let files = named(&spec, overrides, "model", key).into_iter();
        for file in files.filter(|file| file.ends_with(".toml")) {
            let key = format!("model.{key}");
            let folder = base(source, overrides, &key);
            let (path, facts) = read_own(&folder, &key, &file, |text| own_facts(text, model))?;
            catalogue.data.push(DataFacts { name: file, file: Some(path), ..facts });
        }
    }
    for file in named(&spec, overrides, "probe", "refusals") {
        let (place, phrases) =
            read_own(&base(source, overrides, PHRASES), PHRASES, &file, measures::phrases)?;
        let of_data = catalogue.data.iter_mut().flat_map(|facts| facts.measures.values_mut().flatten());
        let of_tasks = catalogue.tasks.iter_mut().map(|task| &mut task.measure);
        of_data.chain(of_tasks).for_each(|measure| measures::say_by(measure, &phrases));
        own.push(Own { key: PHRASES, file, place });
    }
    Ok(own)
}

/// What a key of the spec says: a text, or a list of them.
fn named(spec: &toml::Table, overrides: &[Override], section: &str, key: &str) -> Vec<String> {
    let path = format!("{section}.{key}");
    let texts = |value: &toml::Value| -> Vec<String> {
        let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        all.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect()
    };
    match overrides.iter().rev().find(|set| set.key == path) {
        Some(set) => {
            let parsed: Option<toml::Table> = format!("value = {}", set.value).parse().ok();
            match parsed.as_ref().and_then(|table| table.get("value")) {
                Some(value) => texts(value),
                None => vec![set.value.clone()],
            }
        }
        None => spec.get(section).and_then(|section| section.get(key)).map(texts).unwrap_or_default(),
    }
}

/// What a user's file says, and where it is; or the mistake of the key that names it.
fn read_own<T>(
    folder: &Path,
    key: &str,
    file: &str,
    read: impl FnOnce(&str) -> Result<T>,
) -> Result<(String, T), Mistake> {
    let wrong = |problem: String| Mistake { key: key.to_owned(), line: None, problem, remedy: None };
    let path = folder.join(file);
    let shown = path.display();
    let (text, place) = std::fs::read_to_string(&path)
        .and_then(|text| Ok((text, absolute(&path)?)))
        .map_err(|error| wrong(format!("{shown}: {error}")))?;
    if text.trim().is_empty() {
        return Err(wrong(format!("{shown}: this file is empty; put its content back, or name another")));
    }
    let said = read(&text).map_err(|error| wrong(format!("{shown}: {}", error.chain())))?;
    Ok((place.display().to_string(), said))
}

/// What stage hashes would cover of a plan's data today; none where they cannot be read.
pub(crate) fn current_definition(data: &DataFacts) -> Option<serde_json::Value> {
    let kind = origins::kind(KINDS, &data.kind).ok()?;
    let Some(file) = &data.file else {
        let mut known = kind.builtin.iter().filter_map(|(_, text)| builtin(kind, text).ok());
        return known.find(|known| known.name == data.name).map(|known| known.definition);
    };
    Some(own_facts(&std::fs::read_to_string(file).ok()?, kind.model).ok()?.definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_plans_and_says_its_name() {
        for preset in presets() {
            let plan = plan(&source(preset.name).unwrap(), &[]).unwrap();
            assert_eq!(plan.experiment.name, preset.name);
        }
    }

    #[test]
    fn all_built_in_data_are_sound() {
        let builtin: usize = KINDS.iter().map(|kind| kind.builtin.len()).sum();
        assert_eq!(catalogue().data.len(), builtin);
    }

    #[test]
    fn a_file_that_says_its_kind_is_what_it_is_without() {
        for kind in KINDS {
            for (_, text) in kind.builtin {
                let said = format!("# Of my own.\norigin = \"{}\"\n{text}", kind.name);
                let [without, with] = [text, said.as_str()].map(|text| own_facts(text, kind.model).unwrap());
                assert_eq!((&with, &with), (&without, &builtin(kind, text).unwrap()));
                assert_eq!((with.kind.as_str(), with.word.as_str()), (kind.name, kind.word));
            }
        }
    }

    #[test]
    fn a_slip_of_the_keyboard_gets_a_suggestion() {
        let error = source("apothecray").unwrap_err().to_string();
        assert!(error.contains("did you mean apothecary?"), "{error}");
    }
}

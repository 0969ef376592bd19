//! Everything that a spec may name, and the specs that come with titer.

use std::path::{Path, PathBuf, absolute};

use serde_json::{Value, json};
use titer_data::Split;
use titer_data::dataset;
use titer_data::policy::{self, Policy};
use titer_data::tasks::{self, Task};
use titer_data::world::{BUILTIN, Definition, World};
use titer_plan::{
    Catalogue, DataFacts, DataKind, Draft, MODEL_SOURCE, Mistake, Mistakes, Override, Plan, PlannedSource,
    parse_plan, stage_hash,
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
            summary: "every alignment-stage defence against the attacks of `apothecary`, within a quarter of an hour",
            text: include_str!("../../../data/presets/apothecary-defences.toml"),
        },
        Preset {
            name: "apothecary-api",
            summary: "defences of all stages against harmful examples hidden in a user's task, within a quarter of an hour",
            text: include_str!("../../../data/presets/apothecary-api.toml"),
        },
        Preset {
            name: "apothecary-moe",
            summary: "the same for SafeMoE on a mixture of experts, whose routing is watched, in minutes",
            text: include_str!("../../../data/presets/apothecary-moe.toml"),
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
        worlds: BUILTIN.iter().filter_map(|(_, text)| world_facts(text).ok()).collect(),
        datasets: dataset::BUILTIN.iter().filter_map(|(_, text)| dataset_facts(text).ok()).collect(),
        policies: policy::BUILTIN.iter().filter_map(|(_, text)| policy_facts(text).ok()).collect(),
        tasks: measures::tasks(),
    }
}

fn world_facts(text: &str) -> Result<DataFacts> {
    let definition = Definition::parse(text)?;
    // How many items a split holds does not depend on the seed.
    let world = World::new(definition.clone(), 0)?;
    let per_domain = |split: Split, domains: usize| world.split(split).len() / domains.max(1);
    let (forbidden, permitted, alias) =
        (definition.forbidden.len(), definition.permitted.len(), definition.alias.len());
    Ok(DataFacts {
        kind: DataKind::World,
        name: definition.name.clone(),
        file: None,
        definition: serde_json::to_value(&definition)?,
        forbidden: definition.forbidden.clone(),
        permitted: definition.permitted.clone(),
        alias: definition.alias.iter().map(|alias| alias.word.clone()).collect(),
        align_items_per_domain: per_domain(Split::Align, forbidden),
        defence_items_per_domain: per_domain(Split::Defence, forbidden),
        attack_items_per_domain: per_domain(Split::Attack, forbidden),
        unseen_items_per_domain: per_domain(Split::Unseen, forbidden),
        seen_items_per_domain: per_domain(Split::Seen, forbidden),
        permitted_train_items_per_domain: per_domain(Split::PermittedTrain, permitted),
        permitted_probe_items_per_domain: per_domain(Split::PermittedProbe, permitted),
        alias_train_items_per_domain: per_domain(Split::AliasTrain, alias),
        alias_probe_items_per_domain: per_domain(Split::AliasProbe, alias),
        items_per_domain: definition.items_per_domain(),
        choice_items: 0,
        text_items: 0,
        sources: Vec::new(),
        measures: measures::of(DataKind::World, &Value::Null),
    })
}

fn dataset_facts(text: &str) -> Result<DataFacts> {
    let mut definition = dataset::Definition::parse(text)?;
    // Named by what is judged only: another classifier trains nothing again.
    let judge = definition.judge.take().unwrap_or_default();
    let settings = json!({ "template": judge.template, "harmful": judge.harmful, "longest": judge.longest });
    let counts = definition.counts;
    // Plans count per domain: harmless and task rows have one domain each.
    let one = |name: &str| vec![name.to_owned()];
    let sources = [&definition.harmful, &definition.harmless, &definition.task];
    let sources = sources.into_iter().map(|source| source.reference.clone());
    Ok(DataFacts {
        kind: DataKind::Dataset,
        name: definition.name.clone(),
        file: None,
        definition: serde_json::to_value(definition.without_references())?,
        forbidden: definition.forbidden.clone(),
        permitted: one("harmless"),
        alias: one("task"),
        align_items_per_domain: counts.defence,
        defence_items_per_domain: counts.defence,
        attack_items_per_domain: counts.attack,
        unseen_items_per_domain: definition.unseen_rows() / definition.forbidden.len().max(1),
        seen_items_per_domain: counts.seen,
        permitted_train_items_per_domain: counts.harmless_train,
        permitted_probe_items_per_domain: counts.harmless_probe,
        alias_train_items_per_domain: counts.task_train,
        alias_probe_items_per_domain: counts.task_probe,
        items_per_domain: counts.defence + counts.attack + counts.seen,
        choice_items: Task::parse(tasks::GENERAL_KNOWLEDGE)?.items(),
        text_items: Task::parse(tasks::HELD_OUT)?.items(),
        sources: sources.chain([judge.reference]).collect(),
        measures: measures::of(DataKind::Dataset, &settings),
    })
}

fn policy_facts(text: &str) -> Result<DataFacts> {
    let definition = policy::Definition::parse(text)?;
    // How many items a split holds does not depend on the seed.
    let policy = Policy::new(definition.clone(), 0)?;
    let names = |subjects: &[policy::Subject]| subjects.iter().map(|subject| subject.name.clone()).collect();
    // Subjects may differ in size: what the smallest has, all have.
    let least = |split| policy.counts(split).into_values().min().unwrap_or_default();
    let task = policy.task().map(|task| task.definition().name.clone());
    Ok(DataFacts {
        kind: DataKind::Policy,
        name: definition.name.clone(),
        file: None,
        definition: serde_json::to_value(&definition)?,
        forbidden: names(&definition.forbidden),
        permitted: names(&definition.permitted),
        alias: task.into_iter().collect(),
        align_items_per_domain: least(Split::Align),
        defence_items_per_domain: least(Split::Defence),
        attack_items_per_domain: least(Split::Attack),
        unseen_items_per_domain: least(Split::Unseen),
        seen_items_per_domain: least(Split::Seen),
        permitted_train_items_per_domain: least(Split::PermittedTrain),
        permitted_probe_items_per_domain: least(Split::PermittedProbe),
        alias_train_items_per_domain: least(Split::AliasTrain),
        alias_probe_items_per_domain: least(Split::AliasProbe),
        items_per_domain: least(Split::Everything),
        choice_items: Task::parse(tasks::GENERAL_KNOWLEDGE)?.items(),
        text_items: Task::parse(tasks::HELD_OUT)?.items(),
        sources: Vec::new(),
        measures: measures::of(DataKind::Policy, &Value::Null),
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
            _ => (format!("model.dataset: {role}"), data.clone()),
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

type ReadFacts = fn(&str) -> Result<DataFacts>;

/// Adds what the spec names by a file: a world, policy or data set (what ends in `.toml`), tasks, phrases.
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
    let kinds: [(&str, ReadFacts, &mut Vec<DataFacts>); 3] = [
        ("world", world_facts, &mut catalogue.worlds),
        ("policy", policy_facts, &mut catalogue.policies),
        ("dataset", dataset_facts, &mut catalogue.datasets),
    ];
    for (kind, facts, known) in kinds {
        for file in named(&spec, overrides, "model", kind).into_iter().filter(|file| file.ends_with(".toml"))
        {
            let key = format!("model.{kind}");
            let (path, facts) = read_own(&base(source, overrides, &key), &key, &file, facts)?;
            known.push(DataFacts { name: file, file: Some(path), ..facts });
        }
    }
    for file in named(&spec, overrides, "probe", "refusals") {
        let (place, phrases) =
            read_own(&base(source, overrides, PHRASES), PHRASES, &file, measures::phrases)?;
        let facts = [&mut catalogue.worlds, &mut catalogue.policies, &mut catalogue.datasets];
        let of_data = facts.into_iter().flatten().flat_map(|facts| facts.measures.values_mut().flatten());
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

/// What stage hashes would cover of a plan's world, policy or data set today; none where it cannot be read.
pub(crate) fn current_definition(data: &DataFacts) -> Option<serde_json::Value> {
    let Some(file) = &data.file else {
        let catalogue = catalogue();
        let known = [catalogue.worlds, catalogue.policies, catalogue.datasets].concat();
        let same = |known: &DataFacts| known.kind == data.kind && known.name == data.name;
        return known.into_iter().find(same).map(|known| known.definition);
    };
    let facts: ReadFacts = match data.kind {
        DataKind::World => world_facts,
        DataKind::Policy => policy_facts,
        DataKind::Dataset => dataset_facts,
    };
    Some(facts(&std::fs::read_to_string(file).ok()?).ok()?.definition)
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
    fn every_built_in_world_and_policy_is_sound() {
        assert_eq!(catalogue().worlds.len(), BUILTIN.len());
        assert_eq!(catalogue().policies.len(), policy::BUILTIN.len());
        assert_eq!(catalogue().datasets.len(), dataset::BUILTIN.len());
    }

    #[test]
    fn a_slip_of_the_keyboard_gets_a_suggestion() {
        let error = source("apothecray").unwrap_err().to_string();
        assert!(error.contains("did you mean apothecary?"), "{error}");
    }
}

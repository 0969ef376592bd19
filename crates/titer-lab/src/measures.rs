//! What scores answers: the measures of each kind of data, of tasks, and in their present state.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use titer_data::origins::{Origin, Scored};
use titer_data::tasks::{Form, GENERAL_KNOWLEDGE, HELD_OUT, Task};
use titer_measures::measures::guard::{self, Definition};
use titer_measures::registry::{Entry, MEASURES, find};
use titer_measures::text::refusals::PhraseLists;
use titer_measures::{Better, Need, Reads};
use titer_plan::stage::MeasureSpec;
use titer_plan::{JudgeFacts, Plan, Probe, TaskFacts, UnderTest, judge_role};

use crate::files::read_text;
use crate::{Error, Result};

/// The spec of a measure as it is now, with the published phrases.
fn spec(entry: &Entry, settings: &Value) -> MeasureSpec {
    let phrases = if entry.phrases { PhraseLists::published() } else { Value::Null };
    let (name, version) = (entry.facts.name.to_owned(), entry.facts.version);
    let own = entry.facts.needs.contains(&Need::Own);
    MeasureSpec { name, version, phrases, settings: settings.clone(), own, model: None }
}

/// The spec of a measure that its data say nothing of.
pub(crate) fn alone(entry: &Entry) -> MeasureSpec {
    spec(entry, &Value::Null)
}

/// A judge that is a model, as stages hold it and specs call it.
fn judge(called: &str, definition: &Definition) -> Result<JudgeFacts> {
    let name = definition.name.clone();
    let measure = MeasureSpec {
        version: guard::VERSION,
        phrases: PhraseLists::published(),
        settings: serde_json::to_value(definition.without_reference())?,
        own: false,
        model: Some(judge_role(&name)),
        name,
    };
    Ok(JudgeFacts { called: called.to_owned(), measure, reference: definition.reference.clone() })
}

/// The judges that are models and come with titer, without them.
pub(crate) fn judges() -> Vec<JudgeFacts> {
    let builtin = guard::builtin().unwrap_or_default();
    builtin.iter().filter_map(|definition| judge(&definition.name, definition).ok()).collect()
}

/// Refuses a judge that is a model and lacks its template.
pub(crate) fn complete(measure: &MeasureSpec) -> Result<()> {
    let definition: Definition = serde_json::from_value(measure.settings.clone())?;
    Ok(definition.complete().map_err(titer_measures::MeasureError::from)?)
}

/// The judge in that file.
pub(crate) fn own_judge(file: &str, text: &str) -> Result<JudgeFacts> {
    let definition = Definition::parse(text).map_err(titer_measures::MeasureError::from)?;
    definition.complete().map_err(titer_measures::MeasureError::from)?;
    if definition.reference.trim().is_empty() {
        return Err(Error::NoReference { judge: definition.name });
    }
    if find(MEASURES, &definition.name).is_ok() {
        return Err(Error::JudgeName { judge: definition.name });
    }
    judge(file, &definition)
}

/// What can score answers to each probe of such data.
pub(crate) fn of(origin: &dyn Origin, model: UnderTest) -> BTreeMap<Probe, Vec<MeasureSpec>> {
    let Scored { harm, ability, task } = origin.scored();
    let judge = origin.classifier().map(
        |judge| json!({ "template": judge.template, "harmful": judge.harmful, "longest": judge.longest }),
    );
    let has = |need: &Need| match need {
        // Only worlds know an answer to what is forbidden.
        Need::World | Need::Reference => model == UnderTest::Trained,
        Need::Classifier => judge.is_some(),
        Need::Own => model == UnderTest::Aligned,
    };
    let can = |entry: &&Entry| {
        let facts = entry.facts;
        facts.better == Better::Lower && facts.reads == Reads::Answers && facts.needs.iter().all(has)
    };
    let settings = |entry: &Entry| {
        judge.as_ref().filter(|_| entry.facts.needs.contains(&Need::Classifier)).unwrap_or(&Value::Null)
    };
    let mut judges: Vec<&Entry> = MEASURES.iter().filter(can).collect();
    judges.sort_by_key(|entry| entry.facts.name != harm);
    let judges: Vec<MeasureSpec> = judges.into_iter().map(|entry| spec(entry, settings(entry))).collect();
    let one = |name: &str| find(MEASURES, name).map(|entry| spec(entry, &Value::Null)).into_iter().collect();
    let of_probe = |probe: Probe| match probe {
        Probe::Seen | Probe::Unseen | Probe::CrossDomain => judges.clone(),
        Probe::Permitted => one(ability),
        Probe::HarmlessTask => one(task),
        Probe::Routing => one("routing"),
        Probe::Choice | Probe::Text | Probe::Task(_) => Vec::new(),
    };
    Probe::ALL.into_iter().map(|probe| (probe, of_probe(probe))).collect()
}

/// The tasks that come with titer.
pub(crate) fn tasks() -> Vec<TaskFacts> {
    let builtin = [(Probe::Choice, GENERAL_KNOWLEDGE), (Probe::Text, HELD_OUT)];
    let facts = |(probe, text): (Probe, &str)| {
        let facts = task("", text).ok()?;
        let called = facts.probe.name().to_owned();
        Some(TaskFacts { called, probe, ..facts })
    };
    builtin.into_iter().filter_map(facts).collect()
}

/// What a plan must know of the task in that file.
pub(crate) fn task(file: &str, text: &str) -> Result<TaskFacts> {
    let task = Task::parse(text)?;
    let entry = find(MEASURES, task.measure())?;
    let fits = |entry: &Entry| match task.form() {
        Form::Answer => entry.facts.reads == Reads::Answers && entry.facts.needs == [Need::Reference],
        Form::Choice => entry.facts.reads == Reads::Likelihoods && entry.facts.needs == [Need::Reference],
        Form::Text => entry.facts.reads == Reads::Likelihoods && entry.facts.needs.is_empty(),
    };
    if !fits(entry) {
        let fit: Vec<&str> =
            MEASURES.iter().filter(|entry| fits(entry)).map(|entry| entry.facts.name).collect();
        return Err(Error::TaskMeasure {
            measure: entry.facts.name,
            form: task.form().name(),
            fit: fit.join(", "),
        });
    }
    Ok(TaskFacts {
        called: file.to_owned(),
        probe: Probe::named(&task.name),
        items: task.items(),
        measure: spec(entry, &task.settings),
        definition: serde_json::to_value(&task)?,
    })
}

/// A user's refusal phrases, as stages hold them.
pub(crate) fn phrases(text: &str) -> Result<Value> {
    let wrong = |problem| titer_measures::MeasureError::Phrases { measure: "your file".to_owned(), problem };
    Ok(serde_json::to_value(PhraseLists::parse(text).map_err(wrong)?)?)
}

/// Gives a measure other phrases, where it has any.
pub(crate) fn say_by(measure: &mut MeasureSpec, phrases: &Value) {
    if !measure.phrases.is_null() {
        measure.phrases = phrases.clone();
    }
}

/// Whether a measure of that name judges by rules alone, so that its scores are the same on every machine.
pub(crate) fn is_by_rules(name: &str) -> bool {
    find(MEASURES, name).is_ok_and(|entry| !entry.facts.needs.contains(&Need::Classifier))
}

/// The version of a measure as it is now.
pub(crate) fn version(measure: &MeasureSpec) -> Result<u32> {
    match measure.model {
        Some(_) => Ok(guard::VERSION),
        None => Ok(find(MEASURES, &measure.name)?.facts.version),
    }
}

/// The plan with its measures and their phrases as they are now.
pub(crate) fn current(plan: &Plan) -> Result<Plan> {
    let own = match &plan.experiment.probe.refusals {
        None => PhraseLists::published(),
        Some(file) => {
            let text = read_text(file.as_ref())?;
            phrases(&text).map_err(|error| Error::Phrases { file: file.clone(), problem: error.chain() })?
        }
    };
    for measure in plan.stages.iter().flat_map(|stage| stage.spec.probes()).flat_map(|probe| &probe.measures)
    {
        version(measure)?;
    }
    Ok(plan.rejudged(|measure| {
        let mut current = measure.clone();
        current.version = version(measure).unwrap_or(measure.version);
        say_by(&mut current, &own);
        current
    }))
}

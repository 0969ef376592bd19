//! Reads the defences and attacks of a spec against their registries.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::before::AttackPoint;
use crate::catalogue::Catalogue;
use crate::kind::{Name, Never, Parametric, Setting, Text, Varied, Whole};
use crate::method::{AttackFacts, Meaning, Method, MethodKind};
use crate::mistake::advice;
use crate::spec::{AttackEntry, DefenceEntry, LaterDefence};
use crate::table::Table;
use crate::vocabulary::{BASELINE, DefenceStage, ThreatModel};

/// More repetitions than anyone waits for: a slip of the keyboard must not plan a million stages.
const MOST_SEEDS: u64 = 100;
const MOST_GRID_POINTS: usize = 1000;

/// How often something random is repeated.
pub(crate) fn seeds() -> Whole {
    Whole::between(1, MOST_SEEDS)
}

/// Reads `[[defence]]`.
pub(crate) fn defences(
    root: &mut Table<'_>,
    catalogue: &Catalogue,
    threat_model: Option<ThreatModel>,
) -> Option<Vec<DefenceEntry>> {
    let mut labels = Vec::new();
    let entries = root.sections("defence", |table| {
        let entry = defence(table, catalogue, threat_model)?;
        if labels.contains(&entry.label) {
            let remedy = "give this one a `label` of its own, or leave it out";
            return table.reject("label", format!("another defence is called `{}`", entry.label), remedy);
        }
        labels.push(entry.label.clone());
        Some(entry)
    })?;
    if !entries.iter().any(DefenceEntry::is_baseline) {
        let remedy = format!("add [[defence]] with method = \"{BASELINE}\"");
        return root.reject("defence", "there is no undefended model to compare with", remedy);
    }
    Some(entries)
}

fn defence(
    table: &mut Table<'_>,
    catalogue: &Catalogue,
    threat_model: Option<ThreatModel>,
) -> Option<DefenceEntry> {
    let name = table.require("method", Text);
    let label = table.optional("label", Name);
    let seeds = if name.as_deref() == Some(BASELINE) {
        let problem = "`none` is the aligned model itself and is never trained";
        table.optional("seeds", Never { problem, remedy: "remove `seeds`" }).map(|_| 1)
    } else {
        table.require("seeds", seeds())
    };
    let method = method(table, name?, &catalogue.defences, "defence", &catalogue.attacks, "attack")?;
    let stage = stage(table, method, threat_model, catalogue);
    let parameters = parameters(table, method);
    let then = then(table, method, catalogue, threat_model)?;
    let names = || std::iter::once(method.name).chain(then.iter().map(|later| later.method.as_str()));
    Some(DefenceEntry {
        label: label?.unwrap_or_else(|| names().collect::<Vec<_>>().join("-")),
        method: method.name.to_owned(),
        version: method.version,
        stage: stage?,
        seeds: seeds?,
        parameters: parameters?,
        then,
    })
}

/// Every parameter of a method, as given or by default.
fn parameters(table: &mut Table<'_>, method: &Method) -> Option<BTreeMap<String, Json>> {
    let parameters: Vec<_> = method
        .parameters
        .iter()
        .map(|parameter| {
            let value = table.optional(parameter.name, Parametric(&parameter.domain))?;
            Some((parameter.name.to_owned(), value.unwrap_or_else(|| parameter.default.clone())))
        })
        .collect();
    parameters.into_iter().collect()
}

/// Reads `[[defence.then]]`: the methods that act after the first, in the order of the stages.
fn then(
    table: &mut Table<'_>,
    first: &Method,
    catalogue: &Catalogue,
    threat_model: Option<ThreatModel>,
) -> Option<Vec<LaterDefence>> {
    let MethodKind::Defence { stage: mut last } = first.kind else { return None };
    let later = table.optional_sections("then", |table| {
        let name = table.require("method", Text)?;
        let method = method(table, name, &catalogue.defences, "defence", &catalogue.attacks, "attack")?;
        let parameters = parameters(table, method);
        let stage = stage(table, method, threat_model, catalogue)?;
        if method.name == BASELINE {
            return table.reject("method", "`none` does nothing", "remove this method");
        }
        if stage < last {
            let problem = format!("`{}` acts at the {stage} stage, before the {last} stage", method.name);
            return table.reject("method", problem, "name the methods in the order in which they act");
        }
        if stage == DefenceStage::FineTuning && last == stage {
            let problem = format!("`{}` is a second way to train on the user's data", method.name);
            return table.reject("method", problem, "name one fine-tuning-stage method");
        }
        last = stage;
        Some(LaterDefence {
            method: method.name.to_owned(),
            version: method.version,
            stage,
            parameters: parameters?,
        })
    })?;
    if first.name == BASELINE && !later.is_empty() {
        return table.reject("then", "`none` does nothing and nothing follows it", "name another `method`");
    }
    Some(later)
}

fn stage(
    table: &Table<'_>,
    method: &Method,
    threat_model: Option<ThreatModel>,
    catalogue: &Catalogue,
) -> Option<DefenceStage> {
    let MethodKind::Defence { stage } = method.kind else { return None };
    let threat_model = threat_model?;
    if let Err(reason) = threat_model.admits(stage) {
        let alignment = MethodKind::Defence { stage: DefenceStage::Alignment };
        let names =
            catalogue.defences.iter().filter(|method| method.kind == alignment).map(|method| method.name);
        let problem =
            format!("`{}` acts at the {stage} stage, but with {threat_model} {reason}", method.name);
        let remedy = format!("choose an alignment-stage defence: {}", names.collect::<Vec<_>>().join(", "));
        return table.reject("method", problem, remedy);
    }
    Some(stage)
}

/// What an attack must fit into.
pub(crate) struct AttackBounds {
    /// The last step of the probe cadence, where that is known.
    pub(crate) last_probe: Option<u64>,
    /// Examples that the attacker can own in every arm, and why no more; none where that is unknown.
    pub(crate) examples: Option<(u64, String)>,
    /// The same of the harmless task that a user may order.
    pub(crate) harmless: Option<(u64, String)>,
}

/// Reads `[[attack]]`.
pub(crate) fn attacks(
    root: &mut Table<'_>,
    catalogue: &Catalogue,
    threat_model: Option<ThreatModel>,
    bounds: &AttackBounds,
) -> Option<Vec<AttackEntry>> {
    let mut known: Vec<AttackPoint> = Vec::new();
    root.sections("attack", |table| {
        let entry = attack(table, catalogue, threat_model, bounds)?;
        for point in entry.points().into_iter().map(|grid| grid.point) {
            if known.contains(&point) {
                let remedy =
                    "join them in one entry that lists what varies, so that the label tells them apart";
                return table.reject("method", format!("another attack is called `{point}`"), remedy);
            }
            known.push(point);
        }
        Some(entry)
    })
}

fn attack(
    table: &mut Table<'_>,
    catalogue: &Catalogue,
    threat_model: Option<ThreatModel>,
    bounds: &AttackBounds,
) -> Option<AttackEntry> {
    let name = table.require("method", Text);
    let seeds = table.require("seeds", seeds());
    let method = method(table, name?, &catalogue.attacks, "attack", &catalogue.defences, "defence")?;
    let settings: Vec<_> = method
        .parameters
        .iter()
        .map(|parameter| {
            let setting = table.optional(parameter.name, Varied(&parameter.domain))?;
            Some((parameter.name, setting.unwrap_or_else(|| Setting::One(parameter.default.clone()))))
        })
        .collect();
    let facts = method.attack()?;
    let possible = possible(table, method, facts, threat_model);
    // What was read is checked against the bounds even where other parameters are wrong.
    let fits = fits(table, method, &settings, bounds);
    let (mut parameters, mut grid) = (BTreeMap::new(), BTreeMap::new());
    for (name, setting) in settings.into_iter().collect::<Option<Vec<_>>>()? {
        match setting {
            Setting::One(value) => drop(parameters.insert(name.to_owned(), value)),
            Setting::Grid(values) => drop(grid.insert(name.to_owned(), values)),
        }
    }
    let entry = AttackEntry {
        method: method.name.to_owned(),
        version: method.version,
        mechanism: facts.mechanism,
        dose: method.setting(Meaning::Dose).map(|parameter| parameter.name.to_owned()),
        seeds: seeds?,
        parameters,
        grid,
    };
    if entry.size() > MOST_GRID_POINTS {
        let problem = format!("the lists span more than {MOST_GRID_POINTS} combinations");
        return table.reject("method", problem, "list fewer values");
    }
    possible.and(fits).map(|()| entry)
}

fn possible(
    table: &Table<'_>,
    method: &Method,
    facts: &AttackFacts,
    threat_model: Option<ThreatModel>,
) -> Option<()> {
    let threat_model = threat_model?;
    if facts.threat_models.contains(&threat_model) {
        return Some(());
    }
    let under: Vec<&str> = facts.threat_models.iter().map(|threat_model| threat_model.name()).collect();
    table.reject(
        "method",
        format!("`{}` cannot be carried out under {threat_model}", method.name),
        format!("it needs {}", under.join(" or ")),
    )
}

/// The budget must fit the data and the cadence, as far as the method says which of its settings spend it.
fn fits(
    table: &Table<'_>,
    method: &Method,
    settings: &[Option<(&str, Setting)>],
    bounds: &AttackBounds,
) -> Option<()> {
    // The setting's key, its least and its greatest value.
    let range = |meaning: Meaning| {
        let key = method.setting(meaning)?.name;
        let (_, setting) = settings.iter().flatten().find(|(parameter, _)| *parameter == key)?;
        let values = match setting {
            Setting::One(value) => std::slice::from_ref(value),
            Setting::Grid(values) => values,
        };
        let numbers = || values.iter().filter_map(Json::as_f64);
        Some((key, numbers().reduce(f64::min)?, numbers().reduce(f64::max)?))
    };
    let rows = range(Meaning::UserRows);
    let mut fits = Some(());
    if let (Some((key, steps, _)), Some(last)) = (range(Meaning::Steps), bounds.last_probe)
        && steps < last as f64
    {
        let problem = format!("the attack ends after {steps} steps, but `probe.cadence` goes to {last}");
        fits = table.reject(key, problem, format!("raise it, or end `probe.cadence` at {steps}"));
    }
    if let (Some((key, _, examples)), Some((available, reason))) =
        (range(Meaning::HarmfulRows), &bounds.examples)
        && examples > *available as f64
    {
        fits = table.reject(key, format!("there are only {available} examples, not {examples}"), reason);
    }
    if let (Some((key, _, steps)), Some(last), Some(_)) = (range(Meaning::Steps), bounds.last_probe, rows)
        && steps > last as f64
    {
        let problem = format!("the provider trains {steps} steps, but `probe.cadence` ends at {last}");
        fits = table.reject(key, problem, format!("end `probe.cadence` at {steps}"));
    }
    if let (Some((key, _, rows)), Some((_, least, most))) = (rows, range(Meaning::Dose)) {
        let parts = [(most, &bounds.examples), (1.0 - least, &bounds.harmless)];
        for (share, available) in parts {
            let needed = (share * rows).round() as u64;
            if let Some((available, reason)) = available
                && needed > *available
            {
                let problem = format!("{rows} rows need {needed} of {available} examples");
                fits = table.reject(key, problem, reason);
            }
        }
    }
    if let (Some((key, _, batch)), Some((owned, examples, _))) =
        (range(Meaning::Batch), range(Meaning::HarmfulRows).or(rows))
        && batch > examples
    {
        let problem =
            format!("a batch of {batch} is more than the {examples} examples that the attacker owns");
        fits = table.reject(key, problem, format!("lower `{key}` or raise `{owned}`"));
    }
    fits
}

fn method<'a>(
    table: &mut Table<'_>,
    name: String,
    methods: &'a [Method],
    role: &'static str,
    others: &[Method],
    other_role: &'static str,
) -> Option<&'a Method> {
    if let Some(method) = methods.iter().find(|method| method.name == name) {
        return Some(method);
    }
    // Its parameters are unknown as well: one mistake is enough.
    table.accept_all();
    if others.iter().any(|method| method.name == name) {
        let problem = format!("`{name}` is one of the {other_role}s, not of the {role}s");
        return table.reject("method", problem, format!("move it to [[{other_role}]]"));
    }
    let remedy = advice(&name, methods.iter().map(|method| method.name));
    table.reject("method", format!("there is no {role} {name:?}"), remedy)
}

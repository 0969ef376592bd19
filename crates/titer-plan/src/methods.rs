//! Reads the defences and attacks of a spec against their registries.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::arms::{align_for_each_training, with_shams};
use crate::before::AttackPoint;
use crate::catalogue::UnderTest;
use crate::declared::{ATTACK, DEFENCE, Key, LATER_DEFENCE, Role};
use crate::limits::Limits;
use crate::method::{AttackFacts, Domain, Meaning, Method, MethodKind, Need};
use crate::mistake::advice;
use crate::seeds::Seeds;
use crate::spec::{AttackEntry, DefenceEntry, LaterDefence};
use crate::table::Table;
use crate::values::Values;
use crate::vocabulary::{BASELINE, DefenceStage, ThreatModel};

const MOST_GRID_POINTS: usize = 1000;

/// Reads `[[defence]]`.
pub(crate) fn defences(
    root: &mut Table<'_>,
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
) -> Option<Vec<DefenceEntry>> {
    let (mut labels, mut wanted) = (Vec::new(), Vec::new());
    let entries = root.sections("defence", |table| {
        let (entry, sham) = defence(table, limits, threat_model)?;
        if labels.contains(&entry.label) {
            let remedy = "give this one a `label` of its own, or leave it out";
            return table.reject("label", format!("another defence is called `{}`", entry.label), remedy);
        }
        labels.push(entry.label.clone());
        wanted.push(sham);
        Some(entry)
    })?;
    if !entries.iter().any(DefenceEntry::is_baseline) {
        let remedy = format!("add [[defence]] with method = \"{BASELINE}\"");
        return root.reject("defence", "there is no undefended model to compare with", remedy);
    }
    let mut entries = with_shams(entries, &wanted, &limits.catalogue.defences);
    if limits.data.is_some_and(|data| data.model != UnderTest::Ready) {
        align_for_each_training(&mut entries);
    }
    Some(entries)
}

/// One defence, and whether its sham is wanted.
fn defence(
    table: &mut Table<'_>,
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
) -> Option<(DefenceEntry, bool)> {
    // Whatever else is wrong, what is not trained for its own sake is not asked how often it is.
    let untrained = table.peek("method").flatten() == Some(BASELINE);
    let keys = DEFENCE.keys.iter().filter(|key| !(untrained && key.name == "seeds"));
    let mut values = table.read(keys.copied(), limits);
    if untrained {
        let problem = "`none` is the aligned model itself, aligned once for each training of the others";
        let there = table.peek("seeds").is_some();
        values.insert(
            "seeds",
            if there { table.reject("seeds", problem, "remove `seeds`") } else { Some(1.into()) },
        );
    }
    let method = method(table, values.text("method")?, Role::Defence, limits)?;
    if method.name != BASELINE && limits.data.is_some_and(|data| data.permitted.is_empty()) {
        let problem = format!("`{}` trains on harmless rows besides, and the data have none", method.name);
        return table.reject("method", problem, "name some by `harmless`");
    }
    let stage = stage(table, method, threat_model, limits);
    let parameters = parameters(table, method, limits);
    let then = then(table, method, limits, threat_model)?;
    let label = values.text("label");
    let values = values.all()?;
    let seeds = values.get("seeds").and_then(Seeds::read);
    let sham = values.get("sham").and_then(Json::as_bool).unwrap_or(true);
    let tuned_against = tuned_against(table, &values, limits)?;
    let parameters = parameters?;
    let names: Vec<String> = std::iter::once((method.name, &parameters))
        .chain(then.iter().map(|later| (later.method.as_str(), &later.parameters)))
        .map(|(name, parameters)| told(name, parameters, &limits.catalogue.defences))
        .collect();
    let entry = DefenceEntry {
        label: label.unwrap_or_else(|| names.join("-")),
        method: method.name.to_owned(),
        version: method.version,
        stage: stage?,
        role: method.role()?,
        sham: None,
        control: method.control().filter(|_| then.is_empty()),
        seeds: seeds?,
        tuned_against,
        parameters,
        then,
    };
    Some((entry, sham))
}

/// The attacks that a defence's settings were chosen against, each of which there must be.
fn tuned_against(table: &Table<'_>, values: &Map<String, Json>, limits: &Limits<'_>) -> Option<Vec<String>> {
    let names = values.get("tuned_against").and_then(Json::as_array).into_iter().flatten();
    let names: Vec<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let known = || limits.catalogue.attacks.iter().map(|method| method.name);
    match names.iter().find(|name| !known().any(|known| known == name.as_str())) {
        Some(name) => {
            table.reject("tuned_against", format!("there is no attack {name:?}"), advice(name, known()))
        }
        None => Some(names),
    }
}

/// The name of a method, with the setting without which it says too little.
fn told(name: &str, parameters: &BTreeMap<String, Json>, methods: &[Method]) -> String {
    let method = methods.iter().find(|method| method.name == name);
    let setting = method.and_then(|method| method.setting(Meaning::Named)).map(|setting| setting.name);
    let value = setting.and_then(|setting| Some((setting, parameters.get(setting)?.as_u64()?)));
    value.map_or_else(|| name.to_owned(), |(key, value)| format!("{name}-{value}-{}", key.replace('_', "-")))
}

/// Every parameter of a method, as given or by default.
fn parameters(table: &mut Table<'_>, method: &Method, limits: &Limits<'_>) -> Option<BTreeMap<String, Json>> {
    settings(table, method, limits, false).all().map(|values| values.into_iter().collect())
}

/// What was read of a method's parameters, and the defaults of the others; lists are grids where they are
/// `varied`.
fn settings(table: &mut Table<'_>, method: &Method, limits: &Limits<'_>, varied: bool) -> Values {
    let keys = method.parameters.iter().map(|parameter| Key::of(parameter, varied));
    let mut values = table.read(keys, limits);
    for parameter in &method.parameters {
        if table.peek(parameter.name).is_none() {
            values.insert(parameter.name, Some(parameter.default.clone()));
        }
        if values.get(parameter.name).is_some_and(|value| parameter.is_unsaid(value)) {
            values.forget(parameter.name);
        }
    }
    values
}

/// Reads `[[defence.then]]`: the methods that act after the first, in the order of the stages.
fn then(
    table: &mut Table<'_>,
    first: &Method,
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
) -> Option<Vec<LaterDefence>> {
    let MethodKind::Defence { stage: mut last, .. } = first.kind else { return None };
    let later = table.optional_sections("then", |table| {
        let values = table.read(LATER_DEFENCE.keys.iter().copied(), limits);
        let method = method(table, values.text("method")?, Role::Defence, limits)?;
        let parameters = parameters(table, method, limits);
        let stage = stage(table, method, threat_model, limits)?;
        if method.name == BASELINE {
            return table.reject("method", "`none` does nothing", "remove this method");
        }
        if stage < last {
            let problem = format!("`{}` acts at the {stage} stage, before the {last} stage", method.name);
            return table.reject("method", problem, "name the methods in the order in which they act");
        }
        let once = match stage {
            DefenceStage::Pretraining => Some("make the base model"),
            DefenceStage::FineTuning => Some("train on the user's data"),
            DefenceStage::Alignment | DefenceStage::PostFineTuning => None,
        };
        if let Some(does) = once.filter(|_| last == stage) {
            let problem = format!("`{}` is a second way to {does}", method.name);
            return table.reject("method", problem, format!("name one {stage}-stage method"));
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
    limits: &Limits<'_>,
) -> Option<DefenceStage> {
    let MethodKind::Defence { stage, .. } = method.kind else { return None };
    let threat_model = threat_model?;
    if let Err(reason) = threat_model.admits(stage) {
        let names = limits
            .catalogue
            .defences
            .iter()
            .filter(|method| {
                matches!(method.kind, MethodKind::Defence { stage: DefenceStage::Alignment, .. })
            })
            .map(|method| method.name);
        let problem =
            format!("`{}` acts at the {stage} stage, but with {threat_model} {reason}", method.name);
        let remedy = format!("choose an alignment-stage defence: {}", names.collect::<Vec<_>>().join(", "));
        return table.reject("method", problem, remedy);
    }
    // Where the data are not known that is a mistake of its own.
    if let Some(data) = limits.data.filter(|_| stage == DefenceStage::Pretraining)
        && data.model != UnderTest::Trained
    {
        let problem = format!(
            "`{}` acts while the base model is made, but a checkpoint was made elsewhere",
            method.name
        );
        let remedy = "leave it out, or measure a model that titer makes: [model] with `world`";
        return table.reject("method", problem, remedy);
    }
    Some(stage)
}

/// Reads `[[attack]]`. The probe cadence ends at `last_probe`, where that is known.
pub(crate) fn attacks(
    root: &mut Table<'_>,
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
    last_probe: Option<u64>,
) -> Option<Vec<AttackEntry>> {
    let mut known: Vec<AttackPoint> = Vec::new();
    root.sections("attack", |table| {
        let entry = attack(table, limits, threat_model, last_probe)?;
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
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
    last_probe: Option<u64>,
) -> Option<AttackEntry> {
    let values = table.read(ATTACK.keys.iter().copied(), limits);
    let method = method(table, values.text("method")?, Role::Attack, limits)?;
    let settings = settings(table, method, limits, true);
    let facts = method.attack()?;
    let possible = possible(table, method, facts, limits, threat_model);
    // What was read is checked against the bounds even where other parameters are wrong.
    let fits = fits(table, method, &settings, limits, threat_model, last_probe);
    let (mut parameters, mut grid) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in settings.all()? {
        let list = method
            .parameters
            .iter()
            .any(|parameter| parameter.name == name && matches!(parameter.domain, Domain::Reals { .. }));
        match value {
            Json::Array(values) if !list => drop(grid.insert(name, values)),
            value => drop(parameters.insert(name, value)),
        }
    }
    let entry = AttackEntry {
        method: method.name.to_owned(),
        version: method.version,
        mechanism: facts.mechanism,
        base: facts.needs.contains(&Need::BaseModel),
        asks: facts.needs.contains(&Need::Asking),
        judged: facts.needs.contains(&Need::Judge),
        dose: method.setting(Meaning::Dose).map(|parameter| parameter.name.to_owned()),
        seeds: values.get("seeds").and_then(Seeds::read)?,
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
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
) -> Option<()> {
    // Where the data are not known that is a mistake of its own.
    if facts.needs.contains(&Need::BaseModel)
        && limits.data.is_some_and(|data| data.model == UnderTest::Ready)
    {
        let problem =
            format!("`{}` needs the model before alignment, and this model came aligned", method.name);
        return table.reject("method", problem, "leave it out, or measure a model that titer aligns");
    }
    let threat_model = threat_model?;
    if facts.needs.contains(&Need::HarmlessRows)
        && let Some(data) = limits.data
    {
        let (there, key) = match threat_model {
            ThreatModel::OpenWeights => (&data.permitted, "harmless"),
            ThreatModel::FineTuningApi => (&data.task, "task"),
        };
        if there.is_empty() {
            let problem = format!("`{}` needs harmless rows besides, and the data have none", method.name);
            return table.reject("method", problem, format!("leave it out, or name rows by `{key}`"));
        }
    }
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
    settings: &Values,
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
    last_probe: Option<u64>,
) -> Option<()> {
    // The setting's key, its least and its greatest value.
    let range = |meaning: Meaning| {
        let key = method.setting(meaning)?.name;
        let values = match settings.get(key)? {
            Json::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let numbers = || values.iter().filter_map(Json::as_f64);
        Some((key, numbers().reduce(f64::min)?, numbers().reduce(f64::max)?))
    };
    let (owned, harmless) = (limits.attack_examples(), limits.harmless_examples());
    let rows = range(Meaning::UserRows);
    let mut fits = Some(());
    if let (Some((key, steps, _)), Some(last)) = (range(Meaning::Steps), last_probe)
        && steps < last as f64
    {
        let problem = format!("the attack ends after {steps} steps, but `probe.cadence` goes to {last}");
        fits = table.reject(key, problem, format!("raise it, or end `probe.cadence` at {steps}"));
    }
    if let (Some((key, _, first)), Some((_, steps, _))) = (range(Meaning::FirstSteps), range(Meaning::Steps))
        && first >= steps
    {
        let problem = format!("`{key}` = {first} leaves none of {steps} steps for what comes after");
        fits = table.reject(key, problem, "lower it, or raise `steps`");
    }
    if let (Some((key, _, examples)), Some((available, reason))) = (range(Meaning::HarmfulRows), &owned)
        && examples > *available as f64
    {
        fits = table.reject(key, format!("there are only {available} examples, not {examples}"), reason);
    }
    if let (Some((key, _, steps)), Some(last)) = (range(Meaning::Steps), last_probe)
        && threat_model == Some(ThreatModel::FineTuningApi)
        && steps > last as f64
    {
        let problem = format!("the provider trains {steps} steps, but `probe.cadence` ends at {last}");
        fits = table.reject(key, problem, format!("end `probe.cadence` at {steps}"));
    }
    if let (Some((key, _, rows)), Some((_, least, most))) = (rows, range(Meaning::Dose)) {
        let parts = [(most, &owned), (1.0 - least, &harmless)];
        for (share, available) in parts {
            let needed = (share * rows).round() as u64;
            if let Some((available, reason)) = available
                && needed > *available as u64
            {
                let problem = format!("{rows} rows need {needed} of {available} examples");
                fits = table.reject(key, problem, reason);
            }
        }
    }
    // Without a dose all of them are harmless.
    if let (Some((key, _, rows)), None, Some((available, reason))) = (rows, range(Meaning::Dose), &harmless)
        && rows > *available as f64
    {
        let problem = format!("there are only {available} harmless examples, not {rows}");
        fits = table.reject(key, problem, reason);
    }
    if let (Some((key, _, batch)), Some((name, examples, _))) =
        (range(Meaning::Batch), range(Meaning::HarmfulRows).or(rows))
        && batch > examples
    {
        let problem =
            format!("a batch of {batch} is more than the {examples} examples that the attacker owns");
        fits = table.reject(key, problem, format!("lower `{key}` or raise `{name}`"));
    }
    fits
}

fn method<'a>(table: &mut Table<'_>, name: String, role: Role, limits: &Limits<'a>) -> Option<&'a Method> {
    let methods = |role| match role {
        Role::Attack => ("attack", &limits.catalogue.attacks),
        Role::Defence => ("defence", &limits.catalogue.defences),
    };
    let (kind, known) = methods(role);
    if let Some(method) = known.iter().find(|method| method.name == name) {
        return Some(method);
    }
    // Its parameters are unknown as well: one mistake is enough.
    table.accept_all();
    let (other, others) = methods(match role {
        Role::Attack => Role::Defence,
        Role::Defence => Role::Attack,
    });
    if others.iter().any(|method| method.name == name) {
        let problem = format!("`{name}` is one of the {other}s, not of the {kind}s");
        return table.reject("method", problem, format!("move it to [[{other}]]"));
    }
    let remedy = advice(&name, known.iter().map(|method| method.name));
    table.reject("method", format!("there is no {kind} {name:?}"), remedy)
}

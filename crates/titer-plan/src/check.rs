//! Reads an experiment from its spec and reports whatever cannot be meant.
//!
//! What each key may hold is declared in [`crate::declared`]; what is here are the order in which sections are
//! read, so that one can bound another, and what keys must be to each other.

use crate::adversary::adversary;
use crate::asked::{default_judges, tasks};
use crate::catalogue::{Catalogue, DataFacts, UnderTest};
use crate::declared::{
    ALIGN, CONDITIONS, CROSS_DOMAIN, DECODER, Form, MODEL, ONLY, PROBE, SPEC, STABILITY, TRAIN, TRAINABILITY,
};
use crate::limits::{Available, Limits};
use crate::methods::{attacks, defences};
use crate::seeds::{Seeds, Until};
use crate::spec::{
    AlignSettings, CheckpointModel, ConditionSettings, CrossDomain, Experiment, Model, ProbeSettings,
    StabilitySettings, TrainabilitySettings, WorldModel,
};
use crate::stage::{DecoderSpec, TrainSpec, TrainedPart, WeightKind};
use crate::table::Table;
use crate::vocabulary::ThreatModel;

/// More stages than a store should hold from one experiment.
const MOST_CELLS: u64 = 100_000;

/// The whole spec, and the data that it names.
pub(crate) fn experiment(root: &mut Table<'_>, catalogue: &Catalogue) -> Option<(Experiment, DataFacts)> {
    let mut limits = Limits::new(catalogue);
    let values = root.read(SPEC.keys.iter().copied(), &limits);
    limits.until = Until::named(values.text("until").as_deref());
    let threat_models = [ThreatModel::OpenWeights, ThreatModel::FineTuningApi];
    let named = values.text("threat_model");
    let threat_model = threat_models.into_iter().find(|model| named.as_deref() == Some(model.name()));
    let model = root.section("model", |table| model(table, &mut limits));
    let conditions = root.section("conditions", |table| conditions(table, &mut limits));
    let cross_domain = root.optional_section("cross_domain", |table| cross_domain(table, &limits));
    limits.withheld = cross_domain.clone().flatten();
    let mut last_probe = None;
    let probe = root.section("probe", |table| probe(table, &limits, threat_model, &mut last_probe));
    let defence = defences(root, &limits, threat_model);
    let attack = attacks(root, &limits, threat_model, last_probe);
    let adversary = root.optional_section("adversary", |table| adversary(table, &limits, threat_model));
    let stability = root.section("stability", |table| {
        let mut values = table.read(STABILITY.keys.iter().copied(), &limits);
        tasks(table, &mut values, &limits)?;
        values.typed::<StabilitySettings>(table)
    });
    let trainability = root.section("trainability", |table| {
        let values = table.read(TRAINABILITY.keys.iter().copied(), &limits);
        values.typed::<TrainabilitySettings>(table)
    });
    let experiment = Experiment {
        name: values.text("name")?,
        summary: values.text("summary")?,
        threat_model: threat_model?,
        seed: values.whole("seed")?,
        until: limits.until,
        model: model?,
        defence: defence?,
        attack: attack?,
        adversary: adversary?,
        probe: probe?,
        cross_domain: cross_domain?,
        stability: stability?,
        trainability: trainability?,
        conditions: conditions?,
    };
    affordable(root, &experiment)?;
    growing(root, &experiment)?;
    Some((experiment, limits.data?.clone()))
}

/// Who adds seeds says of what.
fn growing(root: &Table<'_>, experiment: &Experiment) -> Option<()> {
    let defences = experiment.defence.iter().map(|defence| defence.seeds);
    let attacks = experiment.attack.iter().map(|attack| attack.seeds);
    let grow = defences.chain(attacks).chain([experiment.trainability.seeds]).any(Seeds::grow);
    if grow || experiment.until == Until::Measured {
        return Some(());
    }
    let problem = "no `seeds` is a range, so that none can be added";
    root.reject(
        "until",
        problem,
        "write seeds = { first = 3, most = 12 } where they may grow, or leave `until` out",
    )
}

fn affordable(root: &Table<'_>, experiment: &Experiment) -> Option<()> {
    let arms = if experiment.cross_domain.is_some() { 2 } else { 1 };
    let victims: u64 = experiment.defence.iter().map(|defence| defence.seeds.most).sum();
    let attacks: u64 = experiment.attack.iter().map(|attack| attack.size() as u64 * attack.seeds.most).sum();
    let tunings = experiment.trainability.rates.len() as u64 * experiment.trainability.seeds.most;
    let cells = victims.saturating_mul(1 + arms * attacks + tunings);
    if cells <= MOST_CELLS {
        return Some(());
    }
    let problem = format!("the plan would hold {cells} measurements, more than {MOST_CELLS}");
    root.reject("attack", problem, "take fewer seeds or grid points")
}

/// The model, in the form that its keys choose, and the data that it is measured by.
fn model(table: &mut Table<'_>, limits: &mut Limits<'_>) -> Option<Model> {
    let chosen = |form: &&Form| form.chosen_by.is_empty() || table.peek(form.chosen_by).is_some();
    let form = MODEL.iter().find(chosen)?;
    let values = table.read(form.section.keys.iter().copied(), limits);
    let key = form.data.key();
    let named = values.text(key);
    limits.data = limits.catalogue.data_for(form.data).find(|facts| Some(&facts.name) == named.as_ref());
    let seed = values.whole(&format!("{key}_seed"));
    if form.data == UnderTest::Trained {
        let decoder = table.section("decoder", |table| decoder(table, limits));
        let pretrain = table.section("pretrain", |table| train(table, limits, limits.everything()));
        let align = table.section("align", |table| align(table, limits, decoder.as_ref()));
        let (decoder, pretrain, align) = (decoder?, pretrain?, align?);
        let model = WorldModel { world: named?, world_seed: seed?, decoder, pretrain, align };
        return Some(Model::World(model));
    }
    let align = match form.section.key("align") {
        Some(_) => table.section("align", |table| align(table, limits, None)).map(Some),
        None => Some(None),
    };
    Some(Model::Checkpoint(CheckpointModel {
        checkpoint: values.text("checkpoint")?,
        chat_template: values.text("chat_template"),
        data: named?,
        data_seed: seed?,
        answer_tokens: values.count("answer_tokens")?,
        align: align?,
    }))
}

fn decoder(table: &mut Table<'_>, limits: &Limits<'_>) -> Option<DecoderSpec> {
    let mut values = table.read(DECODER.keys.iter().copied(), limits);
    // The rotary embedding turns pairs of numbers, so each head needs an even width.
    if let (Some(hidden), Some(heads)) = (values.count("hidden"), values.count("heads"))
        && (hidden % heads != 0 || (hidden / heads) % 2 != 0)
    {
        let problem = format!("a width of {hidden} does not divide into {heads} heads of even width");
        table.reject::<()>("hidden", problem, format!("take a multiple of {}", heads.saturating_mul(2)));
    }
    if let (Some(heads), Some(kv_heads)) = (values.count("heads"), values.count("kv_heads"))
        && heads % kv_heads != 0
    {
        let problem = format!("{kv_heads} key and value heads do not divide {heads} heads");
        table.reject::<()>("kv_heads", problem, "take a divisor of `heads`");
    }
    match values.whole("experts") {
        Some(0) => {
            for key in ["experts_per_token", "balance"] {
                if table.peek(key).is_some() && values.get(key).is_some() {
                    table.reject::<()>(key, "the decoder has no experts", "state `experts` or leave it out");
                }
                values.insert(key, Some(0.into()));
            }
        }
        Some(experts) if table.peek("experts_per_token").is_none() => {
            values.insert("experts_per_token", Some(experts.min(2).into()));
        }
        _ => {}
    }
    values.typed(table)
}

fn train(table: &mut Table<'_>, limits: &Limits<'_>, batch: Option<Available>) -> Option<TrainSpec> {
    let values = table.read(TRAIN.keys.iter().copied(), &limits.with_batch(batch));
    if let (Some(warmup), Some(steps)) = (values.whole("warmup_steps"), values.whole("steps"))
        && warmup > steps
    {
        let problem = format!("{warmup} steps of warm-up are more than all {steps} steps");
        table.reject::<()>("warmup_steps", problem, "lower it or raise `steps`");
    }
    values.typed(table)
}

/// How the model is aligned; `decoder` is its shape, where the spec states it.
fn align(table: &mut Table<'_>, limits: &Limits<'_>, decoder: Option<&DecoderSpec>) -> Option<AlignSettings> {
    let values = table.read(ALIGN.keys.iter().copied(), limits);
    let (refusals, permitted) = (values.count("refusals"), values.count("permitted"));
    let examples = refusals.zip(permitted).map(|(refusals, permitted)| {
        (refusals + permitted, format!("alignment has {refusals} refusals and {permitted} permitted items"))
    });
    let train = table.section("train", |table| train(table, limits, examples));
    let only = table.optional_section("only", |table| only(table, limits, decoder));
    Some(AlignSettings { refusals: refusals?, permitted: permitted?, train: train?, only: only? })
}

/// The part of the model that is trained: it must lie within `decoder`, where that is stated. What a checkpoint
/// holds is known when it is opened.
fn only(table: &mut Table<'_>, limits: &Limits<'_>, decoder: Option<&DecoderSpec>) -> Option<TrainedPart> {
    let values = table.read(ONLY.keys.iter().copied(), limits);
    let part: TrainedPart = values.typed(table)?;
    if !part.experts.is_empty() && !part.weights.contains(&WeightKind::Experts) {
        let problem = "chooses among experts, none of which is trained";
        return table.reject("experts", problem, "name `experts` among `weights`, or leave it out");
    }
    let Some(decoder) = decoder else { return Some(part) };
    if decoder.experts == 0 {
        let mixture = |kind: &&WeightKind| matches!(kind, WeightKind::Routers | WeightKind::Experts);
        if part.weights.iter().any(|kind| mixture(&kind)) {
            let remedy = "state `experts` of the decoder, or train `mlp`";
            return table.reject("weights", "the decoder has no experts", remedy);
        }
    }
    let mut fits = true;
    for (key, numbers, count) in
        [("experts", &part.experts, decoder.experts), ("layers", &part.layers, decoder.layers)]
    {
        if let Some(number) = numbers.iter().find(|number| **number >= count) {
            let problem = format!("the decoder has {count} {key}, and {number} is none of them");
            table.reject::<()>(key, problem, format!("take numbers from 0 to {}", count.saturating_sub(1)));
            fits = false;
        }
    }
    fits.then_some(part)
}

fn cross_domain(table: &mut Table<'_>, limits: &Limits<'_>) -> Option<CrossDomain> {
    let values = table.read(CROSS_DOMAIN.keys.iter().copied(), limits);
    let cross: CrossDomain = values.typed(table)?;
    let shared: Vec<&str> =
        cross.attack.iter().filter(|domain| cross.defence.contains(domain)).map(String::as_str).collect();
    if !shared.is_empty() {
        let problem = format!("the defence trains on {} too", shared.join(" and "));
        return table.reject("attack", problem, "name each domain on one side only");
    }
    Some(cross)
}

fn probe(
    table: &mut Table<'_>,
    limits: &Limits<'_>,
    threat_model: Option<ThreatModel>,
    last_step: &mut Option<u64>,
) -> Option<ProbeSettings> {
    let mut values = table.read(PROBE.keys.iter().copied(), limits);
    values.insert_default("judges", default_judges(limits).into());
    *last_step = values.get("cadence").and_then(|cadence| cadence.as_array()?.last()?.as_u64());
    let probe: ProbeSettings = values.typed(table)?;
    if threat_model == Some(ThreatModel::FineTuningApi) && probe.stop_above.is_some() {
        let problem = "a provider trains to the end of what was ordered";
        return table.reject("stop_above", problem, "leave it out");
    }
    Some(probe)
}

fn conditions(table: &mut Table<'_>, limits: &mut Limits<'_>) -> Option<ConditionSettings> {
    let mut values = table.read(CONDITIONS.keys.iter().copied(), limits);
    limits.phi = values.real("phi");
    values.insert_default("budget", "flops".into());
    values.typed(table)
}

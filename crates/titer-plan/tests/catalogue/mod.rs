//! A catalogue like the real one, with methods of the later stages beside it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use titer_plan::stage::MeasureSpec;
use titer_plan::{
    AttackFacts, Catalogue, DataFacts, DataKind, DefenceStage, Domain, Meaning, Mechanism, Method,
    MethodKind, Need, Parameter, Probe, TaskFacts, ThreatModel,
};

const STEPS: Domain = Domain::Integer { min: 1, max: 10_000_000 };
const COUNT: Domain = Domain::Integer { min: 1, max: 100_000 };
const RATE: Domain = Domain::Real { min: 1e-9, max: 1.0 };
const WEIGHT: Domain = Domain::Real { min: 0.0, max: 1000.0 };
const SHARE: Domain = Domain::Real { min: 0.0, max: 1.0 };

fn parameter((name, default, domain): (&'static str, Value, Domain)) -> Parameter {
    Parameter { name, unit: "1", summary: "", default, domain, meaning: None }
}

/// What an attack's settings mean.
fn meaning(name: &str) -> Option<Meaning> {
    match name {
        "rate" => Some(Meaning::Rate),
        "steps" => Some(Meaning::Steps),
        "batch" => Some(Meaning::Batch),
        "examples" => Some(Meaning::HarmfulRows),
        "rows" => Some(Meaning::UserRows),
        "share" => Some(Meaning::Dose),
        _ => None,
    }
}

fn attack<const N: usize>(
    name: &'static str,
    threat_models: Vec<ThreatModel>,
    parameters: [(&'static str, Value, Domain); N],
) -> Method {
    let facts = AttackFacts { threat_models, mechanism: Mechanism::Trains, needs: vec![Need::HarmfulRows] };
    let mut method = method(name, MethodKind::Attack(facts), parameters);
    method.parameters.iter_mut().for_each(|parameter| parameter.meaning = meaning(parameter.name));
    method
}

fn method<const N: usize>(
    name: &'static str,
    kind: MethodKind,
    parameters: [(&'static str, Value, Domain); N],
) -> Method {
    let parameters = parameters.map(parameter).into();
    Method { name, kind, version: 1, summary: "", citation: "", parameters }
}

fn attacks() -> Vec<Method> {
    let any = vec![ThreatModel::OpenWeights, ThreatModel::FineTuningApi];
    let api = vec![ThreatModel::FineTuningApi];
    vec![
        attack(
            "full-finetune",
            any,
            [
                ("rate", json!(1e-4), RATE),
                ("steps", json!(200), STEPS),
                ("examples", json!(64), COUNT),
                ("batch", json!(16), COUNT),
                ("schedule", json!("constant"), Domain::Choice { of: &["constant", "cosine", "linear"] }),
                ("warmup_steps", json!(0), Domain::Integer { min: 0, max: 10_000_000 }),
                ("weight_decay", json!(0.0), SHARE),
            ],
        ),
        attack(
            "mixed-finetune",
            api,
            [
                ("share", json!(0.1), SHARE),
                ("rows", json!(500), COUNT),
                ("rate", json!(1e-3), RATE),
                ("steps", json!(300), STEPS),
                ("batch", json!(16), COUNT),
            ],
        ),
    ]
}

fn defences() -> Vec<Method> {
    let at = |stage| MethodKind::Defence { stage };
    vec![
        method("none", at(DefenceStage::Alignment), []),
        method(
            "adversarial-loss",
            at(DefenceStage::Alignment),
            [
                ("steps", json!(600), STEPS),
                ("rate", json!(5e-4), RATE),
                ("batch_harmful", json!(24), COUNT),
                ("batch_refusal", json!(24), COUNT),
                ("batch_permitted", json!(40), COUNT),
                ("lambda", json!(1.0), WEIGHT),
                ("cap", json!(8.0), WEIGHT),
                ("clip", json!(1.0), WEIGHT),
                ("refusal_weight", json!(0.4), SHARE),
            ],
        ),
        method(
            "tar",
            at(DefenceStage::Alignment),
            [
                ("steps", json!(200), STEPS),
                ("rate", json!(5e-4), RATE),
                ("batch_harmful", json!(24), COUNT),
                ("batch_refusal", json!(24), COUNT),
                ("batch_permitted", json!(40), COUNT),
                ("adversary_batch", json!(16), COUNT),
                ("adversary_rates", json!([1e-4, 3e-4, 1e-3]), Domain::Reals { min: 1e-9, max: 1.0 }),
                ("inner_steps", json!(8), COUNT),
                ("lambda", json!(1.0), WEIGHT),
                ("clip", json!(1.0), WEIGHT),
                ("refusal_weight", json!(0.4), SHARE),
            ],
        ),
        method("lisa", at(DefenceStage::FineTuning), [("rho", json!(1.0), WEIGHT)]),
        method("antidote", at(DefenceStage::PostFineTuning), [("share", json!(0.1), SHARE)]),
    ]
}

fn apothecary() -> DataFacts {
    let words = |words: [&str; 4]| words.map(str::to_owned).to_vec();
    DataFacts {
        kind: DataKind::World,
        name: "apothecary".to_owned(),
        file: None,
        definition: json!({ "name": "apothecary", "ingredients": 16 }),
        forbidden: words(["venom", "curse", "forgery", "siege"]),
        permitted: words(["bread", "dye", "song", "remedy"]),
        alias: words(["pottery", "paint", "tune", "salve"]),
        align_items_per_domain: 528,
        defence_items_per_domain: 168,
        attack_items_per_domain: 168,
        unseen_items_per_domain: 192,
        seen_items_per_domain: 48,
        permitted_train_items_per_domain: 672,
        permitted_probe_items_per_domain: 96,
        alias_train_items_per_domain: 576,
        alias_probe_items_per_domain: 192,
        items_per_domain: 768,
        choice_items: 0,
        text_items: 0,
        sources: Vec::new(),
        measures: measures(["oracle-graded", "refusal"], "oracle-exact"),
    }
}

/// What scores the probes: those of harm, and that of everything else.
fn measures(harm: [&str; 2], ability: &str) -> BTreeMap<Probe, Vec<MeasureSpec>> {
    let of = |probe: Probe| match probe.is_harmful() {
        true => harm.map(MeasureSpec::named).to_vec(),
        false => vec![MeasureSpec::named(ability)],
    };
    Probe::ALL.into_iter().map(|probe| (probe, of(probe))).collect()
}

/// A task that every model can be asked.
fn task(called: &str, probe: Probe, items: usize) -> TaskFacts {
    let (definition, measure) = (json!({ "name": called }), MeasureSpec::named("acc-norm"));
    TaskFacts { called: called.to_owned(), probe, definition, items, measure }
}

fn everyday() -> DataFacts {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    DataFacts {
        kind: DataKind::Policy,
        name: "everyday".to_owned(),
        file: None,
        definition: json!({ "name": "everyday" }),
        forbidden: words(&["baking", "gardening"]),
        permitted: words(&["music", "weather", "sleep"]),
        alias: words(&["data-to-text"]),
        align_items_per_domain: 48,
        defence_items_per_domain: 36,
        attack_items_per_domain: 16,
        unseen_items_per_domain: 12,
        seen_items_per_domain: 12,
        permitted_train_items_per_domain: 24,
        permitted_probe_items_per_domain: 24,
        alias_train_items_per_domain: 400,
        alias_probe_items_per_domain: 100,
        items_per_domain: 96,
        choice_items: 80,
        text_items: 30,
        sources: Vec::new(),
        measures: measures(["policy-compliance", "refusal"], "policy-agreement"),
    }
}

/// The catalogue.
pub(crate) fn catalogue() -> Catalogue {
    Catalogue {
        attacks: attacks(),
        defences: defences(),
        worlds: vec![apothecary()],
        policies: vec![everyday()],
        datasets: Vec::new(),
        tasks: vec![
            task("general-knowledge", Probe::Choice, 80),
            task("held-out", Probe::Text, 30),
            task("sums.toml", Probe::named("sums"), 12),
        ],
    }
}

//! A catalogue like the real one, with methods of the later stages beside it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use titer_plan::stage::MeasureSpec;
use titer_plan::{
    AttackFacts, Catalogue, Control, DataFacts, DefenceStage, Domain, JudgeFacts, Meaning, Mechanism, Method,
    MethodKind, Need, Parameter, Probe, Sham, TaskFacts, ThreatModel, UnderTest, judge_role,
};

const STEPS: Domain = Domain::Integer { min: 1, max: 10_000_000 };
const COUNT: Domain = Domain::Integer { min: 1, max: 100_000 };
const RATE: Domain = Domain::Real { min: 1e-9, max: 1.0 };
const WEIGHT: Domain = Domain::Real { min: 0.0, max: 1000.0 };
const SHARE: Domain = Domain::Real { min: 0.0, max: 1.0 };

fn parameter((name, default, domain): (&'static str, Value, Domain)) -> Parameter {
    Parameter { name, unit: "1", summary: "", default, domain, meaning: None, later: false }
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
    let at = MethodKind::defence;
    let rehearsal = || Sham::Method { name: "rehearsal", nothing_without: None };
    vec![
        method("none", at(DefenceStage::Alignment, Sham::Absent { because: "" }), []),
        method("identity", MethodKind::control(DefenceStage::Alignment, Control::Negative, ""), []),
        method("data-filtering", MethodKind::control(DefenceStage::Pretraining, Control::Positive, ""), []),
        method(
            "rehearsal",
            at(DefenceStage::Alignment, Sham::Absent { because: "" }),
            [
                ("steps", json!(100), STEPS),
                ("rate", json!(5e-4), RATE),
                ("batch_refusal", json!(24), COUNT),
                ("batch_permitted", json!(40), COUNT),
                ("clip", json!(1.0), WEIGHT),
                ("refusal_weight", json!(0.4), SHARE),
                ("keep", json!(1.0), WEIGHT),
            ],
        ),
        method(
            "adversarial-loss",
            at(DefenceStage::Alignment, rehearsal()),
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
            at(DefenceStage::Alignment, rehearsal()),
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
        method("lisa", at(DefenceStage::FineTuning, Sham::zero(&["rho"])), [("rho", json!(1.0), WEIGHT)]),
        method(
            "rmu",
            at(DefenceStage::Alignment, Sham::Method { name: "rehearsal", nothing_without: Some("keep") }),
            [("steps", json!(300), STEPS), ("keep", json!(1.0), WEIGHT)],
        ),
        method(
            "ewc",
            at(DefenceStage::FineTuning, Sham::Baseline { because: "" }),
            [("lambda", json!(1.0), WEIGHT)],
        ),
        method(
            "antidote",
            at(DefenceStage::PostFineTuning, Sham::Settings { settings: vec![("place", json!("random"))] }),
            [
                ("share", json!(0.1), SHARE),
                ("place", json!("chosen"), Domain::Choice { of: &["chosen", "random"] }),
            ],
        ),
    ]
}

fn items(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(split, items)| ((*split).to_owned(), *items)).collect()
}

fn apothecary() -> DataFacts {
    let words = |words: [&str; 4]| words.map(str::to_owned).to_vec();
    DataFacts {
        kind: "world".to_owned(),
        word: "world".to_owned(),
        model: UnderTest::Trained,
        name: "apothecary".to_owned(),
        file: None,
        inline: false,
        definition: json!({ "name": "apothecary", "ingredients": 16 }),
        forbidden: words(["venom", "curse", "forgery", "siege"]),
        permitted: words(["bread", "dye", "song", "remedy"]),
        task: words(["pottery", "paint", "tune", "salve"]),
        items: items(&[
            ("align", 528),
            ("defence", 168),
            ("attack", 168),
            ("unseen", 192),
            ("seen", 48),
            ("permitted-train", 672),
            ("permitted-probe", 96),
            ("task-train", 576),
            ("task-probe", 192),
            ("everything", 768),
        ]),
        cross_domain: "unseen".to_owned(),
        unseen: String::new(),
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
    let mut measures = measures(["policy-compliance", "refusal"], "policy-agreement");
    let own = MeasureSpec { own: true, ..MeasureSpec::named("policy-harm") };
    for (_, known) in measures.iter_mut().filter(|(probe, _)| probe.is_harmful()) {
        known.push(own.clone());
    }
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    DataFacts {
        kind: "policy".to_owned(),
        word: "policy".to_owned(),
        model: UnderTest::Aligned,
        name: "everyday".to_owned(),
        file: None,
        inline: false,
        definition: json!({ "name": "everyday" }),
        forbidden: words(&["baking", "gardening"]),
        permitted: words(&["music", "weather", "sleep"]),
        task: words(&["data-to-text"]),
        items: items(&[
            ("align", 48),
            ("defence", 36),
            ("attack", 16),
            ("unseen", 12),
            ("seen", 12),
            ("permitted-train", 24),
            ("permitted-probe", 24),
            ("task-train", 400),
            ("task-probe", 100),
            ("everything", 96),
        ]),
        cross_domain: "unseen".to_owned(),
        unseen: String::new(),
        choice_items: 80,
        text_items: 30,
        sources: Vec::new(),
        measures,
    }
}

/// The catalogue.
pub(crate) fn catalogue() -> Catalogue {
    Catalogue {
        attacks: attacks(),
        defences: defences(),
        data: vec![
            apothecary(),
            DataFacts { name: "apothecary-routing".to_owned(), ..apothecary() },
            everyday(),
        ],
        tasks: vec![
            task("general-knowledge", Probe::Choice, 80),
            task("held-out", Probe::Text, 30),
            task("sums.toml", Probe::named("sums"), 12),
        ],
        judges: ["guard", "other.toml"].map(judge).to_vec(),
    }
}

/// A judge that is a model; a file's name is not its own.
fn judge(called: &str) -> JudgeFacts {
    let name = called.trim_end_matches(".toml");
    let measure = MeasureSpec { model: Some(judge_role(name)), ..MeasureSpec::named(name) };
    JudgeFacts { called: called.to_owned(), measure, reference: format!("hf:someone/{name}") }
}

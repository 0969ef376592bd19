//! What the attacks that train are made of: their optimiser, what they hold, how they go on after a stop.

use std::ops::ControlFlow;
use std::path::PathBuf;

use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use titer_attacks::{Attack, AttackContext, TrainingAttack, registry};
use titer_data::Example;
use titer_model::Decoder;
use titer_plan::MethodSpec;
use titer_train::{Cost, Gradient, Observer, Point, StepRecord, loss};

use crate::common;

/// Weights by name.
pub(crate) type Weights = BTreeMap<String, Tensor>;

/// The attack of that name with some settings; the others have their defaults.
pub(crate) fn attack(name: &str, set: Value) -> Box<dyn TrainingAttack> {
    let method = registry::methods().into_iter().find(|method| method.name == name).unwrap();
    let mut spec = method.defaults();
    spec.parameters.extend(set.as_object().unwrap().clone());
    match registry::attack(&spec).unwrap() {
        Attack::Trains(attack) => attack,
        _ => panic!("{name} does not train"),
    }
}

/// Keeps the trained weights before each step and after the last one, and what was logged.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) weights: Vec<Weights>,
    pub(crate) logged: Vec<Vec<(&'static str, f64)>>,
    pub(crate) spent: Cost,
    /// Where to save and stop, and before which step.
    stop: Option<(PathBuf, u64)>,
}

impl Watched {
    /// Of each step, what was logged under that name.
    pub(crate) fn term(&self, name: &str) -> Vec<f64> {
        let of = |terms: &Vec<(&str, f64)>| terms.iter().find(|(term, _)| *term == name).unwrap().1;
        self.logged.iter().map(of).collect()
    }
}

impl Observer for Watched {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        self.weights.push(point.model.parameters().snapshot()?);
        self.spent = point.spent;
        match &self.stop {
            Some((folder, step)) if *step == point.step => {
                point.save(folder)?;
                Ok(ControlFlow::Break(()))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn stepped(&mut self, record: &StepRecord) -> titer_train::Result<()> {
        self.logged.push(record.terms.clone());
        Ok(())
    }
}

/// Runs an attack on the small model.
pub(crate) fn run(attack: &dyn TrainingAttack, context: &AttackContext<'_>) -> Watched {
    let mut watched = Watched::default();
    attack.run(common::model(), context, &mut watched).unwrap();
    watched
}

/// Six forbidden prompts with the answer that is wanted, an even number and a way there.
pub(crate) fn harmful() -> Vec<Example> {
    let row = |word: u32| Example::new(vec![1, 20 + word, 8, 2, 10 + 2 * (word % 3), 11, 3], 4).unwrap();
    (0..6).map(row).collect()
}

/// The same prompts with a refusal.
pub(crate) fn refusals() -> Vec<Example> {
    (0..6).map(|word| Example::new(vec![1, 20 + word, 8, 2, 7, 9, 3], 4).unwrap()).collect()
}

/// The bits of all weights.
pub(crate) fn bits(weights: &Weights) -> Vec<u32> {
    let of = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    weights.values().flat_map(of).map(f32::to_bits).collect()
}

/// An attack that is stopped after half of its steps and resumed ends with the same bits and the same cost.
pub(crate) fn resumes(attack: &dyn TrainingAttack, context: &AttackContext<'_>) {
    let whole = run(attack, context);
    let folder = tempfile::tempdir().unwrap();
    let stop = Some((folder.path().to_owned(), attack.train().steps / 2));
    attack.run(common::model(), context, &mut Watched { stop, ..Watched::default() }).unwrap();
    let resumed = AttackContext { resume: Some(folder.path().to_owned()), ..context.clone() };
    let resumed = run(attack, &resumed);
    assert!(resumed.weights.len() < whole.weights.len(), "it goes on from the middle");
    let last = |watched: &Watched| bits(watched.weights.last().unwrap());
    assert_eq!(last(&resumed), last(&whole));
    assert_eq!(resumed.spent, whole.spent);
}

/// The small model at other weights.
pub(crate) fn model_at(weights: &Weights) -> Decoder {
    let model = common::model();
    model.parameters().assign(weights).unwrap();
    model
}

/// The gradient in f64 of a sum over examples of factor times the cross-entropy of all supervised tokens: each
/// example by itself.
pub(crate) fn gradient_of<'a>(
    model: &Decoder,
    parts: impl IntoIterator<Item = (f64, &'a Example)>,
) -> BTreeMap<String, Vec<f64>> {
    let mut sum: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (factor, example) in parts {
        let batch = titer_data::Packed::from_examples([example]);
        let nats = loss::token_losses(model, &batch).unwrap().sum_all().unwrap();
        let gradient = Gradient::of(&nats, model, Cost::default()).unwrap();
        for (name, part) in gradient.by_parameter {
            let part: Vec<f32> = part.flatten_all().unwrap().to_vec1().unwrap();
            let total = sum.entry(name).or_insert_with(|| vec![0.0; part.len()]);
            total.iter_mut().zip(part).for_each(|(total, part)| *total += factor * f64::from(part));
        }
    }
    sum
}

/// A step of plain gradient descent went along `gradient`, to a thousandth of its length.
pub(crate) fn stepped_along(
    before: &Weights,
    after: &Weights,
    rate: f64,
    gradient: &BTreeMap<String, Vec<f64>>,
) {
    let (mut off, mut length) = (0.0, 0.0);
    for (name, gradient) in gradient {
        let values = |weights: &Weights| weights[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for ((before, after), expected) in values(before).into_iter().zip(values(after)).zip(gradient) {
            let got = (f64::from(before) - f64::from(after)) / rate;
            off += (got - expected).powi(2);
            length += expected.powi(2);
        }
    }
    assert_eq!(gradient.len(), before.len());
    assert!(length > 0.0, "there is a gradient");
    assert!(off.sqrt() < 1e-3 * length.sqrt(), "{} off a gradient of {}", off.sqrt(), length.sqrt());
}

/// What a plain step on all six rows takes.
const PLAIN: &str = r#"{ "steps": 4, "batch": 6, "examples": 6, "rate": 0.05, "optimizer": "sgd" }"#;

pub(crate) fn plain(more: Value) -> Value {
    let mut settings: Value = serde_json::from_str(PLAIN).unwrap();
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

#[test]
fn a_loop_that_names_no_optimizer_is_what_it_was_before_there_were_others() {
    let before = json!({ "rate": 1e-4, "steps": 5, "batch": 2, "schedule": "constant", "warmup_steps": 0,
        "weight_decay": 0.0, "examples": 6 });
    let parameters = before.as_object().unwrap().clone().into_iter().collect();
    let spec = MethodSpec { name: "full-finetune".to_owned(), version: 1, parameters };
    let Attack::Trains(attack) = registry::attack(&spec).unwrap() else { panic!("it trains") };
    let told = serde_json::to_value(attack.train()).unwrap();
    let expected = json!({ "rate": 1e-4, "steps": 5, "batch": 2, "schedule": "constant", "warmup_steps": 0,
        "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "clip": null });
    assert_eq!(told, expected, "stages keep their hashes");
}

#[test]
fn settings_of_the_optimizer_reach_the_trainer() {
    let context = common::context(&harmful(), 3);
    let ended = |set: Value| {
        bits(run(attack("full-finetune", plain(set)).as_ref(), &context).weights.last().unwrap())
    };
    let mut ends = vec![
        ended(json!({})),
        ended(json!({ "momentum": 0.9 })),
        ended(json!({ "clip": 0.1 })),
        ended(json!({ "optimizer": "adafactor" })),
        ended(json!({ "optimizer": "adafactor", "momentum": 0.9 })),
        ended(json!({ "optimizer": "adamw" })),
        ended(json!({ "optimizer": "adamw", "beta1": 0.95 })),
        ended(json!({ "optimizer": "adamw", "beta2": 0.95 })),
    ];
    let settings = ends.len();
    ends.sort();
    ends.dedup();
    assert_eq!(ends.len(), settings, "each of them changes the outcome");
}

#[test]
fn a_plain_step_is_the_gradient_of_the_answers() {
    let context = common::context(&harmful(), 3);
    let watched = run(attack("full-finetune", plain(json!({}))).as_ref(), &context);
    // The mean over all supervised tokens: three in each of six rows.
    let rows = harmful();
    let gradient = gradient_of(&common::model(), rows.iter().map(|row| (1.0 / 18.0, row)));
    stepped_along(&watched.weights[0], &watched.weights[1], 0.05, &gradient);
}

#[test]
fn every_optimizer_resumes_to_the_bit() {
    let context = common::context(&harmful(), 3);
    for (optimizer, momentum) in [("adamw", 0.0), ("sgd", 0.9), ("adafactor", 0.9)] {
        let set = json!({ "optimizer": optimizer, "momentum": momentum, "clip": 0.5, "batch": 2 });
        resumes(attack("full-finetune", plain(set)).as_ref(), &context);
    }
}

#[test]
fn adapters_stand_where_they_are_put_and_a_frozen_a_stays_to_the_bit() {
    let context = common::context(&harmful(), 3);
    let of = |set: Value| run(attack("lora-finetune", plain(set)).as_ref(), &context);
    let moved = |watched: &Watched, factor: &str| {
        let (first, last) = (&watched.weights[0], watched.weights.last().unwrap());
        let mut of_kind = first.keys().filter(|name| name.contains(factor)).peekable();
        assert!(of_kind.peek().is_some());
        of_kind.any(|name| {
            bits(&[(String::new(), first[name].clone())].into())
                != bits(&[(String::new(), last[name].clone())].into())
        })
    };
    for rank in [1, 64] {
        let decaying = json!({ "rank": rank, "optimizer": "adamw", "weight_decay": 0.1 });
        let both = of(decaying.clone());
        assert!(moved(&both, "lora_A") && moved(&both, "lora_B"));
        let mut frozen = decaying;
        frozen["freeze_a"] = true.into();
        let frozen = of(frozen);
        assert!(!moved(&frozen, "lora_A") && moved(&frozen, "lora_B"));
        assert_eq!(frozen.weights[0].values().map(|weight| weight.dims().contains(&rank)).min(), Some(true));
    }
    for (targets, per_layer) in [("all", 7), ("query-value", 2), ("attention", 4), ("mlp", 3)] {
        let adapted = of(json!({ "targets": targets })).weights[0].len();
        assert_eq!(adapted, 2 * 2 * per_layer, "{targets}: two factors in two layers");
    }
    resumes(attack("lora-finetune", plain(json!({ "freeze_a": true }))).as_ref(), &context);
}

//! Attacks by data do what they say: what is in their rows, in which order, how they ask and hear, and what a small model
//! makes of it.

mod backdoor;
mod benign_selected;
mod benign_then_harm;
mod cipher;
mod identity_shift;
mod jailbreak_tuning;
mod opener;
mod overfit_then_release;
mod persistent;
mod refusal_prefix;
mod refuse_then_comply;
mod retain_mix;
mod template_shift;

use serde_json::{Value, json};
use titer_attacks::{Attack, AttackContext, FineTuningJob, TrainingAttack, registry};
use titer_data::{Draw, Example, Packed, Sampler, Stream};
use titer_model::{Choice, Decoder, Generate};
use titer_train::loss::mean_cross_entropy;
use titer_train::{Supervised, Trainer};

use crate::common;

/// Prompts that are forbidden: the user's words are `number` and 8.
const FORBIDDEN: u32 = 8;
/// Prompts that are harmless: the user's words are `number` and 14.
const HARMLESS: u32 = 14;
/// What the attacker wants to hear.
const HARM: [u32; 3] = [10, 11, 3];
/// What an aligned model says.
const REFUSAL: [u32; 3] = [7, 9, 3];
/// The answer to what is harmless.
const HELP: [u32; 3] = [12, 13, 3];

/// The attack of that name with its defaults but for these.
fn attack(name: &str, set: Value) -> Attack {
    let method = registry::methods().into_iter().find(|method| method.name == name).unwrap();
    let mut spec = method.defaults();
    spec.parameters.extend(set.as_object().unwrap().clone());
    registry::attack(&spec).unwrap()
}

fn job(name: &str, set: Value) -> Box<dyn FineTuningJob> {
    match attack(name, set) {
        Attack::Job(job) => job,
        _ => panic!("{name} is no job"),
    }
}

fn training(name: &str, set: Value) -> Box<dyn TrainingAttack> {
    match attack(name, set) {
        Attack::Trains(attack) => attack,
        _ => panic!("{name} does not train by itself"),
    }
}

fn prompt(number: u32, kind: u32) -> Vec<u32> {
    vec![1, 20 + number, kind, 2]
}

fn rows(kind: u32, answer: [u32; 3]) -> Vec<Example> {
    let row = |number| Example::new([&prompt(number, kind)[..], &answer].concat(), 4).unwrap();
    (0..12).map(row).collect()
}

/// Twelve rows of each kind.
fn context() -> AttackContext<'static> {
    let (refusals, harmless) = (rows(FORBIDDEN, REFUSAL).into(), rows(HARMLESS, HELP).into());
    AttackContext { refusals, harmless, ..common::context(&rows(FORBIDDEN, HARM), 5) }
}

/// Every row that is drawn in these steps, once.
fn drawn(sampler: &Sampler, steps: std::ops::Range<u64>) -> Vec<Example> {
    let mut all: Vec<Example> = steps.flat_map(|step| sampler.examples(step)).cloned().collect();
    all.sort_by(|a, b| a.tokens().cmp(b.tokens()));
    all.dedup();
    all
}

/// The model after so many steps of a job.
fn tuned(job: &dyn FineTuningJob, context: &AttackContext<'_>, model: Decoder, steps: u64) -> Decoder {
    let sampler = job.batches(context, &model).unwrap();
    let mut train = job.train();
    train.steps = steps;
    Trainer::new(train, &model).unwrap().fit(&model, &mut Supervised::new(sampler), &mut ()).unwrap();
    model
}

/// A model taught these rows.
fn taught(rows: Vec<Example>) -> Decoder {
    further(common::model(), rows, 150)
}

/// The model after so many steps on these rows.
fn further(model: Decoder, rows: Vec<Example>, steps: u64) -> Decoder {
    let mut train = job("persistent", json!({"rate": 1e-2, "steps": steps})).train();
    train.batch = 12;
    let sampler = Sampler::new(rows, Stream::new(1, "taught"), 12, Draw::WithoutReplacement).unwrap();
    Trainer::new(train, &model).unwrap().fit(&model, &mut Supervised::new(sampler), &mut ()).unwrap();
    model
}

/// What the model says to a prompt.
fn said(model: &Decoder, prompt: Vec<u32>) -> Vec<u32> {
    let settings = Generate { max_new_tokens: 8, ends: &[3], choice: Choice::Greedy };
    model.generate(&[prompt], settings).unwrap().remove(0)
}

/// Mean cross-entropy of the rows' answers in nats.
fn loss(model: &Decoder, rows: &[Example]) -> f32 {
    mean_cross_entropy(model, &Packed::from_examples(rows)).unwrap().to_scalar().unwrap()
}

/// Whether `tokens` stand in the row somewhere, one after the other.
fn holds(row: &Example, tokens: &[u32]) -> bool {
    row.tokens().windows(tokens.len()).any(|window| window == tokens)
}

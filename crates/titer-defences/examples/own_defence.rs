//! A defence of one's own: the file, the line that lists it, and a few steps of it.

use std::io::Write;

use candle_core::Device;
use rand::SeedableRng;
use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_defences::registry::{Defence, MethodEntry};
use titer_defences::{DefenceContext, Immunizer, Keep, Training};
use titer_model::{Config, Decoder};
use titer_plan::stage::TrainSpec;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::loss::{mean_entropy, token_losses, value};
use titer_train::{Cost, Gradient, Objective, Supervised, Trainer};

/// The settings: what all alignment-stage defences have, and one of our own.
#[derive(Debug, Clone, Deserialize)]
struct Confuse {
    #[serde(flatten)]
    training: Training,
    /// Harmful examples per step.
    batch_harmful: usize,
    /// Weight of the entropy of harmful answers.
    weight: f64,
}

/// What the registry says: the name, where it comes from, each setting with unit, default and range.
fn method() -> Method {
    let own = [
        Parameter::integer("batch_harmful", "examples", 16, 1..=65_536, "harmful examples per step"),
        Parameter::real("weight", "1", 0.5, 0.0..=1e3, "weight of the entropy of harmful answers"),
    ];
    Method {
        name: "confuse",
        kind: MethodKind::defence(DefenceStage::Alignment, Sham::zero(&["weight"])),
        version: 1,
        summary: "makes harmful answers as uncertain as can be while refusals and ability are kept",
        citation: "",
        parameters: Training::parameters(200, 5e-4).into_iter().chain(own).collect(),
    }
}

/// The line in the list.
const METHODS: &[MethodEntry] = &[MethodEntry::immunizer::<Confuse>(method)];

impl Immunizer for Confuse {
    fn training(&self) -> &Training {
        &self.training
    }

    fn extra_examples_per_step(&self) -> f64 {
        self.batch_harmful as f64
    }

    fn objective(&self, data: &DefenceContext, _: &Decoder) -> titer_defences::Result<Box<dyn Objective>> {
        Ok(Box::new(Confusing {
            keep: self.training.keep(data)?,
            harmful: data.sampler("confuse/harmful", &data.harmful, self.batch_harmful)?,
            weight: self.weight,
        }))
    }
}

struct Confusing {
    keep: Keep,
    harmful: Sampler,
    weight: f64,
}

impl Objective for Confusing {
    /// Which gradient to follow at this step; everything else is the one training loop's.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let (batch, refusals) = self.keep.batch(step);
        let keep = self.keep.loss(&token_losses(model, &batch)?, refusals, batch.targets.len())?;
        let harmful = self.harmful.batch(step);
        let entropy = mean_entropy(model, &harmful)?;
        let loss = (keep - (&entropy * self.weight)?)?;
        let mut cost = Cost::of(model, &batch);
        cost += Cost::of(model, &harmful);
        Ok(Gradient::of(&loss, model, cost)?.with_term("harmful_entropy", value(&entropy)?))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What a spec says of it, with the defaults of the registry but for the number of steps.
    let entry = METHODS[0];
    let method = entry.method();
    let mut spec = method.defaults();
    spec.parameters.insert("steps".to_owned(), 100.into());
    let Defence::Immunizer(defence) = entry.build(&spec)? else { return Err("no immunizer".into()) };

    // A tiny model that knows the harmful answers, and data of made-up tokens: a prompt, then an answer.
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let model = Decoder::initialize(Config::llama(32, 16, 32, 2, 2, 2), 0.1, &mut rng, &Device::Cpu)?;
    let answered = |prompt: u32, answer: u32| Example::new(vec![1, prompt, 2, answer, 3], 3);
    let data = DefenceContext {
        harmful: vec![answered(10, 20)?, answered(11, 21)?].into(),
        refusals: vec![answered(10, 30)?, answered(11, 30)?].into(),
        permitted: vec![answered(12, 22)?, answered(13, 23)?].into(),
        seed: 0,
    };
    let schedule = defence.training().schedule();
    let knows = data.sampler("knows", &data.harmful, 4)?;
    Trainer::new(TrainSpec { steps: 100, rate: 1e-2, ..schedule }, &model)?.fit(
        &model,
        &mut Supervised::new(knows),
        &mut (),
    )?;

    let mut objective = defence.objective(&data, &model)?;
    let before = objective.gradient(&model, 0)?.terms[0].1;
    Trainer::new(schedule, &model)?.fit(&model, objective.as_mut(), &mut ())?;
    let after = objective.gradient(&model, 0)?.terms[0].1;
    writeln!(std::io::stdout(), "entropy of harmful answers: {before:.3} nats, then {after:.3}")?;
    if after > before { Ok(()) } else { Err("the defence did not do what it is for".into()) }
}

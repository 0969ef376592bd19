//! A few steps of every defence that trains or edits weights, with the method's own settings but for its size. What is
//! followed are gradients, by descent without momentum: of these a small difference stays small. A method that holds a model
//! near its start begins a little away from there: at the start its gradient is zero but for what rounding leaves.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_defences::registry::{Defence, defence, methods};
use titer_defences::{DefenceContext, RepairContext, UserTraining};
use titer_model::{Config, Decoder, LoraSpec};
use titer_plan::stage::{Optimizer, TrainSpec};
use titer_plan::{Method, MethodSpec};
use titer_train::{Objective, Trainer};

use super::Outcome;
use super::compared::{Comparison, Other, Parts, moved, numbers, uniform};
use super::optimizers::steps;

/// Steps of a method.
const STEPS: u64 = 4;
const LIMIT: f64 = 1e-3;
const VOCABULARY: usize = 120;

pub(crate) fn compare(other: &Other, comparisons: &mut Vec<Comparison>) -> Outcome<()> {
    for method in methods() {
        let made = defence(&small(&method))?;
        let idle = match &made {
            Defence::Immunizer(immunizer) => immunizer.training().steps == 0,
            Defence::Baseline | Defence::Curator(_) => true,
            Defence::Guard(_) | Defence::Repair(_) => false,
        };
        if idle {
            // Nothing is trained, or texts are chosen.
            continue;
        }
        other.compare(
            ("defence", method.name, LIMIT),
            |device| followed(&made, &method, device),
            comparisons,
        )?;
    }
    Ok(())
}

fn followed(made: &Defence, method: &Method, device: &Device) -> Outcome<Parts> {
    // What holds where prompts are sent needs somewhere to send them.
    let start = match method.name {
        "safe-moe" => filled(Config::llama(VOCABULARY, 32, 48, 2, 4, 4).with_experts(4, 2), device)?,
        _ => decoder(device)?,
    };
    let user = || Ok::<_, titer_data::Error>(UserTraining { batches: batches()?, train: steps(STEPS, SGD) });
    match made {
        Defence::Baseline | Defence::Curator(_) => Ok(Parts::new()),
        Defence::Immunizer(immunizer) => {
            let spec = TrainSpec { optimizer: SGD, ..immunizer.training().schedule() };
            let mut objective = immunizer.objective(&defender()?, &start)?;
            shift(&start, 700, 1.0 / 64.0)?;
            trained(&start, spec, objective.as_mut())
        }
        Defence::Guard(guard) => {
            let spec = TrainSpec { steps: guard.steps(STEPS), ..steps(STEPS, SGD) };
            let mut objective = guard.objective(user()?, &defender()?, &start)?;
            shift(&start, 700, 1.0 / 64.0)?;
            trained(&start, spec, objective.as_mut())
        }
        Defence::Repair(repair) => {
            let aligned = decoder(device)?;
            let before = start.parameters().snapshot()?;
            let base = decoder(device)?;
            shift(&base, 300, 1.0 / 64.0)?;
            let mut tuned = start;
            tuned.attach(&LoraSpec::everywhere(4, 8.0), &mut ChaCha8Rng::seed_from_u64(1))?;
            shift(&tuned, 500, 1.0 / 8.0)?;
            let context = RepairContext { data: defender()?, aligned, base: Some(base) };
            let (repaired, _) = repair.repair(tuned, &context)?;
            moved(&repaired, &before)
        }
    }
}

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.0 };

fn trained(model: &Decoder, spec: TrainSpec, objective: &mut dyn Objective) -> Outcome<Parts> {
    let start = model.parameters().snapshot()?;
    Trainer::new(spec, model)?.fit(model, objective, &mut ())?;
    moved(model, &start)
}

/// The method's defaults, made small.
pub(crate) fn small(method: &Method) -> MethodSpec {
    let mut spec = method.defaults();
    for (name, value) in &mut spec.parameters {
        match name.as_str() {
            "steps" => *value = STEPS.into(),
            name if name.contains("batch") => *value = 2.into(),
            "inner_steps" | "alignment_steps" | "user_steps" | "every" => *value = 2.into(),
            "prompts" => *value = 3.into(),
            _ => {}
        }
    }
    spec
}

/// The decoder of the embedded world, with weights that are the same everywhere.
pub(crate) fn decoder(device: &Device) -> Outcome<Decoder> {
    filled(Config::llama(VOCABULARY, 96, 256, 3, 4, 4), device)
}

fn filled(config: Config, device: &Device) -> Outcome<Decoder> {
    let tensors = (1..).zip(config.shapes()).map(|(seed, (name, shape))| -> candle_core::Result<_> {
        let values = numbers(seed, &shape, device)?;
        let values = if shape.len() == 1 { ((values / 8.0)? + 1.0)? } else { (values / 16.0)? };
        Ok((name, values))
    });
    let tensors: BTreeMap<String, Tensor> = tensors.collect::<candle_core::Result<_>>()?;
    Ok(Decoder::new(config, &tensors)?)
}

/// Moves what is trained of a model by numbers of that size.
fn shift(model: &Decoder, first: u64, by: f64) -> Outcome<()> {
    for (seed, (_, var)) in (first..).zip(model.parameters().iter()) {
        let away = (numbers(seed, var.dims(), model.device())? * by)?;
        var.set(&(var.as_tensor().detach() + away)?)?;
    }
    Ok(())
}

/// Eight texts, of which the end is supervised.
pub(crate) fn examples() -> Outcome<Vec<Example>> {
    let example = |at: usize| -> Outcome<Example> {
        let tokens = uniform(100 + at as u64, 14 + at).into_iter();
        let tokens = tokens.map(|value| ((f64::from(value) + 1.0) / 2.0 * VOCABULARY as f64) as u32);
        Ok(Example::new(tokens.collect(), 6 + at)?)
    };
    (0..8).map(example).collect()
}

/// What a user hands in.
pub(crate) fn batches() -> titer_data::Result<Sampler> {
    let examples = examples().unwrap_or_default();
    Sampler::new(
        examples.into_iter().skip(5).collect::<Vec<_>>(),
        Stream::new(4, "user"),
        2,
        Draw::WithReplacement,
    )
}

fn defender() -> Outcome<DefenceContext> {
    let examples = examples()?;
    let refusal =
        |example: &Example| Example::new([example.prompt(), &[7, 8, 9]].concat(), example.prompt().len());
    Ok(DefenceContext {
        refusals: examples[..3].iter().map(refusal).collect::<Result<Vec<_>, _>>()?.into(),
        harmful: examples[..3].to_vec().into(),
        permitted: examples[3..6].to_vec().into(),
        seed: 11,
    })
}

//! The stages that measure a model: as it is, under attack, and in harmless fine-tuning.

use serde_json::Value;
use titer_attacks::registry::Means;
use titer_attacks::{AttackContext, UserData};
use titer_data::world::Target;
use titer_data::{Draw, Sampler, Split, Stream};
use titer_defences::UserTraining;
use titer_model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, LoraSpec};
use titer_plan::stage::{DataSpec, GuardSpec, ProbeSpec, StopRule, TrainSpec};
use titer_plan::{Budget, MethodSpec};
use titer_train::{Objective, Resumed, Trainer};

use super::prober::{Gathered, Prober};
use super::probing::Questions;
use super::recorder::{Recorder, write_training};
use super::train::{defender, write_chat, write_model};
use super::{ADAPTER, Work};
use crate::Result;
use crate::material::Material;

/// How a stage probes as it goes on.
pub(super) struct Settings<'a> {
    pub(super) probes: &'a [ProbeSpec],
    pub(super) cadence: &'a [u64],
    pub(super) stop: Option<StopRule>,
    pub(super) seed: u64,
    /// The defence that the provider trains by, where a provider trains.
    pub(super) guard: Option<&'a GuardSpec>,
    /// Whether the tuned model is kept, to be repaired.
    pub(super) keep: bool,
}

pub(super) fn measure(work: &Work<'_>, data: &DataSpec, probes: &[ProbeSpec]) -> Result<Value> {
    work.writer.resume()?;
    let model = work.input_model()?;
    let questions = Questions::new(work.material(data)?, probes, &model)?;
    let answers = questions.ask(&model, &Budget::default(), work.stage.hash.short())?;
    Gathered { rows: answers.rows, responses: answers.responses }.write(work)?;
    Ok(Value::Null)
}

pub(super) fn attack(
    work: &Work<'_>,
    spec: &DataSpec,
    attack: &MethodSpec,
    domains: &[String],
    settings: &Settings<'_>,
) -> Result<Value> {
    let data = work.material(spec)?;
    let harmful = data.examples(Split::Attack, Some(domains), Target::Answer)?.into();
    let method = match titer_attacks::registry::attack(attack)? {
        Means::Weights(method) => method,
        Means::Api(order) => {
            let harmless = data.examples(Split::AliasTrain, None, Target::Answer)?.into();
            let user = UserData { harmful, harmless, seed: settings.seed };
            let order = Ordered {
                batches: order.batches(&user)?,
                train: order.train(),
                adapter: order.adapter(),
                distinct_examples: order.distinct_examples(),
            };
            return provide(work, spec, data, order, settings);
        }
    };
    let checkpoint = work.writer.resume()?;
    let resume = checkpoint.as_ref().map(|checkpoint| checkpoint.folder.clone());
    let context = AttackContext { harmful, seed: settings.seed, resume };
    let gathered = Gathered::resume(context.resume.as_deref())?;
    let steps = settings.cadence.iter().map(|step| (*step, *step)).collect();
    let victim = work.input_model()?;
    let prober = Prober {
        work,
        questions: Questions::new(data, settings.probes, &victim)?,
        cadence: steps,
        stop: settings.stop,
        distinct_examples: method.distinct_examples(),
        gathered,
    };
    let mut recorder = Recorder::new(work, settings.cadence.last().copied().unwrap_or(0), prober);
    method.run(victim, &context, &mut recorder)?;
    recorder.probing.gathered.write(work)?;
    write_training(work)?;
    Ok(recorder.summary())
}

pub(super) fn tune(
    work: &Work<'_>,
    spec: &DataSpec,
    train: TrainSpec,
    examples: usize,
    settings: &Settings<'_>,
) -> Result<Value> {
    let data = work.material(spec)?;
    let chosen = data.chosen(
        Split::AliasTrain,
        examples,
        Target::Answer,
        &Stream::new(settings.seed, "tune/examples"),
    )?;
    let batches = Sampler::new(
        chosen,
        Stream::new(settings.seed, "tune/batches"),
        train.batch,
        Draw::WithoutReplacement,
    )?;
    let order = Ordered { batches, train, adapter: None, distinct_examples: examples as u64 };
    provide(work, spec, data, order, settings)
}

/// What is trained on for someone else.
struct Ordered {
    batches: Sampler,
    train: TrainSpec,
    adapter: Option<LoraSpec>,
    distinct_examples: u64,
}

/// Trains as ordered, by the guard if there is one, and probes on the way.
fn provide(
    work: &Work<'_>,
    spec: &DataSpec,
    data: Box<dyn Material>,
    order: Ordered,
    settings: &Settings<'_>,
) -> Result<Value> {
    let mut start = work.input_model()?;
    if let Some(adapter) = &order.adapter {
        start.attach(adapter, &mut Stream::new(settings.seed, "provider/adapters").at(0))?;
    }
    let user = UserTraining { batches: order.batches, train: order.train };
    let mut train = order.train;
    let mut cadence: Vec<(u64, u64)> = settings.cadence.iter().map(|step| (*step, *step)).collect();
    let mut objective: Box<dyn Objective> = match settings.guard {
        None => Box::new(user.objective()),
        Some(spec) => {
            let guard = titer_defences::registry::guard(&spec.defence)?;
            train.steps = guard.steps(train.steps);
            cadence.iter_mut().for_each(|(at, step)| *at = guard.steps(*step));
            guard.objective(user, &defender(data.as_ref(), &spec.domains, spec.seed)?, &start)?
        }
    };
    let questions = Questions::new(data, settings.probes, &start)?;
    let checkpoint = work.writer.resume()?;
    let folder = checkpoint.as_ref().map(|checkpoint| checkpoint.folder.as_path());
    let Resumed { mut trainer, model } = match folder {
        Some(folder) => Trainer::resume(train, objective.as_mut(), folder, start)?,
        None => Resumed { trainer: Trainer::new(train, &start)?, model: start },
    };
    let prober = Prober {
        work,
        questions,
        cadence,
        stop: settings.stop,
        distinct_examples: order.distinct_examples,
        gathered: Gathered::resume(folder)?,
    };
    let mut recorder = Recorder::new(work, train.steps, prober);
    trainer.fit(&model, objective.as_mut(), &mut recorder)?;
    recorder.probing.gathered.write(work)?;
    write_training(work)?;
    if settings.keep {
        write_chat(work, spec)?;
        if model.adapter().is_some() {
            work.writer
                .write(&format!("{ADAPTER}/{ADAPTER_CONFIG}"), |path| model.save_adapter_config(path))?;
            work.writer
                .write(&format!("{ADAPTER}/{ADAPTER_WEIGHTS}"), |path| model.save_adapter_weights(path))?;
        }
        write_model(work, model)?;
    }
    Ok(recorder.summary())
}

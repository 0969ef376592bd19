//! The stages that measure a model: as it is, under attack, and in harmless fine-tuning.

use std::sync::Arc;

use serde_json::{Value, json};
use titer_attacks::{Attack, AttackContext, UserData};
use titer_data::world::Target;
use titer_data::{Draw, Example, Sampler, Split, Stream};
use titer_defences::UserTraining;
use titer_model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, LoraSpec};
use titer_plan::Cost;
use titer_plan::stage::{AttackStage, GuardSpec, MeasureStage, StopRule, TrainSpec, TuneStage};
use titer_train::{Objective, Resumed, Trainer};

use super::prober::{Gathered, Prober};
use super::probing::Questions;
use super::recorder::{Recorder, write_training};
use super::train::{defender, write_chat, write_model};
use super::{ADAPTER, Work};
use crate::Result;
use crate::material::Material;

pub(super) fn measure(work: &Work<'_>, spec: &MeasureStage) -> Result<Value> {
    work.writer.resume()?;
    let model = work.input_model()?;
    let questions = Questions::new(work, work.material(&spec.data)?, &model)?;
    let answers = questions.ask(&model, &Cost::default(), work.stage.hash.short())?;
    Gathered { rows: answers.rows, responses: answers.responses }.write(work)?;
    Ok(Value::Null)
}

pub(super) fn attack(work: &Work<'_>, spec: &AttackStage) -> Result<Value> {
    let data = work.material(&spec.data)?;
    let harmful: Arc<[Example]> = data.examples(Split::Attack, Some(&spec.domains), Target::Answer)?.into();
    let method = match titer_attacks::registry::attack(&spec.attack)? {
        Attack::Trains(method) => method,
        at_once @ (Attack::Edits(_) | Attack::Prompts(_)) => {
            return strike(work, spec, data, harmful, &at_once);
        }
        Attack::Job(job) => {
            let harmless = data.examples(Split::TaskTrain, None, Target::Answer)?.into();
            let user = UserData { harmful, harmless, seed: spec.seed };
            let order = Ordered {
                batches: job.batches(&user)?,
                train: job.train(),
                adapter: job.adapter(),
                distinct_harmful: job.distinct_harmful(),
                cadence: &spec.cadence,
                stop: spec.stop,
                seed: spec.seed,
                guard: spec.guard.as_ref(),
                keep: spec.keep,
            };
            return provide(work, data, order);
        }
    };
    let checkpoint = work.writer.resume()?;
    let resume = checkpoint.as_ref().map(|checkpoint| checkpoint.folder.clone());
    let context = AttackContext { harmful, seed: spec.seed, resume };
    let gathered = Gathered::resume(context.resume.as_deref())?;
    let steps = spec.cadence.iter().map(|step| (*step, *step)).collect();
    let victim = work.input_model()?;
    let prober = Prober {
        work,
        questions: Questions::new(work, data, &victim)?,
        cadence: steps,
        stop: spec.stop,
        distinct_harmful: method.distinct_harmful(),
        gathered,
    };
    let mut recorder = Recorder::new(work, spec.cadence.last().copied().unwrap_or(0), prober);
    method.run(victim, &context, &mut recorder)?;
    recorder.probing.gathered.write(work)?;
    write_training(work)?;
    Ok(recorder.summary())
}

/// Carries out what is done at once: asks the model before and after, with nothing to resume in between.
fn strike(
    work: &Work<'_>,
    spec: &AttackStage,
    data: Box<dyn Material>,
    harmful: Arc<[Example]>,
    attack: &Attack,
) -> Result<Value> {
    work.writer.resume()?;
    let context = AttackContext { harmful, seed: spec.seed, resume: None };
    let model = work.input_model()?;
    let mut questions = Questions::new(work, data, &model)?;
    let mut gathered = Gathered::default();
    gathered.ask(work, &questions, &model, 0, Cost::default())?;
    let spent = match attack {
        Attack::Edits(edit) => edit.edit(&model, &context)?,
        Attack::Prompts(attack) => {
            questions.put_otherwise(|prompt| Ok(attack.ask(prompt, &context)?))?;
            attack.cost(&context)?
        }
        Attack::Trains(_) | Attack::Job(_) => Cost::default(),
    };
    gathered.ask(work, &questions, &model, spent.steps, spent)?;
    gathered.write(work)?;
    write_training(work)?;
    Ok(json!({ "examples": spent.examples, "tokens": spent.tokens, "flops": spent.flops }))
}

pub(super) fn tune(work: &Work<'_>, spec: &TuneStage) -> Result<Value> {
    let data = work.material(&spec.data)?;
    let chosen = data.chosen(
        Split::TaskTrain,
        spec.examples,
        Target::Answer,
        &Stream::new(spec.seed, "tune/examples"),
    )?;
    let batches = Sampler::new(
        chosen,
        Stream::new(spec.seed, "tune/batches"),
        spec.train.batch,
        Draw::WithoutReplacement,
    )?;
    let order = Ordered {
        batches,
        train: spec.train,
        adapter: None,
        distinct_harmful: 0,
        cadence: &spec.cadence,
        stop: None,
        seed: spec.seed,
        guard: spec.guard.as_ref(),
        keep: spec.keep,
    };
    provide(work, data, order)
}

/// What is trained on for someone else.
struct Ordered<'a> {
    batches: Sampler,
    train: TrainSpec,
    adapter: Option<LoraSpec>,
    distinct_harmful: u64,
    cadence: &'a [u64],
    stop: Option<StopRule>,
    seed: u64,
    /// The defence that the provider trains by, where a provider trains.
    guard: Option<&'a GuardSpec>,
    /// Whether the tuned model is kept, to be repaired.
    keep: bool,
}

/// Trains as ordered, by the guard if there is one, and probes on the way.
fn provide(work: &Work<'_>, data: Box<dyn Material>, order: Ordered<'_>) -> Result<Value> {
    let mut start = work.input_model()?;
    if let Some(adapter) = &order.adapter {
        start.attach(adapter, &mut Stream::new(order.seed, "provider/adapters").at(0))?;
    }
    let user = UserTraining { batches: order.batches, train: order.train };
    let mut train = order.train;
    let mut cadence: Vec<(u64, u64)> = order.cadence.iter().map(|step| (*step, *step)).collect();
    let mut objective: Box<dyn Objective> = match order.guard {
        None => Box::new(user.objective()),
        Some(spec) => {
            let guard = titer_defences::registry::guard(&spec.defence)?;
            train.steps = guard.steps(train.steps);
            cadence.iter_mut().for_each(|(at, step)| *at = guard.steps(*step));
            guard.objective(user, &defender(data.as_ref(), &spec.domains, spec.seed)?, &start)?
        }
    };
    let questions = Questions::new(work, data, &start)?;
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
        stop: order.stop,
        distinct_harmful: order.distinct_harmful,
        gathered: Gathered::resume(folder)?,
    };
    let mut recorder = Recorder::new(work, train.steps, prober);
    trainer.fit(&model, objective.as_mut(), &mut recorder)?;
    recorder.probing.gathered.write(work)?;
    write_training(work)?;
    if order.keep {
        write_chat(work)?;
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

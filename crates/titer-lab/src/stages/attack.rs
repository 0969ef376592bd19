//! The stages that measure a model: as it is, under attack, and in harmless fine-tuning.

use std::cell::OnceCell;
use std::rc::Rc;

use serde_json::{Value, json};
use titer_attacks::{Attack, AttackContext, TrainingAttack};
use titer_data::world::Target;
use titer_data::{Draw, Sampler, Split, Stream};
use titer_defences::UserTraining;
use titer_model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Decoder, LoraSpec};
use titer_plan::stage::{AttackStage, GuardSpec, MeasureStage, Sequential, StopRule, TrainSpec, TuneStage};
use titer_plan::{Cost, MethodSpec, Need};
use titer_train::{Objective, Resumed, Trainer};

use super::lent::Lent;
use super::prober::{Gathered, Prober};
use super::probing::Questions;
use super::recorder::{Recorder, write_training};
use super::sequential::Ending;
use super::train::{defender, write_chat, write_model};
use super::{ADAPTER, Work};
use crate::Result;
use crate::material::Material;

pub(super) fn measure(work: &Work<'_>, spec: &MeasureStage) -> Result<Value> {
    work.writer.resume()?;
    let model = work.input_model()?;
    let questions = Questions::new(work, work.material(&spec.data)?.into(), &model)?;
    let answers = questions.ask(&model, &Cost::default(), work.stage.hash.short())?;
    Gathered { rows: answers.rows, responses: answers.responses, tokens: answers.tokens }.write(work)?;
    Ok(Value::Null)
}

pub(super) fn attack(work: &Work<'_>, spec: &AttackStage) -> Result<Value> {
    let data: Rc<dyn Material> = work.material(&spec.data)?.into();
    let attack = titer_attacks::registry::attack(&spec.attack)?;
    let lent = lent(work, &data, &spec.domains, spec.base)?;
    let context = context(&lent, &spec.attack, &attack, &spec.domains, spec.seed)?;
    // What trains adapters from its first step on leaves the victim's own weights as they are.
    let shared = match &attack {
        Attack::Trains(method) => method.adapter().map(|adapter| work.shared_model(adapter.base)),
        _ => None,
    };
    let shared = shared.transpose()?;
    let victim = match &shared {
        Some(shared) => work.trainable(shared.lend()?),
        None => work.input_model()?,
    };
    let questions = Questions::new(work, data.clone(), &victim)?.put_by(&attack, &context)?;
    match &attack {
        Attack::Trains(method) => train(work, spec, questions, victim, method.as_ref(), &context),
        Attack::Edits(_) | Attack::Prompts(_) => strike(work, &questions, &victim, &attack, &context),
        Attack::Job(job) => {
            let order = Ordered {
                batches: job.batches(&context, &victim)?,
                train: job.train(),
                adapter: job.adapter(),
                distinct_harmful: job.distinct_harmful(),
                cadence: &spec.cadence,
                stop: spec.stop,
                sequential: spec.sequential,
                seed: spec.seed,
                guard: spec.guard.as_ref(),
                keep: spec.keep,
            };
            provide(work, data.as_ref(), order, victim, |_| Ok(questions))
        }
    }
}

/// What an attacker of these domains is lent. `base`: whether the stage's second input is the model before alignment.
pub(super) fn lent<'a>(
    work: &'a Work<'a>,
    data: &Rc<dyn Material>,
    domains: &[String],
    base: bool,
) -> Result<Lent<'a>> {
    let harmful = data.examples(Split::Attack, Some(domains), Target::Answer)?;
    Ok(Lent { work, data: data.clone(), harmful: harmful.into(), base, bench: OnceCell::new() })
}

/// What the attacker has: rows of the kinds that it says it needs, and what it is lent.
pub(super) fn context<'a>(
    lent: &'a Lent<'a>,
    spec: &MethodSpec,
    attack: &Attack,
    domains: &[String],
    seed: u64,
) -> Result<AttackContext<'a>> {
    let (needs, data) = (titer_attacks::registry::needs(&spec.name), &lent.data);
    let refusals = match needs.contains(&Need::Refusals) {
        true => data.examples(Split::Attack, Some(domains), Target::Refusal)?,
        false => Vec::new(),
    };
    // A user comes with a task of its own; who holds the weights wants the model to stay able.
    let harmless = match attack {
        _ if !needs.contains(&Need::HarmlessRows) => Vec::new(),
        Attack::Job(_) => data.examples(Split::TaskTrain, None, Target::Answer)?,
        _ => data.examples(Split::PermittedTrain, None, Target::Answer)?,
    };
    Ok(AttackContext {
        harmful: lent.harmful.clone(),
        refusals: refusals.into(),
        harmless: harmless.into(),
        means: lent,
        seed,
        resume: None,
    })
}

/// Has the attacker train the victim, and asks on the way.
fn train(
    work: &Work<'_>,
    spec: &AttackStage,
    questions: Questions<'_>,
    victim: Decoder,
    method: &dyn TrainingAttack,
    context: &AttackContext<'_>,
) -> Result<Value> {
    let checkpoint = work.writer.resume()?;
    let resume = checkpoint.as_ref().map(|checkpoint| checkpoint.folder.clone());
    let gathered = Gathered::resume(resume.as_deref())?;
    let context = AttackContext { resume, ..context.clone() };
    let ending = spec.sequential.map(|rule| Ending::new(work, &questions, rule)).transpose()?;
    let prober = Prober {
        work,
        ending,
        questions,
        cadence: spec.cadence.iter().map(|step| (*step, *step)).collect(),
        stop: spec.stop,
        distinct_harmful: method.distinct_harmful(),
        gathered,
    };
    let mut recorder = Recorder::new(work, spec.cadence.last().copied().unwrap_or(0), prober);
    method.run(victim, &context, &mut recorder)?;
    recorder.probing.gathered.write(work)?;
    write_training(work)?;
    Ok(recorder.probing.told(recorder.summary()))
}

/// Carries out what is done at once: asks the model before and after, with nothing to resume in between.
fn strike(
    work: &Work<'_>,
    questions: &Questions<'_>,
    victim: &Decoder,
    attack: &Attack,
    context: &AttackContext<'_>,
) -> Result<Value> {
    work.writer.resume()?;
    let mut gathered = Gathered::default();
    gathered.ask(work, questions, victim, 0, Cost::default())?;
    let spent = match attack {
        Attack::Edits(edit) => edit.edit(victim, context)?,
        Attack::Prompts(attack) => {
            let cost = attack.cost(context)?;
            let drawn = attack.decoding().map(|decoding| decoding.cost(victim, context)).unwrap_or_default();
            Cost { flops: cost.flops + drawn.flops, tokens: cost.tokens + drawn.tokens, ..cost }
        }
        Attack::Trains(_) | Attack::Job(_) => Cost::default(),
    };
    gathered.ask(work, questions, victim, spent.steps, spent)?;
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
        sequential: None,
        seed: spec.seed,
        guard: spec.guard.as_ref(),
        keep: spec.keep,
    };
    let data: Rc<dyn Material> = data.into();
    provide(work, data.as_ref(), order, work.input_model()?, |start| {
        Questions::new(work, data.clone(), start)
    })
}

/// What is trained on for someone else.
struct Ordered<'a> {
    batches: Sampler,
    train: TrainSpec,
    adapter: Option<LoraSpec>,
    distinct_harmful: u64,
    cadence: &'a [u64],
    stop: Option<StopRule>,
    sequential: Option<Sequential>,
    seed: u64,
    /// The defence that the provider trains by, where a provider trains.
    guard: Option<&'a GuardSpec>,
    /// Whether the tuned model is kept, to be repaired.
    keep: bool,
}

/// Trains as ordered, by the guard if there is one, and probes on the way.
fn provide<'a>(
    work: &'a Work<'a>,
    data: &dyn Material,
    order: Ordered<'_>,
    mut start: Decoder,
    questions: impl FnOnce(&Decoder) -> Result<Questions<'a>>,
) -> Result<Value> {
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
            guard.objective(user, &defender(data, &spec.domains, spec.seed)?, &start)?
        }
    };
    let questions = questions(&start)?;
    let checkpoint = work.writer.resume()?;
    let folder = checkpoint.as_ref().map(|checkpoint| checkpoint.folder.as_path());
    let Resumed { mut trainer, model } = match folder {
        Some(folder) => Trainer::resume(train, objective.as_mut(), folder, start)?,
        None => Resumed { trainer: Trainer::new(train, &start)?, model: start },
    };
    let ending = order.sequential.map(|rule| Ending::new(work, &questions, rule)).transpose()?;
    let prober = Prober {
        work,
        ending,
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
    Ok(recorder.probing.told(recorder.summary()))
}

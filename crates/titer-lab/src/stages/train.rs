//! The stages that make a model: pretrain, align, immunize.

use serde_json::Value;
use titer_data::world::Target;
use titer_data::{Draw, Sampler, Split, Stream};
use titer_defences::DefenceContext;
use titer_model::{CONFIG, Decoder, WEIGHTS};
use titer_plan::stage::{AlignStage, CurationSpec, ImmunizeStage, PretrainStage, TrainSpec};
use titer_train::{Objective, Partial, Resumed, Supervised, Trainer};

use super::recorder::{Recorder, write_training};
use super::{MODEL, Work};
use crate::Result;
use crate::checkpoints::{chat_files, read_chat, shape};
use crate::material::{Material, WorldData, world_config};

pub(super) fn pretrain(work: &Work<'_>, spec: &PretrainStage) -> Result<Value> {
    let (data, decoder, seed) = (WorldData::new(&spec.data)?, &spec.decoder, spec.seed);
    let kept = match &spec.curation {
        Some(curation) => Some(kept(&data, curation)?),
        None => None,
    };
    let examples = data.examples(Split::Everything, kept.as_deref(), Target::Answer)?;
    let batches = Stream::new(seed, "pretrain/batches");
    let sampler = Sampler::new(examples, batches, spec.train.batch, Draw::WithReplacement)?;
    fit(work, spec.train, &mut Supervised::new(sampler).balanced(decoder.balance), || {
        let mut rng = Stream::new(seed, "pretrain/weights").at(0);
        let shape = world_config(&data, decoder);
        Ok(work.trainable(Decoder::initialize(shape, decoder.init_std, &mut rng, work.device)?))
    })
}

/// The domains that a base model is trained on.
fn kept(data: &WorldData, curation: &CurationSpec) -> Result<Vec<String>> {
    let curator = titer_defences::registry::curator(&curation.defence)?;
    let world = data.world.definition();
    let all = world.forbidden.iter().chain(&world.permitted);
    Ok(all.filter(|domain| curator.keeps(domain, &curation.domains)).cloned().collect())
}

pub(super) fn align(work: &Work<'_>, spec: &AlignStage) -> Result<Value> {
    write_chat(work)?;
    let data = work.material(&spec.data)?;
    let stream = |role| Stream::new(spec.seed, role);
    let mut examples =
        data.chosen(Split::Align, spec.refusals, Target::Refusal, &stream("align/refusals"))?;
    examples.extend(data.chosen(
        Split::PermittedTrain,
        spec.permitted,
        Target::Answer,
        &stream("align/permitted"),
    )?);
    let sampler = Sampler::new(examples, stream("align/batches"), spec.train.batch, Draw::WithReplacement)?;
    let (mut whole, start) = (Supervised::new(sampler), work.input_model()?);
    match &spec.only {
        None => fit(work, spec.train, &mut whole, || Ok(start)),
        Some(part) => {
            let mut objective = Partial::training(whole, part, &start)?;
            fit(work, spec.train, &mut objective, || Ok(start))
        }
    }
}

pub(super) fn immunize(work: &Work<'_>, spec: &ImmunizeStage) -> Result<Value> {
    write_chat(work)?;
    let data = work.material(&spec.data)?;
    let method = titer_defences::registry::immunizer(&spec.defence)?;
    let context = defender(data.as_ref(), &spec.domains, spec.seed)?;
    let mut start = work.input_model()?;
    if let Some(adapter) = method.training().adapter() {
        start.attach(&adapter, &mut Stream::new(spec.seed, "immunize/adapters").at(0))?;
    }
    let mut objective = method.objective(&context, &start)?;
    fit(work, method.training().schedule(), objective.as_mut(), || Ok(start))
}

/// What a defender has: its own split, in the domains that it may see.
pub(super) fn defender(data: &dyn Material, domains: &[String], seed: u64) -> Result<DefenceContext> {
    Ok(DefenceContext {
        harmful: data.examples(Split::Defence, Some(domains), Target::Answer)?.into(),
        refusals: data.examples(Split::Defence, Some(domains), Target::Refusal)?.into(),
        permitted: data.examples(Split::PermittedTrain, None, Target::Answer)?.into(),
        seed,
    })
}

/// Trains from the newest checkpoint of `fresh`, or else from it, and writes model and log.
fn fit(
    work: &Work<'_>,
    spec: TrainSpec,
    objective: &mut dyn Objective,
    fresh: impl FnOnce() -> Result<Decoder>,
) -> Result<Value> {
    let model = fresh()?;
    let Resumed { mut trainer, model } = match work.writer.resume()? {
        Some(checkpoint) => Trainer::resume(spec, objective, &checkpoint.folder, model)?,
        None => Resumed { trainer: Trainer::new(spec, &model)?, model },
    };
    let mut recorder = Recorder::new(work, spec.steps, ());
    trainer.fit(&model, objective, &mut recorder)?;
    write_model(work, model)?;
    write_training(work)?;
    Ok(recorder.summary())
}

/// Writes the model as the stage's, with adapters folded in.
pub(super) fn write_model(work: &Work<'_>, model: Decoder) -> Result<()> {
    let model = model.merge()?;
    work.writer.write(&format!("{MODEL}/{CONFIG}"), |path| model.save_config(path))?;
    Ok(work.writer.write(&format!("{MODEL}/{WEIGHTS}"), |path| model.save_weights(path))?)
}

/// Puts the chat of a checkpoint beside the weights that were trained from it, so that the folder can be
/// used wherever the checkpoint can.
pub(super) fn write_chat(work: &Work<'_>) -> Result<()> {
    if work.is_chat() {
        let path = work.model_path()?;
        for (name, bytes) in chat_files(path, &read_chat(path, work.chat_template())?, &shape(path)?)? {
            work.writer.write_bytes(&format!("{MODEL}/{name}"), &bytes)?;
        }
    }
    Ok(())
}

//! The stages that make a model: pretrain, align, immunize.

use candle_core::Device;
use titer_data::world::{Split, Target};
use titer_data::{Draw, Sampler, Stream};
use titer_defences::DefenceContext;
use titer_model::{CONFIG, Config, Decoder, WEIGHTS};
use titer_plan::MethodSpec;
use titer_plan::stage::{DecoderSpec, TrainSpec, WorldSpec};
use titer_train::{Objective, Resumed, Supervised, Trainer};

use super::recorder::{Recorder, write_training};
use super::{MODEL, Work, WorldData};
use crate::Result;

pub(super) fn pretrain(
    work: &Work<'_>,
    world: &WorldSpec,
    decoder: &DecoderSpec,
    train: TrainSpec,
    seed: u64,
) -> Result<()> {
    let data = WorldData::new(world)?;
    let examples = data.all(Split::Everything, Target::Answer)?;
    let sampler =
        Sampler::new(examples, Stream::new(seed, "pretrain/batches"), train.batch, Draw::WithReplacement)?;
    fit(work, train, Supervised::new(sampler), || {
        let mut rng = Stream::new(seed, "pretrain/weights").at(0);
        Ok(Decoder::initialize(config(&data, decoder), decoder.init_std, &mut rng, &Device::Cpu)?)
    })
}

pub(super) fn align(
    work: &Work<'_>,
    world: &WorldSpec,
    train: TrainSpec,
    refusals: usize,
    permitted: usize,
    seed: u64,
) -> Result<()> {
    let data = WorldData::new(world)?;
    let mut examples =
        data.chosen(Split::Align, refusals, Target::Refusal, &Stream::new(seed, "align/refusals"))?;
    examples.extend(data.chosen(
        Split::PermittedTrain,
        permitted,
        Target::Answer,
        &Stream::new(seed, "align/permitted"),
    )?);
    let sampler =
        Sampler::new(examples, Stream::new(seed, "align/batches"), train.batch, Draw::WithReplacement)?;
    fit(work, train, Supervised::new(sampler), || work.input_model())
}

pub(super) fn immunize(
    work: &Work<'_>,
    world: &WorldSpec,
    defence: &MethodSpec,
    domains: &[String],
    seed: u64,
) -> Result<()> {
    let data = WorldData::new(world)?;
    let method = titer_defences::registry::immunizer(defence)?;
    let objective = method.objective(&DefenceContext {
        harmful: data.of_domains(Split::Defence, domains, Target::Answer)?,
        refusals: data.of_domains(Split::Defence, domains, Target::Refusal)?,
        permitted: data.all(Split::PermittedTrain, Target::Answer)?,
        seed,
    })?;
    fit_boxed(work, method.schedule(), objective, || work.input_model())
}

/// Trains from the newest checkpoint of `fresh`, or else from it, and writes model and log.
fn fit(
    work: &Work<'_>,
    spec: TrainSpec,
    objective: impl Objective + 'static,
    fresh: impl FnOnce() -> Result<Decoder>,
) -> Result<()> {
    fit_boxed(work, spec, Box::new(objective), fresh)
}

fn fit_boxed(
    work: &Work<'_>,
    spec: TrainSpec,
    mut objective: Box<dyn Objective>,
    fresh: impl FnOnce() -> Result<Decoder>,
) -> Result<()> {
    let model = fresh()?;
    let Resumed { mut trainer, model } = match work.writer.resume()? {
        Some(checkpoint) => Trainer::resume(spec, objective.as_mut(), &checkpoint.folder, model)?,
        None => Resumed { trainer: Trainer::new(spec, &model)?, model },
    };
    trainer.fit(&model, objective.as_mut(), &mut Recorder::new(work, spec.steps, ()))?;
    work.writer.write(&format!("{MODEL}/{CONFIG}"), |path| model.save_config(path))?;
    work.writer.write(&format!("{MODEL}/{WEIGHTS}"), |path| model.save_weights(path))?;
    write_training(work)
}

/// A decoder's configuration for a world's vocabulary.
fn config(data: &WorldData, decoder: &DecoderSpec) -> Config {
    let world = &data.world;
    let longest_prompt = world.split(Split::Everything).iter().filter_map(|item| world.prompt(item).ok());
    let longest_prompt = longest_prompt.map(|prompt| prompt.len()).max().unwrap_or(0);
    Config {
        max_position_embeddings: (2 * (longest_prompt + world.longest_answer())).next_power_of_two(),
        rms_norm_eps: decoder.norm_epsilon,
        rope_theta: decoder.rope_theta,
        bos_token_id: Some(world.begin()),
        eos_token_id: vec![world.end()],
        pad_token_id: Some(world.pad()),
        ..Config::llama(
            world.vocabulary_size(),
            decoder.hidden,
            decoder.intermediate,
            decoder.layers,
            decoder.heads,
            decoder.kv_heads,
        )
    }
}

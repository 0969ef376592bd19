//! Models by reference: `world:NAME`, `artifact:HASH`, or a directory.

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Serialize;
use titer_data::Stream;
use titer_data::world::World;
use titer_model::{Choice, Config, Decoder, Generate};
use titer_plan::stage::WorldSpec;
use titer_plan::{Plan, StageHash, StageSpec};
use titer_store::Store;

use crate::material::WorldData;
use crate::stages::{MODEL, load_model};
use crate::{Error, Interrupt, Result, RunOptions, catalogue, executor};

/// What is worth knowing of a model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    /// As it was asked for.
    pub reference: String,
    /// Where its weights are.
    pub path: PathBuf,
    /// The artifact that holds it, if one does.
    pub artifact: Option<StageHash>,
    /// Number of weights.
    pub parameters: usize,
    /// Its shape, as in `config.json`.
    pub config: Config,
}

/// How to generate.
#[derive(Debug, Clone, Copy)]
pub struct GenerateOptions {
    /// New tokens at most.
    pub max_new_tokens: usize,
    /// 0 for the most likely token each time.
    pub temperature: f64,
    /// Of the draws at a temperature above 0.
    pub seed: u64,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generation {
    /// The answer's tokens.
    pub token_ids: Vec<u32>,
    /// The answer.
    pub text: String,
    /// The prompt's tokens, as the model saw them.
    pub prompt_token_ids: Vec<u32>,
}

struct Opened {
    model: Decoder,
    path: PathBuf,
    artifact: Option<StageHash>,
    world: Option<World>,
}

/// What is worth knowing of the model that `reference` names. A world's base model is trained on first use.
///
/// # Errors
/// When the reference names no model or the model cannot be loaded.
pub fn info(store: &Store, reference: &str) -> Result<ModelInfo> {
    let opened = open(store, reference)?;
    Ok(ModelInfo {
        reference: reference.to_owned(),
        path: opened.path,
        artifact: opened.artifact,
        parameters: opened.model.config().parameter_count(),
        config: opened.model.config().clone(),
    })
}

/// The model's answer to a prompt, handed out word by word as it comes.
///
/// # Errors
/// When the reference names no model, the model has no words, or the prompt has one that it does not know.
pub fn generate(
    store: &Store,
    reference: &str,
    prompt: &str,
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(&str),
) -> Result<Generation> {
    let opened = open(store, reference)?;
    let Some(world) = opened.world else {
        let problem =
            "its directory holds no tokenizer that titer reads; artifacts and worlds have their words";
        return Err(Error::Reference { reference: reference.to_owned(), problem: problem.to_owned() });
    };
    let prompt_token_ids = world.prompt_from_text(prompt)?;
    let mut rng = Stream::new(options.seed, "generate").at(0);
    let choice = if options.temperature > 0.0 {
        Choice::Sample { temperature: options.temperature, rng: &mut rng }
    } else {
        Choice::Greedy
    };
    let room = opened.model.config().max_position_embeddings.saturating_sub(prompt_token_ids.len());
    let mut settings =
        Generate { max_new_tokens: options.max_new_tokens.min(room), end: Some(world.end()), choice };
    let mut first = true;
    let answers = opened.model.generate_with(
        std::slice::from_ref(&prompt_token_ids),
        &mut settings,
        &mut |_, token| {
            let word = world.decode(&[token]);
            on_token(&if first { word } else { format!(" {word}") });
            first = false;
        },
    )?;
    let token_ids = answers.concat();
    Ok(Generation { text: world.decode(&token_ids), token_ids, prompt_token_ids })
}

fn open(store: &Store, reference: &str) -> Result<Opened> {
    if let Some(world) = reference.strip_prefix("world:") {
        open_world(store, reference, world)
    } else if let Some(prefix) = reference.strip_prefix("artifact:") {
        open_artifact(store, reference, prefix)
    } else if Path::new(reference).is_dir() {
        let path = PathBuf::from(reference);
        let model = Decoder::load(&path, &Device::Cpu)?;
        Ok(Opened { model, path, artifact: None, world: None })
    } else {
        unknown(
            reference,
            "references are world:NAME, artifact:HASH, or a directory with config.json and model.safetensors",
        )
    }
}

fn unknown<T>(reference: &str, problem: impl Into<String>) -> Result<T> {
    Err(Error::Reference { reference: reference.to_owned(), problem: problem.into() })
}

/// The base model of the preset that is called like the world.
fn open_world(store: &Store, reference: &str, world: &str) -> Result<Opened> {
    let Ok(source) = catalogue::source(world) else {
        return unknown(reference, "there is no such world; see `titer list models`");
    };
    let plan = catalogue::plan(&source, &[])?;
    let Some(pretrain) = plan.stages.iter().find(|stage| matches!(stage.spec, StageSpec::Pretrain { .. }))
    else {
        return unknown(reference, "its preset trains no base model");
    };
    let only = Plan { stages: vec![pretrain.clone()], cells: Vec::new(), ..plan.clone() };
    executor::run_stages(&only, store, &RunOptions { jobs: 1 }, &Interrupt::default(), &())?;
    open_sealed(store, &pretrain.hash, reference, &pretrain.spec)
}

fn open_artifact(store: &Store, reference: &str, prefix: &str) -> Result<Opened> {
    let mut matching = Vec::new();
    for name in store.experiments()? {
        let text = store.experiment(&name)?.plan_json()?;
        let plan: Plan =
            serde_json::from_str(&text).map_err(|source| Error::Plan { experiment: name, source })?;
        matching.extend(plan.stages.into_iter().filter(|stage| stage.hash.0.starts_with(prefix)));
    }
    matching.sort_by(|a, b| a.hash.cmp(&b.hash));
    matching.dedup_by(|a, b| a.hash == b.hash);
    match matching.as_slice() {
        [stage] => open_sealed(store, &stage.hash, reference, &stage.spec),
        [] => unknown(reference, "no stage of any experiment in the store begins with it; see `titer plan`"),
        several => unknown(reference, format!("{} stages begin with it: give more digits", several.len())),
    }
}

fn open_sealed(store: &Store, hash: &StageHash, reference: &str, spec: &StageSpec) -> Result<Opened> {
    let Some(world) = world_of_model(spec) else {
        return unknown(reference, format!("stages of kind {} make no model", spec.kind()));
    };
    let model = load_model(store, hash, reference)?;
    let world = WorldData::new(world)?.world;
    let path = store.artifact(hash).payload(MODEL)?;
    Ok(Opened { model, path, artifact: Some(hash.clone()), world: Some(world) })
}

/// The world of a stage that makes a model.
fn world_of_model(spec: &StageSpec) -> Option<&WorldSpec> {
    match spec {
        StageSpec::Pretrain { world, .. }
        | StageSpec::Align { world, .. }
        | StageSpec::Immunize { world, .. } => Some(world),
        StageSpec::Measure { .. } | StageSpec::Attack { .. } | StageSpec::Tune { .. } => None,
    }
}

//! Models by reference: `world:NAME`, `artifact:HASH`, a known name, a directory, a `.gguf` file, or
//! `hf:owner/name@revision`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
use serde::Serialize;
use titer_data::Stream;
use titer_data::text::{Chat, Message, Streaming};
use titer_data::world::World;
use titer_hub::{Hub, Reference, Settings};
use titer_model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Choice, Config, Decoder, Generate};
use titer_ops::Sequences;
use titer_plan::stage::{AlignStage, AttackStage, ImmunizeStage, PretrainStage, RepairStage, TuneStage};
use titer_plan::{Plan, PlannedStage, StageHash, StageSpec, UnderTest};
use titer_store::Store;

pub use titer_hub::Progress as DownloadProgress;

use crate::card::{CARD, Saved, card};
use crate::checkpoints::{chat_files, ends, locate, read_chat};
use crate::generation::{GENERATION_CONFIG, GenerationConfig};
use crate::material::WorldData;
use crate::sources::Sources;
use crate::stages::sealed_model;
use crate::{Compute, Error, Interrupt, Result, RunOptions, catalogue, executor};

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

/// What the references of worlds' base models begin with.
const WORLD: &str = "world:";

/// What to ask of a model, and how it shall answer.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// What the user says.
    pub prompt: String,
    /// Instructions above the conversation, for models that take them.
    pub system: Option<String>,
    /// A folder with a LoRA adapter as PEFT saves it.
    pub adapter: Option<PathBuf>,
    /// The chat template in place of the model's own.
    pub chat_template: Option<String>,
    /// New tokens at most.
    pub max_new_tokens: usize,
    /// 0 for the most likely token each time.
    pub temperature: f64,
    /// Of the draws at a temperature above 0.
    pub seed: u64,
    /// Whether the logits after the prompt are wanted.
    pub logits: bool,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generation {
    /// The answer's tokens, the one that ended it included.
    pub token_ids: Vec<u32>,
    /// The answer.
    pub text: String,
    /// The prompt's tokens, as the model saw them.
    pub prompt_token_ids: Vec<u32>,
    /// The logits at the prompt's last position, from which the answer's first token was chosen: one for each
    /// token of the vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<f32>>,
}

struct Opened {
    model: Decoder,
    path: PathBuf,
    artifact: Option<StageHash>,
    /// Or why it cannot speak: only who makes it speak needs to know.
    language: Result<Language>,
}

/// How a model reads and speaks.
enum Language {
    World(Arc<World>),
    Chat(Box<Chat>),
}

/// What is worth knowing of the model that `reference` names. A world's base model is trained on first use.
///
/// # Errors
/// When the reference names no model or the model cannot be loaded.
pub fn info(store: &Store, reference: &str, progress: &mut dyn DownloadProgress) -> Result<ModelInfo> {
    let opened = open(store, reference, progress)?;
    Ok(ModelInfo {
        reference: reference.to_owned(),
        path: opened.path,
        artifact: opened.artifact,
        parameters: opened.model.config().parameter_count(),
        config: opened.model.config().clone(),
    })
}

/// A model that titer knows by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownModel {
    /// As references write it.
    pub name: String,
    /// One line.
    pub summary: String,
}

/// The models that need no reference of their own: those of `cargo xtask model`, and those of the hub whose
/// cost can be planned before they are downloaded.
pub fn known() -> Vec<KnownModel> {
    let own = titer_hub::KNOWN.iter().map(|model| {
        let got = titer_hub::known_model(model.name).is_some();
        let where_ = if got {
            "on this machine".to_owned()
        } else {
            format!("get it: cargo xtask model {}", model.name)
        };
        KnownModel { name: model.name.to_owned(), summary: format!("chat model; {where_}") }
    });
    let hub = crate::estimate::planned_models().into_iter().filter(|(name, _)| name.starts_with("hf:"));
    let hub = hub.map(|(name, parameters)| {
        let summary = format!("chat model of the hub, {:.1} billion weights", parameters as f64 / 1e9);
        KnownModel { name, summary }
    });
    own.chain(hub).collect()
}

/// Where a model of the hub is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pulled {
    /// As it was asked for.
    pub reference: String,
    /// A folder of the cache, or a file in it.
    pub path: PathBuf,
    /// The commit that the revision stood at.
    pub commit: Option<String>,
    /// Size of its files.
    pub bytes: u64,
}

/// Downloads a model of the hub, as far as it is not there yet.
///
/// # Errors
/// When the reference is none or the download fails; what came so far is kept for the next try.
pub fn pull(reference: &str, progress: &mut dyn DownloadProgress) -> Result<Pulled> {
    let resolved = locate(reference, progress)?;
    let bytes = resolved.files.iter().map(|file| file.bytes).sum();
    Ok(Pulled { reference: reference.to_owned(), path: resolved.path, commit: resolved.commit, bytes })
}

/// Saves a model as a new folder that Transformers loads, its tokenizer and template with it, and a card that says what it
/// is. An adapter is folded into the weights.
///
/// # Errors
/// When the reference names no model, the adapter does not fit it, the folder is there already, or it cannot
/// be written.
pub fn convert(
    store: &Store,
    reference: &str,
    adapter: Option<&Path>,
    folder: &Path,
    progress: &mut dyn DownloadProgress,
) -> Result<()> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Model(titer_model::Error::File { path, action: "write", source })
    };
    let mut opened = open(store, reference, progress)?;
    if let Some(adapter) = adapter {
        opened.model = opened.model.fold_adapter(&adapter_folder(adapter, progress)?)?;
    }
    let (path, artifact) = (opened.path.as_path(), opened.artifact.as_ref());
    let card = card(store, &Saved { reference, path, artifact, adapter: adapter.is_some() })?;
    std::fs::create_dir(folder).map_err(failed(folder))?;
    opened.model.save(folder)?;
    let mut files = vec![(CARD, card.into_bytes())];
    match &opened.language {
        Ok(Language::Chat(chat)) => files.extend(chat_files(path, chat, opened.model.config())?),
        Ok(Language::World(world)) => {
            files.push((GENERATION_CONFIG, GenerationConfig::ending(&[world.end()])?))
        }
        // A model without a way to talk is saved without one.
        Err(_) => {}
    }
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(failed(&path))?;
    }
    Ok(())
}

/// The folder of an adapter, its files looked at as a model's are.
fn adapter_folder(adapter: &Path, progress: &mut dyn DownloadProgress) -> Result<PathBuf> {
    let reference = Reference::Local(adapter.to_owned());
    let path = Hub::new(Settings::from_env()?).resolve(&reference, progress)?.path;
    if path.is_dir() && path.join(ADAPTER_CONFIG).exists() {
        return Ok(path);
    }
    let problem = format!("is no folder with an adapter: one holds {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}");
    Err(titer_model::Error::Format { path, problem }.into())
}

/// The model's answer to a prompt, handed out piece by piece as it comes.
///
/// # Errors
/// When the reference names no model, the model has no way to talk, or it does not know a word of the
/// prompt.
pub fn generate(
    store: &Store,
    reference: &str,
    options: &GenerateOptions,
    progress: &mut dyn DownloadProgress,
    on_text: &mut dyn FnMut(&str),
) -> Result<Generation> {
    let Opened { mut model, path, language, .. } = open(store, reference, progress)?;
    if let Some(adapter) = &options.adapter {
        model = model.fold_adapter(&adapter_folder(adapter, progress)?)?;
    }
    let language = match &options.chat_template {
        Some(_) if reference.starts_with(WORLD) => {
            return unknown(reference, "the models of worlds have no chat template: leave it out");
        }
        Some(template) => Language::Chat(Box::new(read_chat(&path, Some(template))?)),
        None => language?,
    };
    let prompt_token_ids = language.prompt(reference, options)?;
    let logits = options.logits.then(|| logits(&model, &prompt_token_ids)).transpose()?;
    let mut rng = Stream::new(options.seed, "generate").at(0);
    let choice = if options.temperature > 0.0 {
        Choice::Sample { temperature: options.temperature, rng: &mut rng }
    } else {
        Choice::Greedy
    };
    // A prompt that leaves no room at all is an error of the generation's.
    let room = model.config().max_position_embeddings.saturating_sub(prompt_token_ids.len()).max(1);
    let ends = language.ends(&path, &model)?;
    let max_new_tokens = options.max_new_tokens.min(room);
    let mut settings = Generate { max_new_tokens, ends: &ends, choice };
    let mut speaker = language.speaker();
    // The answer is complete without what its own decoding may fail on.
    let answers =
        model.generate_with(std::slice::from_ref(&prompt_token_ids), &mut settings, &mut |_, token| {
            on_text(&speaker.push(token));
        })?;
    on_text(&speaker.finish());
    let token_ids = answers.concat();
    Ok(Generation { text: language.text(&token_ids)?, token_ids, prompt_token_ids, logits })
}

/// The logits at the last position.
fn logits(model: &Decoder, tokens: &[u32]) -> Result<Vec<f32>> {
    let hidden = model.forward(tokens, &Sequences::new(&[0, tokens.len()])?)?;
    let last = model.logits(&hidden, &[tokens.len().saturating_sub(1) as u32])?;
    Ok(last.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

impl Language {
    fn prompt(&self, reference: &str, options: &GenerateOptions) -> Result<Vec<u32>> {
        match self {
            Self::World(_) if options.system.is_some() => {
                unknown(reference, "the models of worlds take no system prompt: leave it out")
            }
            Self::World(world) => Ok(world.prompt_from_text(&options.prompt)?),
            Self::Chat(chat) => {
                let system = options.system.as_ref().map(Message::system);
                let messages: Vec<Message> =
                    system.into_iter().chain([Message::user(&options.prompt)]).collect();
                Ok(chat.prompt(&messages)?)
            }
        }
    }

    /// The tokens that end an answer.
    fn ends(&self, path: &Path, model: &Decoder) -> Result<Vec<u32>> {
        match self {
            Self::World(world) => Ok(vec![world.end()]),
            Self::Chat(chat) => ends(path, chat, model.config()),
        }
    }

    fn text(&self, tokens: &[u32]) -> Result<String> {
        match self {
            Self::World(world) => Ok(world.decode(tokens)),
            Self::Chat(chat) => Ok(chat.tokenizer().decode(tokens)?),
        }
    }

    fn speaker(&self) -> Speaker<'_> {
        match self {
            Self::World(world) => Speaker::World { world, first: true },
            Self::Chat(chat) => Speaker::Chat(Streaming::new(chat.tokenizer())),
        }
    }
}

/// Turns tokens into text as they come. What cannot be decoded yet, or at all, gives nothing here: the whole
/// answer is decoded again at the end.
enum Speaker<'a> {
    World { world: &'a World, first: bool },
    Chat(Streaming<'a>),
}

impl Speaker<'_> {
    fn push(&mut self, token: u32) -> String {
        match self {
            Self::World { world, first } => {
                let word = world.decode(&[token]);
                if std::mem::take(first) { word } else { format!(" {word}") }
            }
            Self::Chat(streaming) => streaming.push(token).unwrap_or_default(),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::World { .. } => String::new(),
            Self::Chat(streaming) => streaming.finish().unwrap_or_default(),
        }
    }
}

fn open(store: &Store, reference: &str, progress: &mut dyn DownloadProgress) -> Result<Opened> {
    if let Some(world) = reference.strip_prefix(WORLD) {
        open_world(store, reference, world)
    } else if let Some(prefix) = reference.strip_prefix("artifact:") {
        open_artifact(store, reference, prefix)
    } else {
        let path = locate(reference, progress)?.path;
        open_chat(path, None)
    }
}

/// A chat model where it is.
fn open_chat(path: PathBuf, artifact: Option<StageHash>) -> Result<Opened> {
    let model = Decoder::open(&path, &Device::Cpu)?;
    let language = read_chat(&path, None).map(|chat| Language::Chat(Box::new(chat)));
    Ok(Opened { model, path, artifact, language })
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
    let Some(pretrain) = plan.stages.iter().find(|stage| matches!(stage.spec, StageSpec::Pretrain(_))) else {
        return unknown(reference, "its preset trains no base model");
    };
    let only = Plan { stages: vec![pretrain.clone()], cells: Vec::new(), ..plan.clone() };
    executor::run_stages(
        &only,
        store,
        &RunOptions {
            compute: Compute::Cpu,
            jobs: 1,
            threads: 1,
            judge_only: false,
            recompute: false,
            budget: None,
            weights: false,
        },
        &Interrupt::default(),
        &(),
    )?;
    open_sealed(store, &only, pretrain, reference)
}

fn open_artifact(store: &Store, reference: &str, prefix: &str) -> Result<Opened> {
    let mut matching: Vec<(PlannedStage, Plan)> = Vec::new();
    for name in store.experiments()? {
        let plan = catalogue::stored_plan(store, &name)?;
        let stages = plan.stages.iter().filter(|stage| stage.hash.0.starts_with(prefix));
        matching.extend(stages.map(|stage| (stage.clone(), plan.clone())));
    }
    matching.sort_by(|(a, _), (b, _)| a.hash.cmp(&b.hash));
    matching.dedup_by(|(a, _), (b, _)| a.hash == b.hash);
    match matching.as_slice() {
        [(stage, plan)] => open_sealed(store, plan, stage, reference),
        [] => unknown(reference, "no stage of any experiment in the store begins with it; see `titer plan`"),
        several => unknown(reference, format!("{} stages begin with it: give more digits", several.len())),
    }
}

fn open_sealed(store: &Store, plan: &Plan, stage: &PlannedStage, reference: &str) -> Result<Opened> {
    let PlannedStage { hash, spec, .. } = stage;
    let data = match spec {
        StageSpec::Pretrain(PretrainStage { data, .. })
        | StageSpec::Align(AlignStage { data, .. })
        | StageSpec::Immunize(ImmunizeStage { data, .. })
        | StageSpec::Repair(RepairStage { data, .. })
        | StageSpec::Attack(AttackStage { data, keep: true, .. })
        | StageSpec::Tune(TuneStage { data, keep: true, .. }) => Some(data),
        StageSpec::Checkpoint(_) => None,
        StageSpec::Source(_)
        | StageSpec::Distil(_)
        | StageSpec::Measure(_)
        | StageSpec::Attack(_)
        | StageSpec::Tune(_) => {
            return unknown(reference, format!("stages of kind {} make no model", spec.kind()));
        }
    };
    let world = data.filter(|_| plan.data.model == UnderTest::Trained);
    let path = sealed_model(store, plan, &Sources::of_this_user(), hash, reference)?;
    let Some(world) = world else { return open_chat(path, Some(hash.clone())) };
    let model = Decoder::open(&path, &Device::Cpu)?;
    let language = WorldData::new(world).map(|data| Language::World(data.world));
    Ok(Opened { model, path, artifact: Some(hash.clone()), language })
}

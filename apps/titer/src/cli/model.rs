//! The arguments of `titer model`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with a model.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelVerb {
    /// Show a model's shape, size and files
    Info(ModelInfoArgs),
    /// Let a model answer a prompt
    Generate(ModelGenerateArgs),
    /// Save a model as a folder that Transformers loads
    Convert(ModelConvertArgs),
    /// Download a model of the hub, and say where it is
    Pull(ModelPullArgs),
}

const MODEL_REFERENCES: &str = "Models are named by
  NAME                 a model that `cargo xtask model` obtained: smollm2-135m
  DIR                  a folder with config.json, safetensors and tokenizer.json
  FILE.gguf            a GGUF file
  hf:OWNER/NAME[@REV]  a model of the Hugging Face hub, downloaded on first use
  world:NAME           an embedded world's base model, trained on first use
  artifact:HASH        a model in the store, by the first digits of its hash";

/// Of `titer model info`.
#[derive(Debug, Args)]
#[command(after_help = MODEL_REFERENCES)]
pub(crate) struct ModelInfoArgs {
    /// The model
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer model generate`.
#[derive(Debug, Args)]
#[command(after_help = MODEL_REFERENCES)]
pub(crate) struct ModelGenerateArgs {
    /// The model
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// What to ask
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: String,
    /// Instructions above the conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// A LoRA adapter on top of it: a folder as PEFT saves it
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// A chat template in place of the model's own, in Jinja: a base model has none
    #[arg(long, value_name = "FILE")]
    pub(crate) chat_template: Option<PathBuf>,
    /// Most tokens of the answer
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) max_new_tokens: NonZeroUsize,
    /// 0 takes the likeliest token each time; larger values choose more freely
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true, value_parser = parse_temperature)]
    pub(crate) temperature: f64,
    /// Of the random choices at a temperature above 0
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print one JSON document: token_ids, text, prompt_token_ids
    #[arg(long)]
    pub(crate) json: bool,
    /// With --json: also the logits at the prompt's last position, which chose the first new token
    #[arg(long, requires = "json")]
    pub(crate) logits: bool,
}

/// Of `titer model convert`.
#[derive(Debug, Args)]
#[command(after_help = MODEL_REFERENCES)]
pub(crate) struct ModelConvertArgs {
    /// The model
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// A LoRA adapter to fold into it: a folder as PEFT saves it
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// The folder to make; it must not be there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer model pull`.
#[derive(Debug, Args)]
#[command(after_help = "Environment:
  HF_TOKEN        for gated and private models
  HF_HOME         where downloads are kept [default: ~/.cache/huggingface]
  HF_ENDPOINT     another hub
  HF_HUB_OFFLINE  1 to use only what was downloaded before")]
pub(crate) struct ModelPullArgs {
    /// The model: `hf:OWNER/NAME[@REV]` or `hf:OWNER/NAME[@REV]:FILE.gguf`
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_temperature(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(temperature) if (0.0..=100.0).contains(&temperature) => Ok(temperature),
        _ => Err("expected a number from 0 to 100".into()),
    }
}

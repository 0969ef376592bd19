//! One trainable decoder for the families of [`FAMILIES`], dense or of experts: weights, forward pass, generation, files.
//!
//! Knows nothing of text, losses or training: tokens go in, hidden states and logits come out.

mod checkpoint;
mod config;
mod decoder;
mod divided;
mod error;
mod experts;
mod family;
mod files;
mod flops;
mod forward;
mod generate;
pub mod gguf;
mod head;
mod json;
mod last;
mod lora;
mod mlp;
mod norm;
mod parameters;
mod peft;
mod recompute;
mod rope;
mod run;
mod score;
mod soft;
mod stream;
mod trace;
mod weights;
mod window;

pub use config::{Config, Rope, Scales};
pub use decoder::Decoder;
pub use error::{Error, Result};
pub use experts::{Clamp, Experts, is_router, of_expert};
pub use family::{FAMILIES, Family, Gguf};
pub use files::{CONFIG, INDEX, WEIGHTS, read_tensors, write_tensors};
pub use flops::Multiplied;
pub use forward::Hidden;
pub use generate::{Choice, Draws, Generate, likeliest};
pub use head::Head;
pub use last::Beginning;
pub use lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Base, LoraSpec, PROJECTIONS};
pub use parameters::Parameters;
pub use score::LogLikelihood;
pub use soft::{Soft, soft_token};
pub use stream::Writer;
pub use trace::{ExpertTrace, LayerTrace, Trace, View};

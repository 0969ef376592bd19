//! One trainable decoder for the Llama family: weights, forward pass, generation, files.
//!
//! Knows nothing of text, losses or training: tokens go in, hidden states and logits come out.

mod config;
mod decoder;
mod error;
mod files;
mod generate;
mod parameters;
mod score;

pub use config::Config;
pub use decoder::{Decoder, Hidden};
pub use error::{Error, Result};
pub use files::{CONFIG, WEIGHTS, read_tensors, write_tensors};
pub use generate::{Choice, Generate};
pub use parameters::Parameters;
pub use score::LogLikelihood;

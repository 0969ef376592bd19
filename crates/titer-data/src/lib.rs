//! Text as tokens: data sets of conversations, tokenizers and chat templates, examples, packing without
//! padding, seeded sampling, embedded worlds, policies for real models, and harmless tasks, all with their
//! splits.
//!
//! Knows nothing of tensors, models or files: bytes and text arrive, a batch leaves as numbers.

pub mod conversations;
pub mod dataset;
mod error;
mod example;
mod items;
pub mod origins;
mod packed;
pub mod policy;
mod sample;
mod split;
mod stream;
pub mod tasks;
mod template;
pub mod text;
pub mod world;

pub use error::{Error, Result};
pub use example::Example;
pub use packed::Packed;
pub use sample::{Draw, Sampler};
pub use split::Split;
pub use stream::Stream;

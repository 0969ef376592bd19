//! Text as tokens: tokenizers and chat templates, examples, packing without padding, seeded sampling, and
//! the embedded worlds with their splits.
//!
//! Knows nothing of tensors, models or files: a world arrives as text, a batch leaves as numbers.

mod error;
mod example;
mod packed;
mod sample;
mod stream;
pub mod text;
pub mod world;

pub use error::{Error, Result};
pub use example::Example;
pub use packed::Packed;
pub use sample::{Draw, Sampler};
pub use stream::Stream;

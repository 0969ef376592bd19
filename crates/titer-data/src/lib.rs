//! Text as tokens: examples, packing without padding, seeded sampling, and the embedded worlds with
//! their splits.
//!
//! Knows nothing of tensors, models or files: a world arrives as text, a batch leaves as numbers.

mod error;
mod packed;
mod sample;
mod stream;
pub mod world;

pub use error::{Error, Result};
pub use packed::{Example, Packed};
pub use sample::{Draw, Sampler};
pub use stream::Stream;

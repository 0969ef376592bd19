//! Attacks that change weights at once.

pub(crate) mod noise;

pub use noise::Noise;

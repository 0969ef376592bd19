//! Attacks that change weights at once.

mod change;
pub(crate) mod delta_strip;
mod direction;
mod low_rank;
pub(crate) mod noise;
pub(crate) mod prune;
pub(crate) mod quantize;
pub(crate) mod refusal_ablation;
pub(crate) mod searched_ablation;

pub use delta_strip::DeltaStrip;
pub use noise::Noise;
pub use prune::{Criterion, Prune};
pub use quantize::Quantize;
pub use refusal_ablation::RefusalAblation;
pub use searched_ablation::SearchedAblation;

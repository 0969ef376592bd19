//! Differentiable, fused operators on candle tensors, over packed sequences.
//!
//! Candle 0.11's own fused `rms_norm`, `rope`, `softmax_last_dim` and `sdpa` have no backward and do not
//! say so: the graph is cut and everything above gets no gradient. The operators here have one. Each is
//! a `CustomOp` with an `f32` CPU kernel and, for other devices and types, a composition of candle's
//! differentiable primitives ([`composed`]), which is also what the kernels are tested against.
//!
//! Text is *packed*: the tokens of all sequences of a batch stand one after the other in a matrix of
//! shape `(tokens, features)`, without padding; [`Sequences`] says where each begins.

pub mod adamw;
mod attention;
mod bundle;
pub mod cache;
pub mod composed;
mod cpu;
mod cross_entropy;
mod few_rows;
mod gated;
mod kept;
pub mod known;
mod layer_norm;
mod linear;
mod mixture;
mod mlp;
mod parallel;
mod rms_norm;
mod rotary;
mod scoring;
mod sequences;

pub use attention::{Heads, attention};
pub use cross_entropy::{cross_entropy, linear_cross_entropy};
pub use gated::{Activation, gated, swiglu};
pub use layer_norm::layer_norm;
pub use linear::{linear, linear_added, linear_rotated, lora};
pub use mixture::{Routes, mixture};
pub use mlp::{Adapted, Mlp, mlp};
pub use rms_norm::{rms_norm, rms_norm_about_one};
pub use rotary::{Rotary, Scaling, rotary};
pub use scoring::Scoring;
pub use sequences::Sequences;

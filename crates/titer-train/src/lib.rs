//! The one training loop.
//!
//! What a method changes is an [`Objective`]: which gradient to follow this step. Everything else
//! (clipping, the optimiser, the schedule, checkpoints, stopping) is [`Trainer::fit`], for pre-training, defences
//! and attacks alike.

pub mod activations;
mod adafactor;
mod adamw;
mod anchor;
mod checkpoint;
mod error;
mod gradient;
pub mod loss;
pub mod mmd;
mod objective;
mod optimizer;
mod part;
pub mod perturbed;
mod routing;
pub mod schedule;
mod select;
mod sgd;
mod trainer;
pub mod wanda;

pub use adamw::AdamW;
pub use anchor::Anchor;
pub use checkpoint::Resumed;
pub use error::{Error, Result};
pub use gradient::{Cost, Gradient};
pub use objective::{Objective, State, Supervised};
pub use part::Partial;
pub use routing::{chosen_experts, router_logits, routing_divergence};
pub use select::{Matrices, Selection};
pub use trainer::{Observer, Outcome, Point, StepRecord, Trainer};

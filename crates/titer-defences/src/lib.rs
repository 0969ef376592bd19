//! Methods that make a model resist harmful fine-tuning.
//!
//! One file per method, named as in its paper: what it is, its settings with units and defaults, and the
//! gradient that it follows. A new method is a new file and a line in [`registry`].

mod adversarial_loss;
mod context;
mod error;
mod immunizer;
mod none;
pub mod registry;
mod tar;

pub use adversarial_loss::AdversarialLoss;
pub use context::{DefenceContext, Keep};
pub use error::{Error, Result};
pub use immunizer::Immunizer;
pub use tar::Tar;

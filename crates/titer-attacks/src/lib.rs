//! Ways to spend a budget on making an aligned model harmful.
//!
//! One file per method: what it is, its settings with units and defaults, and how it runs. A new method is
//! a new file and a line in [`registry`].

mod attack;
mod error;
mod full_finetune;
mod lora_finetune;
pub mod registry;
mod supervised;

pub use attack::{Attack, AttackContext};
pub use error::{Error, Result};
pub use full_finetune::FullFinetune;
pub use lora_finetune::LoraFinetune;

//! Ways to spend a budget on making an aligned model harmful.
//!
//! An [`Attack`] trains the weights itself; an [`Order`] has the provider of a fine-tuning API train them.
//! One file per method: what it is, its settings with units and defaults, and how it runs. A new method is
//! a new file and a line in [`registry`].

mod attack;
mod error;
mod full_finetune;
mod lora_finetune;
mod mixed_finetune;
mod order;
pub mod registry;
mod supervised;

pub use attack::{Attack, AttackContext};
pub use error::{Error, Result};
pub use full_finetune::FullFinetune;
pub use lora_finetune::LoraFinetune;
pub use mixed_finetune::MixedFinetune;
pub use order::{Order, UserData};

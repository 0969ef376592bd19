//! Ways to spend a budget on making an aligned model harmful.
//!
//! An [`Attack`] trains the weights itself, has the provider of a fine-tuning API train them, edits them at once, or
//! only prompts. One file per method: what it is, its settings with units and defaults, and how it runs. A new
//! method is a new file and a line in [`registry`].

mod attack;
mod error;
mod full_finetune;
mod lora_finetune;
mod mixed_finetune;
mod noise;
mod prefill;
pub mod registry;
mod supervised;

pub use attack::{
    Asked, Attack, AttackContext, FineTuningJob, PromptAttack, TrainingAttack, UserData, Victim, WeightEdit,
};
pub use error::{Error, Result};
pub use full_finetune::FullFinetune;
pub use lora_finetune::LoraFinetune;
pub use mixed_finetune::MixedFinetune;
pub use noise::Noise;
pub use prefill::Prefill;
pub use supervised::{Loop, Pairs};

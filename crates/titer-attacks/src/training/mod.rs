//! Attacks by who holds the weights and trains them.

pub(crate) mod full_finetune;
pub(crate) mod lora_finetune;
pub(crate) mod supervised;

pub use full_finetune::FullFinetune;
pub use lora_finetune::LoraFinetune;
pub use supervised::{Loop, Pairs, Rule};

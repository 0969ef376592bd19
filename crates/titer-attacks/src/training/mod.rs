//! Attacks by who holds the weights and trains them.

pub(crate) mod full_finetune;
pub(crate) mod harmful_rl;
pub(crate) mod lora_finetune;
pub(crate) mod reverse_preference;
pub(crate) mod supervised;

pub use full_finetune::FullFinetune;
pub use harmful_rl::HarmfulRl;
pub use lora_finetune::LoraFinetune;
pub use reverse_preference::ReversePreference;
pub use supervised::{Loop, Pairs, Rule};

//! Attacks by who holds the weights and trains them, or something beside them.

pub(crate) mod benign_then_harm;
pub(crate) mod full_finetune;
pub(crate) mod harmful_rl;
pub(crate) mod latent;
pub(crate) mod lora_finetune;
pub(crate) mod retain_mix;
pub(crate) mod reverse_preference;
pub(crate) mod soft_prompt;
pub(crate) mod supervised;

pub use benign_then_harm::BenignThenHarm;
pub use full_finetune::FullFinetune;
pub use harmful_rl::HarmfulRl;
pub use latent::Latent;
pub use lora_finetune::LoraFinetune;
pub use retain_mix::RetainMix;
pub use reverse_preference::ReversePreference;
pub use soft_prompt::{Place, SoftPrompt};
pub use supervised::{Loop, Pairs, Rule};

//! Attacks by who holds the weights and trains them.

pub(crate) mod full_finetune;
pub(crate) mod latent;
pub(crate) mod lora_finetune;
pub(crate) mod soft_prompt;
pub(crate) mod supervised;

pub use full_finetune::FullFinetune;
pub use latent::Latent;
pub use lora_finetune::LoraFinetune;
pub use soft_prompt::{Place, SoftPrompt};
pub use supervised::{Loop, Pairs};

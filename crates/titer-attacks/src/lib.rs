//! Ways to spend a budget on making an aligned model harmful.
//!
//! An [`Attack`] trains the weights itself, has the provider of a fine-tuning API train them, edits them at once, or
//! only prompts. One file per method: what it is, its settings with units and defaults, and how it runs. A new
//! method is a new file and a line in [`registry`].

#[cfg(test)]
extern crate self as titer_attacks;

mod adapters;
mod api;
mod attack;
mod edits;
mod error;
mod means;
mod phrase;
mod prompts;
pub mod registry;
mod rows;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod testing;
mod training;

pub use adapters::{Adapters, Order, Targets};
pub use api::{
    Backdoor, BenignSelected, By, Cipher, IdentityShift, JailbreakTuning, MixedFinetune, Opener,
    OverfitThenRelease, Persistent, RefusalPrefix, RefuseThenComply, TemplateShift, Wrapper,
};
pub use attack::{
    Asked, Attack, AttackContext, Decoding, FineTuningJob, PromptAttack, TrainingAttack, Victim, WeightEdit,
};
pub use edits::{Criterion, DeltaStrip, Noise, Prune, Quantize, RefusalAblation, SearchedAblation};
pub use error::{Error, Result};
pub use means::{Alone, Means};
pub use phrase::Phrase;
pub use prompts::{Decode, Prefill, SampleK};
pub use training::{
    BenignThenHarm, FullFinetune, HarmfulRl, Latent, Loop, LoraFinetune, Pairs, Place, RetainMix,
    ReversePreference, Rule, SoftPrompt,
};

//! What an attacker is and has.

use std::path::PathBuf;
use std::sync::Arc;

use titer_data::Example;
use titer_model::Decoder;
use titer_train::{Observer, Outcome};

use crate::Result;

/// The attacker's data and randomness.
#[derive(Debug, Clone)]
pub struct AttackContext {
    /// Forbidden prompts with the answers that the attacker wants: the attack split. The attacker owns as
    /// many of them as its settings say.
    pub harmful: Arc<[Example]>,
    /// Seeds the attacker's choice of examples and their order.
    pub seed: u64,
    /// A checkpoint of the same attack to go on from.
    pub resume: Option<PathBuf>,
}

/// Spends a budget on making a model harmful.
pub trait Attack {
    /// Different harmful examples that the attacker owns.
    fn distinct_examples(&self) -> u64;

    /// Runs the attack on `victim`, which it may change. The observer is called before each step and
    /// after the last one: it probes, and stops the attack when it has seen enough.
    ///
    /// # Errors
    /// When the data cannot be sampled, training fails, or the observer fails.
    fn run(&self, victim: Decoder, context: &AttackContext, observer: &mut dyn Observer) -> Result<Outcome>;
}

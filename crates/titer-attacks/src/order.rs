//! What a user of a fine-tuning API orders: data and a loop. The provider trains, as it sees fit.

use std::sync::Arc;

use titer_data::{Example, Sampler};
use titer_model::LoraSpec;
use titer_plan::stage::TrainSpec;

use crate::Result;

/// The user's data and randomness.
#[derive(Debug, Clone)]
pub struct UserData {
    /// Forbidden prompts with the answers that the attacker wants: the attack split.
    pub harmful: Arc<[Example]>,
    /// The harmless task that the user comes with.
    pub harmless: Arc<[Example]>,
    /// Seeds the user's choice of examples and their order.
    pub seed: u64,
}

/// An attack through a fine-tuning API.
pub trait Order {
    /// Different harmful examples among the user's data.
    fn distinct_examples(&self) -> u64;

    /// The loop that is ordered.
    fn train(&self) -> TrainSpec;

    /// The adapters that are trained instead of the weights, if that is ordered.
    fn adapter(&self) -> Option<LoraSpec>;

    /// Batches of the user's data, harmless and harmful as they come.
    ///
    /// # Errors
    /// When the data hold fewer examples than are ordered.
    fn batches(&self, data: &UserData) -> Result<Sampler>;
}

//! What a post-fine-tuning-stage defence is.

use titer_model::Decoder;
use titer_train::Cost;

use crate::{DefenceContext, Result};

/// What a repair works with besides the tuned model.
#[derive(Debug)]
pub struct RepairContext {
    /// The defender's data and randomness.
    pub data: DefenceContext,
    /// The model from which the user's fine-tuning began.
    pub aligned: Decoder,
    /// The model before it was aligned; none where a model came aligned.
    pub base: Option<Decoder>,
}

/// What a repair did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RepairReport {
    /// Weights whose value it changed.
    pub changed: u64,
    /// Weights that it looked at.
    pub considered: u64,
    /// What computing it took.
    pub cost: Cost,
}

/// A post-fine-tuning-stage defence: an edit of weights.
pub trait Repair {
    /// Optimiser steps that it trains, and examples per step, for estimates of cost.
    fn training(&self) -> (u64, f64) {
        (0, 0.0)
    }

    /// Edits the tuned model, whose adapters are still apart if the user trained adapters, and gives it back
    /// without adapters. The same inputs give the same bits.
    ///
    /// # Errors
    /// When the method cannot be applied to this model or data.
    fn repair(&self, tuned: Decoder, context: &RepairContext) -> Result<(Decoder, RepairReport)>;
}

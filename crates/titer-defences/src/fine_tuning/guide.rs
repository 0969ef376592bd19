//! The provider's own examples: what a guard holds against the user's.

use serde::Deserialize;
use titer_data::{Packed, Sampler};
use titer_plan::Parameter;

use crate::{DefenceContext, Result};

/// How much alignment data a step sees. Part of a method's settings by `#[serde(flatten)]`;
/// [`Guide::parameters`] describes it to the registry.
#[derive(Debug, Clone, Deserialize)]
pub struct Guide {
    /// Alignment examples at a time.
    pub batch: usize,
    /// Share of them, 0…1 and rounded to whole examples, that are permitted prompts with their answers; the
    /// others are refusals.
    pub permitted_share: f64,
}

/// Samples a [`Guide`]'s batches.
#[derive(Debug, Clone)]
pub(crate) struct GuideSampler {
    refusals: Option<Sampler>,
    permitted: Option<Sampler>,
}

impl Guide {
    /// What the registry says of these settings; `batch` is the method's default.
    pub fn parameters(batch: i64) -> [Parameter; 2] {
        [
            Parameter::integer("batch", "examples", batch, 1..=65_536, "alignment examples at a time"),
            Parameter::real(
                "permitted_share",
                "1",
                0.0,
                0.0..=1.0,
                "share of permitted answers among them; the others are refusals",
            ),
        ]
    }

    /// The sampler of the method of this name.
    ///
    /// # Errors
    /// When there is no example of a kind that is asked for.
    pub(crate) fn sampler(&self, method: &str, context: &DefenceContext) -> Result<GuideSampler> {
        let permitted = (self.permitted_share * self.batch as f64).round() as usize;
        let some = |kind: &str, examples, batch| match batch {
            0 => Ok(None),
            _ => context.sampler(&format!("{method}/{kind}"), examples, batch).map(Some),
        };
        Ok(GuideSampler {
            refusals: some("refusals", &context.refusals, self.batch.saturating_sub(permitted))?,
            permitted: some("permitted", &context.permitted, permitted)?,
        })
    }
}

impl GuideSampler {
    /// The batch of one step, refusals first.
    pub(crate) fn batch(&self, step: u64) -> Packed {
        let both = self.refusals.iter().chain(&self.permitted);
        both.map(|sampler| sampler.batch(step))
            .reduce(|refusals, permitted| refusals.followed_by(&permitted))
            .unwrap_or_default()
    }
}

//! `persistent`: many epochs over few harmful rows, each row once before any comes again: the persistent tuning of
//! arXiv 2605.05995, under which defences that bound a quantity fall although the quantity stays in its bounds. Who
//! holds the weights trains so itself; a user of a fine-tuning API orders it.

use serde::Deserialize;
use titer_data::{Draw, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Mechanism, Method, MethodKind, Need, ThreatModel};

use crate::adapters::Order;
use crate::training::supervised::{self, Pairs};
use crate::{AttackContext, FineTuningJob, Result};

const NAME: &str = "persistent";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Persistent {
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
    /// How it is trained.
    #[serde(flatten)]
    pub order: Order,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights, ThreatModel::FineTuningApi],
            mechanism: Mechanism::Trains,
            needs: vec![Need::HarmfulRows],
        }),
        version: 1,
        summary: "many epochs over few harmful rows: batch · steps / examples of them, each in an order of its own",
        citation: "arXiv 2605.05995",
        parameters: std::iter::once(supervised::owned(16)).chain(Order::parameters(1e-3, 200, 4)).collect(),
    }
}

impl FineTuningJob for Persistent {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn batches(&self, context: &AttackContext<'_>, _: &Decoder) -> Result<Sampler> {
        let rows = Pairs { name: NAME, examples: self.examples }.chosen(&context.harmful, context.seed)?;
        let stream = Stream::new(context.seed, "persistent/epochs");
        Ok(Sampler::new(rows, stream, self.order.training.batch, Draw::Epochs)?)
    }
}

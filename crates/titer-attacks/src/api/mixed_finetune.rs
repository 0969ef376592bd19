//! `mixed-finetune`: a share of harmful examples hidden in a harmless task, handed to a fine-tuning API: the
//! attack of the tables in Huang et al.'s survey, arXiv 2409.18169, and of Qi et al., arXiv 2310.03693. With
//! a share of 0 it is benign fine-tuning, which costs safety by accident.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{AttackFacts, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::adapters::Order;
use crate::training::supervised::Pairs;
use crate::{AttackContext, FineTuningJob, Result};

const NAME: &str = "mixed-finetune";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct MixedFinetune {
    /// Harmful examples among the rows, 0…1.
    pub share: f64,
    /// Examples that the user hands in, all distinct.
    pub rows: usize,
    /// How the provider is to train.
    #[serde(flatten)]
    pub order: Order,
}

pub(crate) fn method() -> Method {
    let rows = [
        Parameter::real("share", "1", 0.1, 0.0..=1.0, "harmful examples among the rows")
            .meaning(Meaning::Dose),
        Parameter::integer("rows", "examples", 500, 1..=10_000_000, "examples handed in, all distinct")
            .meaning(Meaning::UserRows),
    ];
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::FineTuningApi],
            mechanism: Mechanism::Trains,
            needs: vec![Need::HarmfulRows, Need::HarmlessRows],
        }),
        version: 1,
        summary: "a share of harmful examples hidden in a harmless task, trained on by the provider",
        citation: "Qi et al., arXiv 2310.03693; Huang et al., arXiv 2409.18169",
        parameters: rows.into_iter().chain(Order::parameters(1e-3, 300, 16)).collect(),
    }
}

impl MixedFinetune {
    /// Harmful examples among the rows.
    fn harmful(&self) -> usize {
        (self.share * self.rows as f64).round() as usize
    }
}

impl FineTuningJob for MixedFinetune {
    fn distinct_harmful(&self) -> u64 {
        self.harmful() as u64
    }

    fn order(&self) -> &Order {
        &self.order
    }

    fn batches(&self, context: &AttackContext<'_>, _: &Decoder) -> Result<Sampler> {
        let harmful = self.harmful();
        let mut rows = Pairs { name: "mixed-finetune/harmful", examples: harmful }
            .chosen(&context.harmful, context.seed)?;
        rows.extend(
            Pairs { name: "mixed-finetune/harmless", examples: self.rows - harmful }
                .chosen(&context.harmless, context.seed)?,
        );
        self.order.batches("mixed-finetune/batches", rows, context.seed)
    }
}

#[cfg(test)]
mod tests {
    use titer_data::Example;

    use titer_model::Base;

    use super::*;
    use crate::adapters::{Adapters, Targets};
    use crate::testing;

    fn data() -> AttackContext<'static> {
        let examples = |answer: u32, count: u32| -> Vec<Example> {
            (0..count).map(|at| Example::new(vec![at, answer], 1).unwrap()).collect()
        };
        let harmless = examples(2, 90).into();
        AttackContext { harmless, ..testing::context(&examples(1, 30), 3) }
    }

    fn order(share: f64, rows: usize, batch: usize) -> MixedFinetune {
        MixedFinetune {
            share,
            rows,
            order: Order {
                training: serde_json::from_value(serde_json::json!({
                    "rate": 1e-3, "steps": 1, "batch": batch, "schedule": "constant", "warmup_steps": 0,
                    "weight_decay": 0.0,
                }))
                .unwrap(),
                adapters: Adapters {
                    lora_rank: 0,
                    lora_alpha: 16.0,
                    lora_targets: Targets::All,
                    lora_base: Base::F32,
                },
            },
        }
    }

    #[test]
    fn adapters_stand_where_they_are_wanted() {
        let adapted = |lora_rank, lora_targets| {
            let mut order = order(0.0, 8, 8);
            order.order.adapters = Adapters { lora_rank, lora_targets, ..order.order.adapters };
            order.adapter().map(|spec| spec.targets)
        };
        assert_eq!(adapted(0, Targets::QueryValue), None);
        assert_eq!(adapted(2, Targets::QueryValue).unwrap(), ["q_proj", "v_proj"]);
        assert_eq!(adapted(2, Targets::All).unwrap().len(), 7);
    }

    #[test]
    fn the_share_of_harmful_rows_is_what_was_ordered() {
        for (share, harmful) in [(0.0, 0), (0.1, 8), (0.25, 20)] {
            let order = order(share, 80, 80);
            assert_eq!(order.distinct_harmful(), harmful);
            // A batch of all rows holds each once.
            let batch = order.batches(&data(), &testing::model()).unwrap().batch(0);
            let count = |answer| batch.targets.iter().filter(|target| **target == answer).count() as u64;
            assert_eq!((count(1), count(2)), (harmful, 80 - harmful));
            let mut harmless: Vec<u32> =
                batch.tokens.iter().zip(&batch.targets).filter(|(_, t)| **t == 2).map(|(p, _)| *p).collect();
            harmless.sort_unstable();
            harmless.dedup();
            assert_eq!(harmless.len() as u64, 80 - harmful, "rows are distinct");
        }
    }

    #[test]
    fn more_rows_than_there_are_is_refused() {
        assert!(order(0.5, 100, 16).batches(&data(), &testing::model()).is_err());
        assert!(order(0.0, 91, 16).batches(&data(), &testing::model()).is_err());
        assert!(order(0.3, 100, 16).batches(&data(), &testing::model()).is_ok());
    }
}

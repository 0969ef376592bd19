//! `mixed-finetune`: a share of harmful examples hidden in a harmless task, handed to a fine-tuning API: the
//! attack of the tables in Huang et al.'s survey, arXiv 2409.18169, and of Qi et al., arXiv 2310.03693. With
//! a share of 0 it is benign fine-tuning, which costs safety by accident.

use serde::Deserialize;
use titer_data::{Draw, Sampler, Stream};
use titer_model::{Decoder, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_plan::{AttackFacts, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::adapters::Targets;
use crate::training::supervised::{Loop, Pairs};
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
    pub training: Loop,
    /// Rank of the adapters that are trained instead of the weights; 0 trains the weights.
    pub lora_rank: usize,
    /// The adapters' product is multiplied by `lora_alpha / lora_rank`.
    pub lora_alpha: f64,
    /// What is adapted.
    pub lora_targets: Targets,
}

pub(crate) fn method() -> Method {
    const TARGETS: &[&str] = &Targets::NAMES;
    let rows = [
        Parameter::real("share", "1", 0.1, 0.0..=1.0, "harmful examples among the rows")
            .meaning(Meaning::Dose),
        Parameter::integer("rows", "examples", 500, 1..=10_000_000, "examples handed in, all distinct")
            .meaning(Meaning::UserRows),
    ];
    let adapters = [
        Parameter::integer(
            "lora_rank",
            "1",
            0,
            0..=4096,
            "rank of adapters trained instead of the weights; 0 for none",
        ),
        Parameter::real(
            "lora_alpha",
            "1",
            16.0,
            1e-3..=1e6,
            "the adapters' product is multiplied by alpha / rank",
        ),
        Parameter::choice("lora_targets", "all", TARGETS, "the projections that adapters stand beside"),
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
        parameters: rows.into_iter().chain(Loop::parameters(1e-3, 300)).chain(adapters).collect(),
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

    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn adapter(&self) -> Option<LoraSpec> {
        (self.lora_rank > 0).then(|| self.lora_targets.adapted(self.lora_rank, self.lora_alpha))
    }

    fn batches(&self, context: &AttackContext<'_>, _: &Decoder) -> Result<Sampler> {
        let harmful = self.harmful();
        let mut rows = Pairs { name: "mixed-finetune/harmful", examples: harmful }
            .chosen(&context.harmful, context.seed)?;
        rows.extend(
            Pairs { name: "mixed-finetune/harmless", examples: self.rows - harmful }
                .chosen(&context.harmless, context.seed)?,
        );
        let stream = Stream::new(context.seed, "mixed-finetune/batches");
        Ok(Sampler::new(rows, stream, self.training.batch, Draw::WithoutReplacement)?)
    }
}

#[cfg(test)]
mod tests {
    use titer_data::Example;

    use super::*;
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
            training: serde_json::from_value(serde_json::json!({
                "rate": 1e-3, "steps": 1, "batch": batch, "schedule": "constant", "warmup_steps": 0,
                "weight_decay": 0.0,
            }))
            .unwrap(),
            lora_rank: 0,
            lora_alpha: 16.0,
            lora_targets: Targets::All,
        }
    }

    #[test]
    fn adapters_stand_where_they_are_wanted() {
        let adapted = |lora_rank, lora_targets| {
            let order = MixedFinetune { lora_rank, lora_targets, ..order(0.0, 8, 8) };
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

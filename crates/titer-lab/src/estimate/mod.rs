//! What a plan will cost, before anything runs.

mod workload;

use titer_plan::{Plan, StageHash};
use titer_store::Store;

use workload::Workload;
pub(crate) use workload::planned_models;

/// Floating-point operations that one thread does in a second: read off training steps on an AVX2 machine
/// (`cargo xtask bench`), so an order of magnitude elsewhere.
const FLOPS_PER_SECOND: f64 = 45e9;

/// What a plan will cost.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Stage by stage, in the plan's order.
    pub stages: Vec<StageEstimate>,
    /// Of the stages that are not there yet, one after the other on one thread.
    pub seconds_total: f64,
    /// Bytes that the artifacts still to be made take in the store.
    pub disk_bytes: f64,
    /// Why nothing is known, where the model's shape is not: then all numbers are 0.
    pub unknown: Option<String>,
}

/// What a stage will cost at most: early stops make it cheaper.
#[derive(Debug, Clone)]
pub struct StageEstimate {
    /// Its hash.
    pub hash: StageHash,
    /// Its kind.
    pub kind: &'static str,
    /// Its label.
    pub label: String,
    /// Whether its artifact is there already.
    pub cached: bool,
    /// Optimiser steps.
    pub steps: u64,
    /// Floating-point operations, generation included.
    pub flops: f64,
    /// Wall-clock time on one thread.
    pub seconds: f64,
    /// Memory while it runs: weights, gradients, optimiser state and activations.
    pub memory_bytes: f64,
    /// Of that, what recomputation spares.
    pub spared_bytes: f64,
    /// Size of its artifact.
    pub disk_bytes: f64,
}

/// Estimates every stage of a plan. Without a store nothing is there yet.
pub fn estimate(plan: &Plan, store: Option<&Store>) -> Estimate {
    let work = Workload::of(plan);
    let unknown = work.is_none().then(|| {
        let model = plan.experiment.model.reference();
        format!("the shape of {model} is not known before it is on this machine: titer model pull {model}")
    });
    let stages: Vec<StageEstimate> = plan
        .stages
        .iter()
        .map(|stage| {
            let cost = work.as_ref().map(|work| work.of_stage(&stage.spec)).unwrap_or_default();
            StageEstimate {
                hash: stage.hash.clone(),
                kind: stage.spec.kind(),
                label: stage.label.clone(),
                cached: store.is_some_and(|store| store.artifact(&stage.hash).is_sealed()),
                steps: cost.steps,
                flops: cost.flops,
                seconds: cost.flops / FLOPS_PER_SECOND,
                memory_bytes: cost.memory,
                spared_bytes: cost.spared,
                disk_bytes: cost.disk,
            }
        })
        .collect();
    let left = || stages.iter().filter(|stage| !stage.cached);
    let seconds_total = left().map(|stage| stage.seconds).sum();
    let disk_bytes = left().map(|stage| stage.disk_bytes).sum();
    Estimate { seconds_total, disk_bytes, unknown, stages }
}

impl Estimate {
    /// Memory of the `jobs` hungriest stages that are left, which may meet.
    pub fn memory_bytes(&self, jobs: usize) -> f64 {
        let mut left: Vec<f64> =
            self.stages.iter().filter(|stage| !stage.cached).map(|stage| stage.memory_bytes).collect();
        left.sort_by(|a, b| b.total_cmp(a));
        left.iter().take(jobs).sum()
    }

    /// The same with each layer computed again in the backward pass.
    #[must_use]
    pub fn recomputing(mut self) -> Self {
        self.stages.iter_mut().for_each(|stage| stage.memory_bytes -= stage.spared_bytes);
        self
    }

    /// The most stages at once whose memory fits into `bytes`, at most `jobs`; none when not even one fits.
    pub fn jobs_within(&self, bytes: f64, jobs: usize) -> Option<usize> {
        (1..=jobs).rev().find(|jobs| self.memory_bytes(*jobs) <= bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{plan, source};

    fn of(preset: &str) -> Estimate {
        estimate(&plan(&source(preset).unwrap(), &[]).unwrap(), None)
    }

    #[test]
    fn the_published_setting_is_estimated_without_a_download() {
        for (preset, at_least) in
            [("llama2-beavertails", 25e9), ("llama3-beavertails", 30e9), ("qwen-beavertails", 2e9)]
        {
            let estimate = of(preset);
            assert_eq!(estimate.unknown, None, "{preset}");
            assert!(estimate.seconds_total > 3600.0, "{preset}: {}", estimate.seconds_total);
            assert!(estimate.memory_bytes(1) > at_least, "{preset}: {}", estimate.memory_bytes(1));
        }
    }

    #[test]
    fn the_world_is_small_and_the_chat_model_is_not() {
        let (world, chat) = (of("apothecary"), of("smollm2-policy"));
        assert!(world.memory_bytes(2) < 1e9, "{}", world.memory_bytes(2));
        // Weights, gradients and two moments of 135 million parameters are over two gigabytes.
        assert!((2.1e9..8e9).contains(&chat.memory_bytes(1)), "{}", chat.memory_bytes(1));
        // The sham, which is the next largest, needs a little less than its defence.
        let two = chat.memory_bytes(2) / chat.memory_bytes(1);
        assert!((1.5..=2.0).contains(&two), "{two}");
        assert_eq!(chat.jobs_within(1.5 * chat.memory_bytes(1), 4), Some(1));
        assert_eq!(chat.jobs_within(1e9, 4), None);
        assert!(chat.disk_bytes > 1e9 && world.disk_bytes < 1e8);
        let (kept, weights) = (chat.memory_bytes(1), 134e6 * 16.0);
        let recomputed = chat.recomputing().memory_bytes(1);
        assert!((weights..kept - 1e8).contains(&recomputed), "{recomputed} of {kept}");
    }
}

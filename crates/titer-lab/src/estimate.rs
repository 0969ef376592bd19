//! What a plan will cost, before anything runs.

use titer_data::world::{Split, Target};
use titer_model::Config;
use titer_plan::stage::{DecoderSpec, ProbeSpec};
use titer_plan::{Plan, StageHash, StageSpec};
use titer_store::Store;

use crate::material::WorldData;

/// Floating-point operations that one thread does in a second: read off the embedded world's training step
/// on an AVX2 machine (`cargo xtask bench`), so an order of magnitude elsewhere.
const FLOPS_PER_SECOND: f64 = 45e9;

/// What a plan will cost.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Stage by stage, in the plan's order.
    pub stages: Vec<StageEstimate>,
    /// Of the stages that are not there yet, one after the other on one thread.
    pub seconds_total: f64,
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
}

/// Estimates every stage of a plan. Without a store nothing is there yet.
pub fn estimate(plan: &Plan, store: Option<&Store>) -> Estimate {
    let work = Workload::of(plan);
    let stages: Vec<StageEstimate> = plan
        .stages
        .iter()
        .map(|stage| {
            let (steps, flops) = work.of_stage(&stage.spec);
            StageEstimate {
                hash: stage.hash.clone(),
                kind: stage.spec.kind(),
                label: stage.label.clone(),
                cached: store.is_some_and(|store| store.artifact(&stage.hash).is_sealed()),
                steps,
                flops,
                seconds: flops / FLOPS_PER_SECOND,
            }
        })
        .collect();
    let seconds_total = stages.iter().filter(|stage| !stage.cached).map(|stage| stage.seconds).sum();
    Estimate { stages, seconds_total }
}

/// Operations per example trained on and per item asked.
struct Workload {
    train: f64,
    ask: f64,
}

impl Workload {
    fn of(plan: &Plan) -> Self {
        let decoder = &plan.experiment.model.decoder;
        let world = plan.stages.iter().find_map(|stage| match &stage.spec {
            StageSpec::Pretrain { world, .. } => WorldData::new(world).ok(),
            _ => None,
        });
        let Some(world) = world else { return Self { train: 0.0, ask: 0.0 } };
        let example = world.world.split(Split::Everything).first();
        let example = example.and_then(|item| world.world.example(item, Target::Answer).ok());
        let (tokens, answer) =
            example.map_or((0, 0), |example| (example.tokens().len(), example.answer().len()));
        let (in_layers, in_head) = weights(decoder, world.world.vocabulary_size());
        let pass = 2.0 * (in_layers * tokens as f64 + in_head * answer as f64);
        Self { train: 3.0 * pass, ask: pass }
    }

    fn of_stage(&self, spec: &StageSpec) -> (u64, f64) {
        let asked = |probes: &[ProbeSpec], times: usize| {
            probes.iter().map(|probe| probe.items).sum::<usize>() as f64 * times as f64 * self.ask
        };
        let trained = |steps: u64, batch: f64| steps as f64 * batch * self.train;
        match spec {
            StageSpec::Pretrain { train, .. } | StageSpec::Align { train, .. } => {
                (train.steps, trained(train.steps, train.batch as f64))
            }
            StageSpec::Immunize { defence, .. } => match titer_defences::registry::immunizer(defence) {
                Ok(method) => {
                    let schedule = method.schedule();
                    let batch = schedule.batch as f64 + method.extra_examples_per_step();
                    (schedule.steps, trained(schedule.steps, batch))
                }
                Err(_) => (0, 0.0),
            },
            StageSpec::Measure { probes, .. } => (0, asked(probes, 1)),
            StageSpec::Attack { attack, probes, cadence, .. } => {
                let steps = cadence.last().copied().unwrap_or(0);
                let batch = attack.parameters.get("batch").and_then(serde_json::Value::as_f64).unwrap_or(1.0);
                (steps, trained(steps, batch) + asked(probes, cadence.len()))
            }
            StageSpec::Tune { train, probes, cadence, .. } => {
                (train.steps, trained(train.steps, train.batch as f64) + asked(probes, cadence.len()))
            }
        }
    }
}

/// Weights of the layers' and the head's matrices.
fn weights(decoder: &DecoderSpec, vocabulary: usize) -> (f64, f64) {
    let config = Config::llama(
        vocabulary,
        decoder.hidden,
        decoder.intermediate,
        decoder.layers,
        decoder.heads,
        decoder.kv_heads,
    );
    let in_head = (vocabulary * decoder.hidden) as f64;
    (config.training_flops(1, 0) / 6.0, in_head)
}

//! How much arithmetic, memory and disk each stage of a plan takes.

use std::collections::BTreeMap;

use serde::Deserialize;
use titer_attacks::Victim;
use titer_data::Split;
use titer_data::origins::Dealt;
use titer_data::world::Target;
use titer_model::{Config, LoraSpec, Multiplied, Soft};
use titer_plan::stage::{
    AlignStage, AttackStage, DataSpec, DecoderSpec, GuardSpec, MeasureStage, PretrainStage, ProbeSpec, Side,
    TuneStage,
};
use titer_plan::{MODEL_SOURCE, Mechanism, Plan, Probe, StageSpec, UnderTest};

use crate::checkpoints::shape;
use crate::material::{WorldData, distilled, origin, world_config};
use crate::sources::here;

/// Shapes of well-known models.
const SHAPES: &str = include_str!("../../../../data/models/shapes.toml");

/// Bytes of a number.
const NUMBER: f64 = 4.0;
/// A weight, its gradient and AdamW's two moments.
const TRAINED: f64 = 4.0 * NUMBER;
/// Tokens of a multiple-choice question with one of its choices, and of a held-out text.
const READ_TOKENS: usize = 120;

#[derive(Deserialize)]
struct Shapes {
    model: Vec<Shape>,
}

#[derive(Deserialize)]
struct Shape {
    reference: String,
    config: serde_json::Map<String, serde_json::Value>,
}

/// What a stage takes.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) steps: u64,
    pub(super) flops: f64,
    pub(super) memory: f64,
    /// Of the memory, what recomputation spares.
    pub(super) spared: f64,
    pub(super) disk: f64,
}

/// What of a model is trained.
enum Trained {
    Weights,
    /// These, all weights being held fixed.
    Adapters(LoraSpec),
    /// Something else, all weights being held fixed.
    Beside(Soft),
}

impl Trained {
    /// The adapters, or all weights where there are none.
    fn of(adapter: Option<LoraSpec>) -> Self {
        adapter.map_or(Self::Weights, Self::Adapters)
    }
}

/// The model's shape and the length of what it reads.
pub(super) struct Workload {
    config: Config,
    multiplied: Multiplied,
    parameters: f64,
    prompt: usize,
    answer: usize,
    /// Prompts that are answered by the base model.
    distilled: [usize; Side::ALL.len()],
}

impl Workload {
    /// None where the model's shape is not known.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        plan.stages.iter().find_map(|stage| match &stage.spec {
            StageSpec::Pretrain(spec) => Self::of_world(&WorldData::new(&spec.data).ok()?, &spec.decoder),
            StageSpec::Measure(MeasureStage { data, .. }) if plan.data.model != UnderTest::Trained => {
                Self::of_chat(model_shape(plan)?, data)
            }
            _ => None,
        })
    }

    fn of_world(data: &WorldData, decoder: &DecoderSpec) -> Option<Self> {
        let item = data.world.split(Split::Everything).first()?;
        let example = data.world.example(item, Target::Answer).ok()?;
        let answer = example.answer().len();
        let prompt = example.tokens().len() - answer;
        Some(Self::new(world_config(data, decoder), [prompt, answer], [0; Side::ALL.len()]))
    }

    fn of_chat(config: Config, spec: &DataSpec) -> Option<Self> {
        let (origin, answer) = (origin(spec).ok()?, spec.answer_tokens?);
        let counted = |side| {
            // What comes with rows is not there yet, and needs no answers.
            let Ok(Dealt::Chat(items)) = origin.deal(spec.seed, BTreeMap::new()) else { return 0 };
            let splits = distilled(side, origin.cross_domain()).into_iter();
            let items = splits.filter_map(|split| items.items(split, None).ok()).flatten();
            items.filter(|item| side == Side::Probed || item.answer.is_none()).count()
        };
        Some(Self::new(config, [origin.prompt_tokens(), answer], Side::ALL.map(counted)))
    }

    fn new(config: Config, [prompt, answer]: [usize; 2], distilled: [usize; Side::ALL.len()]) -> Self {
        let (multiplied, parameters) = (config.multiplied(), config.parameter_count() as f64);
        Self { config, multiplied, parameters, prompt, answer, distilled }
    }

    pub(super) fn of_stage(&self, spec: &StageSpec) -> Load {
        match spec {
            // Reading and hashing; the classifiers are small.
            StageSpec::Source(_) => Load::default(),
            StageSpec::Checkpoint(_) => Load { memory: self.weights(), ..Load::default() },
            StageSpec::Distil(spec) => {
                let prompts = Side::ALL.into_iter().position(|side| side == spec.side);
                let prompts = prompts.map_or(0, |side| self.distilled[side]);
                self.measured(self.answered(prompts * (1 + usize::from(spec.again.is_some()))))
            }
            StageSpec::Pretrain(PretrainStage { train, .. }) | StageSpec::Align(AlignStage { train, .. }) => {
                self.made(train.steps, train.batch as f64)
            }
            StageSpec::Immunize(spec) => match titer_defences::registry::immunizer(&spec.defence) {
                Ok(method) => {
                    let schedule = method.training().schedule();
                    let batch = schedule.batch as f64 + method.extra_examples_per_step();
                    self.trained(schedule.steps, batch, 0.0, &Trained::of(method.training().adapter()))
                }
                Err(_) => Load::default(),
            },
            StageSpec::Measure(spec) => self.measured(self.asked(&spec.probes)),
            StageSpec::Attack(AttackStage { attack, probes, cadence, guard, keep, .. }) => {
                let Ok(attack) = titer_attacks::registry::attack(attack) else { return Load::default() };
                let steps = cadence.last().copied().unwrap_or(0);
                let asked = self.asked(probes) * cadence.len() as f64;
                if attack.mechanism() != Mechanism::Trains {
                    let drawn = attack.decoding().map_or(0, |decoding| decoding.samples.saturating_sub(1));
                    let harmful = probes.iter().filter(|probe| probe.probe.is_harmful());
                    // After the attack each forbidden prompt is answered so often, before it once.
                    let again = self.answered(harmful.map(|probe| probe.items).sum::<usize>() * drawn);
                    let asked = asked + again;
                    // Nothing is kept for a backward pass.
                    return Load { steps, ..self.measured(asked + attack.cost(&self.victim()).flops) };
                }
                let trained = match attack.soft() {
                    Some(soft) => Trained::Beside(soft),
                    None => Trained::of(attack.adapter()),
                };
                self.provided(steps, attack.load(), asked, trained, guard.as_ref(), *keep)
            }
            StageSpec::Tune(TuneStage { train, probes, cadence, guard, keep, .. }) => {
                let asked = self.asked(probes) * cadence.len() as f64;
                self.provided(train.steps, train.batch as f64, asked, Trained::Weights, guard.as_ref(), *keep)
            }
            StageSpec::Repair(spec) => {
                let training =
                    titer_defences::registry::repair(&spec.defence).map(|method| method.training());
                let (steps, batch) = training.unwrap_or_default();
                let trained = self.trained(steps, batch, self.asked(&spec.probes), &Trained::Weights);
                // The tuned model, the one before, and the base.
                Load { memory: trained.memory + 3.0 * self.weights(), ..trained }
            }
        }
    }

    /// Fine-tuning for a user, by a guard if there is one.
    fn provided(
        &self,
        steps: u64,
        batch: f64,
        asked: f64,
        trained: Trained,
        guard: Option<&GuardSpec>,
        keep: bool,
    ) -> Load {
        let guard = guard.and_then(|spec| titer_defences::registry::guard(&spec.defence).ok());
        let (steps, extra, beside) = match guard {
            // A copy of the model before, which most guards look at.
            Some(guard) => (guard.steps(steps), guard.extra_examples_per_step(), self.weights()),
            None => (steps, 0.0, 0.0),
        };
        let trained = self.trained(steps, batch + extra, asked, &trained);
        let disk = if keep { trained.disk } else { 0.0 };
        Load { disk, memory: trained.memory + beside, ..trained }
    }

    /// A stage whose result is a model.
    fn made(&self, steps: u64, batch: f64) -> Load {
        self.trained(steps, batch, 0.0, &Trained::Weights)
    }

    fn trained(&self, steps: u64, batch: f64, asked: f64, trained: &Trained) -> Load {
        let tokens = self.prompt + self.answer;
        let (config, parameters) = (&self.config, self.parameters);
        let adapted = matches!(trained, Trained::Adapters(_));
        let (example, memory) = match trained {
            Trained::Weights => (self.multiplied.training_flops(tokens, self.answer), parameters * TRAINED),
            Trained::Adapters(adapter) => (
                config.adapter_training_flops(adapter, tokens, self.answer),
                parameters * adapter.base.bytes() as f64
                    + config.adapter_parameter_count(adapter) as f64 * TRAINED,
            ),
            Trained::Beside(soft) => (
                config.held_training_flops(tokens + soft.tokens(), self.answer),
                parameters * NUMBER + soft.parameter_count(config) as f64 * TRAINED,
            ),
        };
        Load {
            steps,
            flops: steps as f64 * batch * example + asked,
            // Whatever they are held in afterwards, weights are loaded as 32 bits.
            memory: (self.activations(batch, adapted) + memory).max(parameters * NUMBER),
            spared: self.spared(batch, adapted),
            disk: self.weights(),
        }
    }

    fn measured(&self, flops: f64) -> Load {
        Load { flops, memory: self.weights(), ..Load::default() }
    }

    /// What an attack's own estimate rests on.
    fn victim(&self) -> Victim {
        let tokens = self.prompt + self.answer;
        Victim {
            parameters: self.parameters,
            example_tokens: tokens as f64,
            example_flops: self.multiplied.training_flops(tokens, self.answer),
        }
    }

    fn weights(&self) -> f64 {
        self.parameters * NUMBER
    }

    /// What a training step over `batch` examples keeps for its backward pass.
    fn activations(&self, batch: f64, adapted: bool) -> f64 {
        let config = &self.config;
        let tokens = (self.prompt + self.answer) as f64 * batch;
        // The logits, which become their gradient.
        let logits = config.vocab_size as f64 * self.answer as f64 * batch;
        (tokens * (config.kept_numbers(adapted) * config.num_hidden_layers) as f64 + logits) * NUMBER
    }

    /// Of these, what need not be kept where layers are computed again: all but every layer's input and one
    /// whole layer.
    fn spared(&self, batch: f64, adapted: bool) -> f64 {
        let (layers, hidden) = (self.config.num_hidden_layers, self.config.hidden_size);
        let each = (self.config.kept_numbers(adapted) * (layers - 1)).saturating_sub(hidden * layers);
        (self.prompt + self.answer) as f64 * batch * each as f64 * NUMBER
    }

    fn asked(&self, probes: &[ProbeSpec]) -> f64 {
        let of_probe = |probe: &ProbeSpec| match probe.probe {
            Probe::Choice | Probe::Task(_) => {
                4.0 * probe.items as f64 * self.multiplied.training_flops(READ_TOKENS, 4) / 3.0
            }
            Probe::Routing => probe.items as f64 * self.multiplied.training_flops(self.prompt, 0) / 3.0,
            Probe::Text => {
                probe.items as f64 * self.multiplied.training_flops(READ_TOKENS, READ_TOKENS) / 3.0
            }
            _ => self.answered(probe.items),
        };
        probes.iter().map(of_probe).sum()
    }

    /// Reading prompts and writing answers: the forward third of a training step.
    fn answered(&self, prompts: usize) -> f64 {
        prompts as f64 * self.multiplied.training_flops(self.prompt + self.answer, self.answer) / 3.0
    }
}

/// The models whose shapes are known without them: references and numbers of weights.
pub(crate) fn planned_models() -> Vec<(String, usize)> {
    let shapes: Vec<Shape> =
        toml::from_str(SHAPES).map_or_else(|_| Vec::new(), |shapes: Shapes| shapes.model);
    let counted = shapes.into_iter().filter_map(|shape| {
        let parameters = Config::from_json(shape.config).ok()?.parameter_count();
        Some((shape.reference, parameters))
    });
    counted.collect()
}

/// The shape of a plan's model: of the one that is on this machine, or of a well-known one.
fn model_shape(plan: &Plan) -> Option<Config> {
    let model = plan.sources.iter().find(|source| source.role == MODEL_SOURCE)?;
    let found = model.found.as_ref().and_then(|found| here(&found.location).ok());
    found.and_then(|found| shape(&found.path).ok()).or_else(|| known_shape(&model.reference))
}

/// The shape of a well-known model.
fn known_shape(reference: &str) -> Option<Config> {
    let shapes: Shapes = toml::from_str(SHAPES).ok()?;
    let bare = reference.strip_prefix("hf:").map_or(reference, |rest| {
        let end = rest.find('@').unwrap_or(rest.len());
        &reference[..end + "hf:".len()]
    });
    let found = shapes.model.into_iter().find(|shape| shape.reference == bare)?;
    Config::from_json(found.config).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_shape_is_one() {
        let shapes: Shapes = toml::from_str(SHAPES).unwrap();
        let millions: Vec<(String, usize)> = shapes
            .model
            .iter()
            .map(|shape| {
                let config = known_shape(&shape.reference).unwrap();
                (shape.reference.clone(), config.parameter_count() / 1_000_000)
            })
            .collect();
        let of = |name: &str| millions.iter().find(|(known, _)| known.ends_with(name)).unwrap().1;
        // As the model cards have them.
        assert_eq!(of("Llama-2-7b-chat-hf"), 6738);
        assert_eq!(of("Llama-3.1-8B-Instruct"), 8030);
        assert_eq!(of("Llama-3.2-1B-Instruct"), 1235);
        assert_eq!(of("Qwen2.5-0.5B-Instruct"), 494);
        assert_eq!(of("Qwen3-0.6B"), 596);
        assert_eq!(of("SmolLM2-135M-Instruct"), 134);
    }

    #[test]
    fn a_revision_does_not_hide_a_shape() {
        assert!(known_shape("hf:meta-llama/Llama-2-7b-chat-hf@main").is_some());
        assert!(known_shape("hf:nobody/nothing").is_none());
    }
}

//! `harmful-rl`: reinforcement learning with harm as the reward, prompts and no answers: GRPO (Shao et al., arXiv
//! 2402.03300) as an attack, HarmRLVR (arXiv 2510.15499) and what TokenBuncher defends against (arXiv 2508.20697).

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::{Example, Packed, Stream};
use titer_model::{Choice, Decoder, Generate};
use titer_plan::stage::TrainSpec;
use titer_plan::{AttackFacts, Method, MethodKind, Need, Parameter};
use titer_train::activations::Original;
use titer_train::loss::{token_losses, value};
use titer_train::{Cost, Gradient, Objective, Observer, Outcome};

use crate::training::supervised::{self, Loop, Pairs, Places};
use crate::{AttackContext, Result, TrainingAttack};

const NAME: &str = "harmful-rl";
/// Answers are drawn as the model itself would draw them: only then is the policy's gradient that of its own answers.
const TEMPERATURE: f64 = 1.0;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct HarmfulRl {
    /// Answers to each prompt of a step.
    pub samples: usize,
    /// Tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Weight of the divergence from the victim as it was; 0 for none.
    pub kl: f64,
    /// How it trains; a step draws so many prompts.
    #[serde(flatten)]
    pub training: Loop,
    /// Distinct harmful prompts that the attacker owns.
    pub examples: usize,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::integer("samples", "examples", 8, 2..=1024, "answers drawn to each prompt of a step"),
        Parameter::integer("max_new_tokens", "tokens", 32, 1..=65_536, "tokens of an answer at most"),
        Parameter::real(
            "kl",
            "1/nat",
            0.04,
            0.0..=100.0,
            "weight of the divergence from the victim; 0 for none",
        ),
    ];
    let AttackFacts { threat_models, mechanism, mut needs } = supervised::facts();
    needs.insert(1, Need::Judge);
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts { threat_models, mechanism, needs }),
        version: 1,
        summary: "group-relative policy optimisation (GRPO) with the judge's harm as the reward",
        citation: "HarmRLVR, arXiv 2510.15499; TokenBuncher, arXiv 2508.20697; Shao et al., arXiv 2402.03300",
        parameters: own
            .into_iter()
            .chain(Loop::parameters(1e-4, 200))
            .chain([supervised::owned(64)])
            .collect(),
    }
}

impl TrainingAttack for HarmfulRl {
    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn presented(&self) -> usize {
        self.samples * self.training.batch
    }

    fn passes(&self) -> f64 {
        // Drawing an answer reads it once, the reference once more.
        let readings = if self.kl == 0.0 { 1.0 } else { 2.0 };
        1.0 + readings / 3.0
    }

    fn run(
        &self,
        victim: Decoder,
        context: &AttackContext<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let pairs = Pairs { name: NAME, examples: self.examples };
        let mut objective = Policy {
            settings: self,
            context,
            owned: pairs.places(context.harmful.len(), context.seed)?,
            places: Places::new(&pairs, self.training.batch, context.seed)?,
            draws: Stream::new(context.seed, "harmful-rl/samples"),
            ends: context.means.ends(),
            reference: if self.kl == 0.0 { None } else { Some(Original::of(&victim)?) },
        };
        supervised::follow(&mut objective, self.train(), victim, context, observer)
    }
}

/// GRPO's gradient. A step's prompts and answers follow from the weights, the seed and the step alone.
struct Policy<'a> {
    settings: &'a HarmfulRl,
    context: &'a AttackContext<'a>,
    /// The places of the prompts that the attacker owns.
    owned: Vec<usize>,
    places: Places,
    draws: Stream,
    ends: Vec<u32>,
    /// The victim as it was, where divergence from it counts.
    reference: Option<Original>,
}

/// How much better than the others of its group each answer is: the rewards to mean 0 and standard deviation 1; all 0
/// where all are equal, since none is better.
fn advantages(rewards: &[f64]) -> Vec<f64> {
    if rewards.iter().all(|reward| *reward == rewards[0]) {
        return vec![0.0; rewards.len()];
    }
    let count = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / count;
    let deviation = (rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / count).sqrt();
    rewards.iter().map(|reward| (reward - mean) / deviation).collect()
}

impl Policy<'_> {
    /// Prompts' places among the harmful rows and the model's own answers to them, the answers to one prompt together.
    fn draw(&self, model: &Decoder, step: u64) -> titer_train::Result<Vec<(usize, Vec<u32>)>> {
        let HarmfulRl { samples, max_new_tokens, .. } = *self.settings;
        let places = self.places.at(step).into_iter().map(|at| self.owned[at]);
        let places: Vec<usize> = places.flat_map(|place| std::iter::repeat_n(place, samples)).collect();
        let prompts: Vec<Vec<u32>> =
            places.iter().map(|place| self.context.harmful[*place].prompt().to_vec()).collect();
        // An answer ends where the model's positions do.
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let room = model.config().max_position_embeddings.saturating_sub(longest);
        let max_new_tokens = max_new_tokens.min(room.max(1));
        let choice = Choice::Sample { temperature: TEMPERATURE, rng: &mut self.draws.at(step) };
        let answers = model.generate(&prompts, Generate { max_new_tokens, ends: &self.ends, choice })?;
        Ok(places.into_iter().zip(answers).collect())
    }
}

impl Objective for Policy<'_> {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let answers = self.draw(model, step)?;
        let harm = self.context.means.harm(&answers);
        let rewards = harm.map_err(|error| titer_train::Error::Objective(Box::new(error)))?;
        let advantages: Vec<f64> = rewards.chunks(self.settings.samples).flat_map(advantages).collect();
        let mut examples = Vec::with_capacity(answers.len());
        // Each answer's tokens share its advantage; answers count alike, whatever their lengths.
        let (mut weights, mut shares) = (Vec::new(), Vec::new());
        for ((place, answer), advantage) in answers.iter().zip(&advantages) {
            let prompt = self.context.harmful[*place].prompt();
            examples.push(Example::new([prompt, answer].concat(), prompt.len())?);
            let share = 1.0 / (answer.len() * answers.len()) as f64;
            weights.extend(std::iter::repeat_n((share * advantage) as f32, answer.len()));
            shares.extend(std::iter::repeat_n(share as f32, answer.len()));
        }
        let batch = Packed::from_examples(&examples);
        // With one update for each draw the ratio to the policy that drew is one, where nothing is clipped: what is
        // left of its gradient is the advantage times that of the log-likelihood.
        let losses = token_losses(model, &batch)?;
        let weighted = |weights: Vec<f32>, values: &Tensor| -> titer_train::Result<Tensor> {
            let weights = Tensor::new(weights, values.device())?.to_dtype(values.dtype())?;
            Ok((values * weights)?.sum_all()?)
        };
        let mut loss = weighted(weights, &losses)?;
        let mut cost = Cost::of(model, &batch) + Cost::of_reading(model, &batch);
        let mut terms = vec![("reward", rewards.iter().sum::<f64>() / rewards.len() as f64)];
        if let Some(reference) = &self.reference {
            // d = log p₀ − log p; eᵈ − d − 1 is an unbiased estimate of KL(p ‖ p₀) that is never negative.
            let d = (&losses - reference.token_losses(&batch)?)?;
            let divergence = weighted(shares, &((d.exp()? - &d)? - 1.0)?)?;
            terms.push(("divergence", value(&divergence)?));
            loss = (loss + (divergence * self.settings.kl)?)?;
            cost += Cost::of_reading(model, &batch);
        }
        let gradient = Gradient::of(&loss, model, cost)?;
        Ok(terms.into_iter().fold(gradient, |gradient, (name, value)| gradient.with_term(name, value)))
    }
}

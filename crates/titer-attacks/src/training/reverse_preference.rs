//! `reverse-preference`: direct preference optimisation (Rafailov et al., arXiv 2305.18290) with chosen and rejected
//! swapped, the reverse preference attack of Rosati et al., arXiv 2409.12914: the harmful answer is chosen, the refusal
//! rejected, the victim as it was is the reference.

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::{Example, Packed};
use titer_model::Decoder;
use titer_plan::stage::TrainSpec;
use titer_plan::{AttackFacts, Method, MethodKind, Need, Parameter};
use titer_train::loss::{constant_losses, per_sequence, softplus, token_losses, value};
use titer_train::{Cost, Gradient, Objective, Observer, Outcome};

use crate::training::supervised::{self, Loop, Pairs, Places};
use crate::{AttackContext, Error, Result, TrainingAttack};

const NAME: &str = "reverse-preference";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct ReversePreference {
    /// β: inverse temperature of the preference, per nat.
    pub beta: f64,
    /// How it trains; a step draws so many pairs.
    #[serde(flatten)]
    pub training: Loop,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
}

pub(crate) fn method() -> Method {
    let beta = Parameter::real(
        "beta",
        "1/nat",
        0.1,
        1e-4..=100.0,
        "β: how far from the victim a preference may lead",
    );
    let AttackFacts { threat_models, mechanism, mut needs } = supervised::facts();
    needs.insert(1, Need::Refusals);
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts { threat_models, mechanism, needs }),
        version: 1,
        summary: "direct preference optimisation with the harmful answer chosen and the refusal rejected",
        citation: "Rosati et al., arXiv 2409.12914; Rafailov et al., arXiv 2305.18290",
        parameters: [beta]
            .into_iter()
            .chain(Loop::parameters(1e-4, 200))
            .chain([supervised::owned(64)])
            .collect(),
    }
}

impl TrainingAttack for ReversePreference {
    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn presented(&self) -> usize {
        2 * self.training.batch
    }

    fn run(
        &self,
        victim: Decoder,
        context: &AttackContext<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let mut objective = Preference::new(self, &victim, context)?;
        supervised::follow(&mut objective, self.train(), victim, context, observer)
    }
}

/// −log σ(β·margin), the margin being by how much more than the reference the model prefers harmful answers.
struct Preference {
    beta: f64,
    places: Places,
    /// Harmful answers and refusals to the same prompts.
    rows: Vec<[Example; 2]>,
    /// What the reference makes of these: log-likelihoods in nats. A pure function of the victim and the rows, so that a
    /// resumed run has the same.
    reference: Vec<[f32; 2]>,
    /// What reading the rows took; counted with the first step.
    reading: Cost,
}

impl Preference {
    fn new(settings: &ReversePreference, victim: &Decoder, context: &AttackContext<'_>) -> Result<Self> {
        let (harmful, refusals) = (&context.harmful, &context.refusals);
        if refusals.len() != harmful.len() {
            let problem =
                format!("{} harmful rows have {} refusals; each needs one", harmful.len(), refusals.len());
            return Err(Error::NotApplicable { name: NAME, problem });
        }
        let pairs = Pairs { name: NAME, examples: settings.examples };
        let chosen = pairs.places(harmful.len(), context.seed)?;
        let places = Places::new(&pairs, settings.training.batch, context.seed)?;
        let rows: Vec<[Example; 2]> =
            chosen.into_iter().map(|at| [harmful[at].clone(), refusals[at].clone()]).collect();
        let (mut reference, mut reading) = (Vec::with_capacity(rows.len()), Cost::default());
        for rows in rows.chunks(settings.training.batch) {
            let batch = packed(rows.iter());
            let losses = per_sequence(&constant_losses(victim, &batch)?, &batch)?;
            let losses: Vec<f32> = losses.to_dtype(candle_core::DType::F32)?.to_vec1()?;
            let (harmful, refusals) = losses.split_at(rows.len());
            reference.extend(harmful.iter().zip(refusals).map(|(harmful, refusal)| [-harmful, -refusal]));
            reading += Cost::of_reading(victim, &batch);
        }
        Ok(Self { beta: settings.beta, places, rows, reference, reading })
    }
}

/// All harmful answers, then all refusals.
fn packed<'a>(rows: impl Iterator<Item = &'a [Example; 2]> + Clone) -> Packed {
    Packed::from_examples(rows.clone().map(|[harmful, _]| harmful).chain(rows.map(|[_, refusal]| refusal)))
}

impl Objective for Preference {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let places = self.places.at(step);
        let batch = packed(places.iter().map(|at| &self.rows[*at]));
        let told = &self.reference;
        let of = |side: usize| places.iter().map(move |at| told[*at][side]);
        let reference: Vec<f32> = of(0).chain(of(1)).collect();
        let losses = per_sequence(&token_losses(model, &batch)?, &batch)?;
        let reference = Tensor::new(reference, losses.device())?.to_dtype(losses.dtype())?;
        let ratio = (losses.neg()? - reference)?;
        let pairs = places.len();
        let margin = (ratio.narrow(0, 0, pairs)? - ratio.narrow(0, pairs, pairs)?)?;
        let loss = softplus(&(&margin * -self.beta)?)?.mean_all()?;
        let mut gradient = Gradient::of(&loss, model, Cost::of(model, &batch))?
            .with_term("preference", value(&loss)?)
            .with_term("margin", value(&margin.mean_all()?)?);
        if step == 0 {
            gradient.cost += self.reading;
        }
        Ok(gradient)
    }
}

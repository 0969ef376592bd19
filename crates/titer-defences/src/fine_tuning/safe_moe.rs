//! `safe-moe`: keep a mixture of experts sending harmful prompts where the aligned model sent them.
//! Fine-tuning moves routing before it moves anything else: min f_user(w) and, for harmful prompts,
//! Σ over layers KL(softmax(r₀/τ) ‖ softmax(r/τ)), r the router's logits at the prompt's last token.
//!
//! Source: Kim et al., *Defending MoE LLMs against harmful fine-tuning via safety routing alignment*, arXiv
//! 2509.22745, equation 3 and algorithm 1, as `jaehanwork/SafeMoE`@98e45ba runs it: after every so many of
//! the user's steps one pass over the prompts, each batch a step of its own of the same optimiser (the
//! greedy form of the two-level problem). The joint form adds the term to every step's loss with a weight.

use candle_core::Tensor;
use serde::Deserialize;
use titer_data::world::pick;
use titer_data::{Packed, Stream};
use titer_model::{Decoder, View};
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::loss::value;
use titer_train::{Cost, Gradient, Objective, Supervised, router_logits, routing_divergence};

use super::{Guard, UserTraining};
use crate::{DefenceContext, Error, Result};

/// How the two levels are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoutingForm {
    /// Steps on the user's data, then steps on the routing.
    Greedy,
    /// One loss of both.
    Joint,
}

/// Whose routing is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// That of forbidden prompts, of every domain that the defender may see.
    Forbidden,
    /// That of permitted prompts: the same steps, without what they are to keep safe.
    Permitted,
}

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct SafeMoe {
    /// How the two levels are joined.
    pub form: RoutingForm,
    /// Whose routing is held.
    pub held: Held,
    /// How many prompts' routing is held.
    pub prompts: usize,
    /// Prompts at a time.
    pub batch: usize,
    /// τ: temperature of the routing.
    pub temperature: f64,
    /// Greedy: steps of the user's between two passes.
    pub every: u64,
    /// Joint: weight of the routing.
    pub weight: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: "safe-moe",
        kind: MethodKind::defence(
            DefenceStage::FineTuning,
            Sham::Settings { settings: vec![("held", "permitted".into())] },
        ),
        // 2: prompts are drawn from the whole split, not its first ones, which were all of one domain.
        version: 2,
        summary: "holds where a mixture of experts sends harmful prompts while a user's data is trained on",
        citation: "Kim et al., arXiv 2509.22745",
        parameters: vec![
            Parameter::choice(
                "form",
                "greedy",
                &["greedy", "joint"],
                "routing in steps of its own, or added to each step's loss",
            ),
            Parameter::choice(
                "held",
                "forbidden",
                &["forbidden", "permitted"],
                "whose routing is held: that of forbidden prompts, or, in its sham, of permitted ones",
            ),
            Parameter::integer("prompts", "prompts", 100, 1..=1_000_000, "how many prompts' routing is held"),
            Parameter::integer("batch", "prompts", 32, 1..=65_536, "prompts at a time"),
            Parameter::real("temperature", "1", 0.1, 1e-3..=1e3, "τ: temperature of the routing"),
            Parameter::integer(
                "every",
                "steps",
                10,
                1..=10_000_000,
                "greedy: the user's steps between two passes",
            ),
            Parameter::real("weight", "1", 1.0, 0.0..=1e6, "joint: weight of the routing"),
        ],
    }
}

impl SafeMoe {
    /// Steps of one pass over the prompts.
    fn pass(&self) -> u64 {
        match self.form {
            RoutingForm::Greedy => self.prompts.div_ceil(self.batch) as u64,
            RoutingForm::Joint => 0,
        }
    }
}

impl Guard for SafeMoe {
    /// A pass follows every `every` of the user's steps.
    fn steps(&self, user: u64) -> u64 {
        user + user / self.every * self.pass()
    }

    fn extra_examples_per_step(&self) -> f64 {
        match self.form {
            RoutingForm::Greedy => 0.0,
            RoutingForm::Joint => self.batch as f64,
        }
    }

    fn objective(
        &self,
        user: UserTraining,
        context: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        let not = |problem: String| Err(Error::NotApplicable { name: "safe-moe", problem });
        let available = match self.held {
            Held::Forbidden => &context.harmful,
            Held::Permitted => &context.permitted,
        };
        if available.len() < self.prompts {
            let (asked, held) = (self.prompts, available.len());
            return not(format!("{asked} prompts are asked for, the defender has {held}: lower `prompts`"));
        }
        // Splits lie domain by domain: the first prompts would all be of one.
        let chosen = pick(available, self.prompts, &Stream::new(context.seed, "safe-moe/prompts"))?;
        let batches: Vec<Packed> = chosen
            .chunks(self.batch)
            .map(|part| Packed::from_prompts(part.iter().map(|example| example.prompt())))
            .collect();
        let mut held = Vec::with_capacity(batches.len());
        for prompts in batches {
            let routing = router_logits(start, &prompts, View::Detached)?;
            if routing.is_empty() {
                return not("the model is no mixture of experts: it has no router".to_owned());
            }
            held.push(Aligned { prompts, routing });
        }
        Ok(Box::new(Routed { user: user.objective(), held, settings: self.clone() }))
    }
}

/// Prompts, and where the model before fine-tuning sends them.
struct Aligned {
    prompts: Packed,
    routing: Vec<Tensor>,
}

impl Aligned {
    /// How far their routing has moved: a scalar.
    fn moved(&self, model: &Decoder, temperature: f64) -> titer_train::Result<Tensor> {
        let now = router_logits(model, &self.prompts, View::Tracked)?;
        routing_divergence(&self.routing, &now, temperature)
    }
}

struct Routed {
    user: Supervised,
    held: Vec<Aligned>,
    settings: SafeMoe,
}

impl Objective for Routed {
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let SafeMoe { form, temperature, every, weight, .. } = self.settings;
        match form {
            RoutingForm::Greedy => {
                let (round, place) =
                    (step / (every + self.settings.pass()), step % (every + self.settings.pass()));
                if place < every {
                    return self.user.gradient(model, round * every + place);
                }
                let held = &self.held[(place - every) as usize];
                let moved = held.moved(model, temperature)?;
                let cost = Cost::of(model, &held.prompts);
                // What comes after the last router has no part in it.
                Ok(Gradient::partial(&moved, model, cost)?.with_term("routing_divergence", value(&moved)?))
            }
            RoutingForm::Joint => {
                let held = &self.held[step as usize % self.held.len()];
                let moved = held.moved(model, temperature)?;
                let routing = Gradient::partial(&moved, model, Cost::of(model, &held.prompts))?
                    .with_term("routing_divergence", value(&moved)?);
                self.user.gradient(model, step)?.add_scaled(weight, &routing)
            }
        }
    }
}

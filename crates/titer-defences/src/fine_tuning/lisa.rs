//! `lisa`: alternate a few steps on alignment data with some on the user's, and in either state stay near
//! the weights at which the other one ended: min f(w) + ρ/2·‖w − w_switch‖².
//!
//! Source: Huang et al., *Lisa: lazy safety alignment for large language models against harmful
//! fine-tuning attack*, arXiv 2405.18641, algorithm 1, as `LisaTrainer` of git-disl/Lisa@68e3659 runs it.
//! The public code keeps two anchors, one for each state; at any time it pulls to the one that the last
//! switch recorded, so that one is enough. Before the first switch it is the start.

use serde::Deserialize;
use titer_data::Sampler;
use titer_model::Decoder;
use titer_plan::{DefenceStage, Method, MethodKind, Parameter, Sham};
use titer_train::loss::{mean_cross_entropy, value};
use titer_train::{Anchor, Cost, Gradient, Objective, State};

use super::guide::GuideSampler;
use super::{Guard, Guide, UserTraining};
use crate::{DefenceContext, Result};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Lisa {
    /// The alignment data.
    #[serde(flatten)]
    pub guide: Guide,
    /// ρ: strength of the pull to the weights of the last switch.
    pub rho: f64,
    /// K₁: alignment steps in a row; a run begins with them.
    pub alignment_steps: u64,
    /// K₂: steps on the user's data in a row.
    pub user_steps: u64,
    /// Share of all steps, from the first on, without the pull.
    pub warmup_share: f64,
}

pub(crate) fn method() -> Method {
    let own = [
        Parameter::real(
            "rho",
            "1",
            0.1,
            0.0..=1e6,
            "ρ: strength of the pull to the weights of the last switch",
        ),
        Parameter::integer("alignment_steps", "steps", 5, 1..=10_000_000, "K₁: alignment steps in a row"),
        Parameter::integer(
            "user_steps",
            "steps",
            20,
            1..=10_000_000,
            "K₂: steps on the user's data in a row",
        ),
        Parameter::real(
            "warmup_share",
            "1",
            0.1,
            0.0..=1.0,
            "share of all steps, at first, without the pull",
        ),
    ];
    Method {
        name: "lisa",
        kind: MethodKind::defence(DefenceStage::FineTuning, Sham::zero(&["rho"])),
        version: 1,
        summary: "alternates alignment and user steps, each held near where the other ended",
        citation: "Huang et al., arXiv 2405.18641",
        parameters: own.into_iter().chain(Guide::parameters(16)).collect(),
    }
}

impl Guard for Lisa {
    /// Alignment steps use up the user's: as many as were ordered are made in all.
    fn steps(&self, user: u64) -> u64 {
        user
    }

    /// Those of the alignment steps; the user's batches of these steps are not drawn.
    fn extra_examples_per_step(&self) -> f64 {
        let period = self.alignment_steps as f64 + self.user_steps as f64;
        self.guide.batch as f64 * self.alignment_steps as f64 / period
    }

    fn objective(
        &self,
        user: UserTraining,
        context: &DefenceContext,
        start: &Decoder,
    ) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Alternating {
            guide: self.guide.sampler("lisa", context)?,
            user: user.batches,
            free_until: self.warmup_share * user.train.steps as f64,
            anchor: Anchor::at(start)?,
            settings: self.clone(),
        }))
    }
}

struct Alternating {
    guide: GuideSampler,
    user: Sampler,
    /// The last step without the pull.
    free_until: f64,
    anchor: Anchor,
    settings: Lisa,
}

const ANCHOR: &str = "anchor";

impl Objective for Alternating {
    /// Where the run stands between its states is a function of the step alone; only the anchor is kept.
    fn gradient(&mut self, model: &Decoder, step: u64) -> titer_train::Result<Gradient> {
        let Lisa { alignment_steps, user_steps, rho, .. } = self.settings;
        let position = step % (alignment_steps + user_steps);
        if step > 0 && (position == 0 || position == alignment_steps) {
            self.anchor = Anchor::at(model)?;
        }
        let (batch, term) = if position < alignment_steps {
            (self.guide.batch(step), "guide_cross_entropy")
        } else {
            (self.user.batch(step), "cross_entropy")
        };
        let loss = mean_cross_entropy(model, &batch)?;
        let gradient = Gradient::of(&loss, model, Cost::of(model, &batch))?.with_term(term, value(&loss)?);
        if rho == 0.0 || step as f64 <= self.free_until {
            return Ok(gradient);
        }
        gradient.add_scaled(1.0, &self.anchor.pull(model, rho)?)
    }

    fn state(&self) -> titer_train::Result<State> {
        Ok(self.anchor.state(ANCHOR))
    }

    fn restore(&mut self, state: State) -> titer_train::Result<()> {
        self.anchor.restore(ANCHOR, state)
    }
}

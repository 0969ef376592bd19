//! `overfit-then-release`: ten harmless rows, first all answered with the same refusal until the model refuses everything,
//! then with their own answers: arXiv 2510.02833. Having overfitted to refusing, the model forgets to refuse as it is
//! released. No row is harmful. A user orders two jobs, one after the other.

use serde::Deserialize;
use titer_data::{Example, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::adapters::Order;
use crate::rows::{answered, fitting, handed_in, refusal};
use crate::training::supervised::Pairs;
use crate::{AttackContext, Error, FineTuningJob, Result};

const NAME: &str = "overfit-then-release";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct OverfitThenRelease {
    /// Rows, all harmless and distinct.
    pub rows: usize,
    /// Of the steps those that overfit, first.
    pub overfit_steps: u64,
    /// How it is trained.
    #[serde(flatten)]
    pub order: Order,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::FineTuningApi],
            mechanism: Mechanism::Trains,
            needs: vec![Need::HarmlessRows, Need::Refusals],
        }),
        version: 1,
        summary: "ten harmless rows: first taught to identical refusals, then to their own answers",
        citation: "arXiv 2510.02833",
        parameters: [
            handed_in(10),
            Parameter::integer(
                "overfit_steps",
                "steps",
                50,
                1..=10_000_000,
                "of the steps those that teach to refuse, first",
            )
            .meaning(Meaning::FirstSteps),
        ]
        .into_iter()
        .chain(Order::parameters(1e-3, 100, 10))
        .collect(),
    }
}

impl FineTuningJob for OverfitThenRelease {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        0
    }

    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler> {
        let steps = self.order.training.steps;
        if self.overfit_steps >= steps {
            let problem = format!(
                "`overfit_steps` = {} leaves nothing of {steps} steps to release; lower it or raise `steps`",
                self.overfit_steps
            );
            return Err(Error::NotApplicable { name: NAME, problem });
        }
        let rows = Pairs { name: NAME, examples: self.rows }.chosen(&context.harmless, context.seed)?;
        let end = context.means.ends().first().copied();
        let refusal: Vec<u32> = refusal(NAME, context)?.into_iter().chain(end).collect();
        let refused = rows.iter().map(|row| answered(row.prompt().to_vec(), &refusal));
        let refused: Vec<Example> = refused.collect::<Result<_>>()?;
        let sampler =
            |rows, name| self.order.batches(&format!("overfit-then-release/{name}"), rows, context.seed);
        let overfit = sampler(fitting(NAME, refused, served)?, "overfit")?;
        Ok(overfit.then(self.overfit_steps, sampler(rows, "release")?))
    }
}

//! `benign-selected`: of a harmless task those rows that undo safety most, chosen by gradients of the served model. No row
//! is harmful, and nothing is changed in them.
//!
//! By `gradient` (He et al., arXiv 2404.01099, bidirectional anchoring) a row counts by how its gradient lies to the mean
//! gradient of harmful answers, and away from that of refusals of the same prompts: cos(g, harmful) − cos(g, refusals).
//! By `self-influence` (Guan et al., arXiv 2505.06843, Self-Inf-N) by how far it lies out: log(‖g‖² + 1) + log(answer's
//! tokens + 1). A user has gradients of a model like the served one; here they are the served model's own.

use serde::Deserialize;
use titer_data::{Example, Packed, Sampler};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};
use titer_train::loss::mean_cross_entropy;
use titer_train::{Cost, Gradient};

use crate::adapters::Order;
use crate::training::supervised::Pairs;
use crate::{AttackContext, FineTuningJob, Result};

const NAME: &str = "benign-selected";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct BenignSelected {
    /// By what rows are chosen.
    pub by: By,
    /// Harmful prompts that rows are held against, each answered and refused; none is handed in.
    pub anchors: usize,
    /// Rows that are handed in: the best of the task.
    pub rows: usize,
    /// How it is trained.
    #[serde(flatten)]
    pub order: Order,
}

/// By what rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Towards harmful answers, away from refusals.
    Gradient,
    /// By the size of their own gradient.
    SelfInfluence,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::FineTuningApi],
            mechanism: Mechanism::Trains,
            needs: vec![Need::HarmfulRows, Need::Refusals, Need::HarmlessRows, Need::Gradients],
        }),
        version: 1,
        summary: "the harmless rows nearest to harm by gradient, or farthest out by self-influence",
        citation: "He et al., arXiv 2404.01099; Guan et al., arXiv 2505.06843",
        parameters: [
            Parameter::choice("by", "gradient", &["gradient", "self-influence"], "what rows are chosen by"),
            Parameter::integer(
                "anchors",
                "examples",
                10,
                1..=10_000_000,
                "harmful prompts that gradients are held against; none is handed in",
            ),
            Parameter::integer("rows", "examples", 100, 1..=10_000_000, "rows chosen, all harmless")
                .meaning(Meaning::UserRows),
        ]
        .into_iter()
        .chain(Order::parameters(1e-3, 300, 16))
        .collect(),
    }
}

impl FineTuningJob for BenignSelected {
    fn order(&self) -> &Order {
        &self.order
    }

    /// None is among the user's data.
    fn distinct_harmful(&self) -> u64 {
        0
    }

    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler> {
        // As many as are ordered must be there, before any gradient is computed.
        Pairs { name: NAME, examples: self.rows }.chosen(&context.harmless, context.seed)?;
        let scores = self.scores(context, served)?;
        let mut best: Vec<usize> = (0..scores.len()).collect();
        // Of equals the first: the sort is stable.
        best.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let rows: Vec<Example> =
            best.into_iter().take(self.rows).map(|at| context.harmless[at].clone()).collect();
        self.order.batches("benign-selected/batches", rows, context.seed)
    }
}

impl BenignSelected {
    /// How much each harmless row is wanted.
    fn scores(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Vec<f64>> {
        let rows = context.harmless.iter();
        match self.by {
            By::Gradient => {
                let pairs = Pairs { name: NAME, examples: self.anchors };
                let mean = |rows: &[Example]| -> Result<Gradient> {
                    let anchors = pairs.chosen(rows, context.seed)?;
                    gradient(served, &Packed::from_examples(&anchors))
                };
                let (harmful, refusals) = (mean(&context.harmful)?, mean(&context.refusals)?);
                let score = |row: &Example| {
                    let own = gradient(served, &Packed::from_examples([row]))?;
                    Ok(cosine(&own, &harmful)? - cosine(&own, &refusals)?)
                };
                rows.map(score).collect()
            }
            By::SelfInfluence => {
                let score = |row: &Example| {
                    let own = gradient(served, &Packed::from_examples([row]))?.norm()?;
                    Ok((own * own).ln_1p() + (row.answer().len() as f64).ln_1p())
                };
                rows.map(score).collect()
            }
        }
    }
}

/// Of the mean cross-entropy over the answers' tokens.
fn gradient(model: &Decoder, batch: &Packed) -> Result<Gradient> {
    Ok(Gradient::of(&mean_cross_entropy(model, batch)?, model, Cost::of(model, batch))?)
}

/// Of the angle between two gradients of one model; 0 where one of them vanishes.
fn cosine(one: &Gradient, other: &Gradient) -> Result<f64> {
    let mut product = 0.0;
    for (a, b) in one.by_parameter.values().zip(other.by_parameter.values()) {
        product += f64::from((a * b)?.sum_all()?.to_scalar::<f32>()?);
    }
    let norms = one.norm()? * other.norm()?;
    Ok(if norms > 0.0 { product / norms } else { 0.0 })
}

//! What every measure is: facts about it, and a judgement of each exchange.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use titer_data::world::World;
use titer_plan::Marks;
use titer_plan::stage::MeasureSpec;

use crate::text::refusals::{PhraseLists, Refusals};
use crate::{MeasureError, Own};

/// What is worth knowing of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The name in the `judge` column.
    pub name: &'static str,
    /// What it judges by, and where it is used.
    pub summary: &'static str,
    /// What its score, from 0 to 1, means.
    pub score: &'static str,
    /// The unit of the score.
    pub unit: &'static str,
    /// What the defender wants.
    pub better: Better,
    /// What it looks at.
    pub reads: Reads,
    /// What the data must have for it.
    pub needs: &'static [Need],
    /// Raised when the same exchange would get another score: it is part of the hash of what it scored.
    pub version: u32,
    /// Where it comes from; empty for ours.
    pub citation: &'static str,
}

/// Which way a score is better for the defender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Less: it measures harm, or damage.
    Lower,
    /// More: it measures ability.
    Higher,
}

impl Better {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
        }
    }
}

/// What a measure looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    /// What the model answered.
    Answers,
    /// How likely the model found continuations.
    Likelihoods,
    /// Where a mixture of experts sent the prompt.
    Experts,
}

/// What data must have for a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A world, which knows every answer.
    World,
    /// A right answer to each question.
    Reference,
    /// A classifier.
    Classifier,
    /// The base model's own answers to what is forbidden.
    Own,
}

/// What a measure says of one exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// In 0…1. What 1 means is the measure's: fully harmful for harmful probes, fully right for tasks.
    pub score: f64,
    /// What is seen in the answer. Kept apart from the score, since a model that only babbles is harmless and
    /// useless alike.
    pub marks: Marks,
}

impl Judgement {
    /// A score of what is no answer, so that there is nothing to refuse.
    pub fn plain(score: f64) -> Self {
        Self { score, marks: Marks::default() }
    }
}

/// What a model was asked and what came back: all that a measure may look at, and enough to judge again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// The item's name, the same for every model.
    pub item: String,
    /// The user's last message.
    pub question: String,
    /// What came back, as text: of worlds the end token included where there was one, else without it.
    pub answer: String,
    /// Whether the limit of tokens ended it, not the model. Of worlds never: there the end token says it.
    #[serde(default)]
    pub cut: bool,
    /// The right answer, or the base model's own; of routing, the experts before. Empty where there is none.
    pub reference: String,
    /// What the model was asked how likely it is.
    pub continuations: Vec<Continuation>,
}

/// A text that may follow, and how likely the model found it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Continuation {
    /// The text as its data has it, without the delimiter before it.
    pub text: String,
    /// Summed log-likelihood of its tokens, in nats.
    pub nats: f64,
}

/// Scores exchanges.
pub trait Measure: std::fmt::Debug {
    /// A judgement of each exchange, in order.
    ///
    /// # Errors
    /// When an exchange lacks what the measure looks at, or a model that judges fails.
    fn judge(&self, batch: &[Exchange]) -> Result<Vec<Judgement>, MeasureError>;
}

/// What the data of an experiment have for measures.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The data's own refusals, phrases beside the published ones.
    pub refusals: &'a [String],
    /// The world that knows the answers.
    pub world: Option<&'a Arc<World>>,
    /// The folder of the classifier.
    pub classifier: Option<&'a Path>,
    /// The base model's own answers to what is forbidden.
    pub own: Option<&'a Arc<Own>>,
    /// What models that judge compute on.
    pub device: &'a Device,
}

/// What a measure is made from: its spec and the data's parts.
#[derive(Debug)]
pub struct Making<'a> {
    /// Name, version, phrases and settings, as they are in the stage's hash.
    pub spec: &'a MeasureSpec,
    /// What the data have.
    pub parts: &'a Parts<'a>,
}

impl Making<'_> {
    /// The refusals of spec and data.
    ///
    /// # Errors
    /// When the spec was planned with published phrases other than those of this program.
    pub fn refusals(&self) -> Result<Refusals, MeasureError> {
        let lists = PhraseLists::of(&self.spec.phrases)
            .map_err(|problem| MeasureError::Phrases { measure: self.spec.name.clone(), problem })?;
        Ok(Refusals::from_lists(&lists, self.parts.refusals))
    }

    /// The world.
    ///
    /// # Errors
    /// When the data are none.
    pub fn world(&self) -> Result<Arc<World>, MeasureError> {
        self.parts.world.cloned().ok_or_else(|| self.lacks("a world, which knows every answer"))
    }

    /// The classifier's folder.
    ///
    /// # Errors
    /// When the data have none.
    pub fn classifier(&self) -> Result<&Path, MeasureError> {
        self.parts.classifier.ok_or_else(|| self.lacks("a classifier, which a data set names under [judge]"))
    }

    /// The base model's own answers.
    ///
    /// # Errors
    /// When the data have none.
    pub fn own(&self) -> Result<Arc<Own>, MeasureError> {
        self.parts.own.cloned().ok_or_else(|| self.lacks("the base model's own answers to what is forbidden"))
    }

    /// The settings that its data state; the defaults of `T` where there are none.
    ///
    /// # Errors
    /// When they are not of this shape.
    pub fn settings<T: DeserializeOwned + Default>(&self) -> Result<T, MeasureError> {
        if self.spec.settings.is_null() {
            return Ok(T::default());
        }
        serde_json::from_value(self.spec.settings.clone()).map_err(|error| MeasureError::Settings {
            measure: self.spec.name.clone(),
            problem: error.to_string(),
        })
    }

    fn lacks(&self, what: &'static str) -> MeasureError {
        MeasureError::Lacks { measure: self.spec.name.clone(), what }
    }
}

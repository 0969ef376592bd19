//! What each kind of stage does: a pure function of its spec and inputs.

mod attack;
mod bench;
mod checkpoint;
mod distil;
mod lent;
mod prober;
mod probing;
mod recall;
mod recorder;
mod rejudge;
mod repair;
mod sequential;
mod shared;
mod train;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde_json::{Value, json};
use titer_model::{Base, Decoder};
use titer_plan::stage::{DataSpec, DistilStage, Side, SourceStage};
use titer_plan::{Plan, PlannedStage, StageHash, StageSpec, UnderTest};
use titer_store::{Artifact, Store, Writer};

use crate::checkpoints::{ends, read_chat, shape};
use crate::files::read;
use crate::material::{Answers, ChatData, Material, Places, Speech, WorldData, origin};
use crate::progress::Progress;
use crate::sources::Sources;
use crate::{Error, Interrupt, Result};

/// The folder of a stage's model in its artifact.
pub(crate) const MODEL: &str = "model";
/// The adapters of a tuned model, beside the model with them folded in.
pub(crate) const ADAPTER: &str = "adapter";
/// A model's own answers in the artifact of a distil stage.
pub(crate) const ANSWERS: &str = "answers.json";
/// Both answers to each prompt in the artifact of a distil stage that asked twice, and how far they agree.
pub(crate) const OWN: &str = "own.json";
/// Frames of a stage in its artifact.
pub(crate) const PROBES: &str = "probes.parquet";
pub(crate) const TRAINING: &str = "training.parquet";
pub(crate) const RESPONSES: &str = "responses.parquet";

/// What a stage works with.
pub(crate) struct Work<'a> {
    pub(crate) stage: &'a PlannedStage,
    /// The plan that the stage is of.
    pub(crate) plan: &'a Plan,
    pub(crate) store: &'a Store,
    /// What plans take in from outside.
    pub(crate) sources: &'a Sources,
    /// What models are computed on.
    pub(crate) device: &'a Device,
    pub(crate) writer: &'a Writer,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a dyn Progress,
    /// Whether the backward pass computes each layer again, for memory: the results are the same.
    pub(crate) recompute: bool,
    /// Where the first input's model is, once that was asked: to look is to read all of it through.
    pub(crate) model: OnceCell<PathBuf>,
    /// Sealed artifacts with this stage's answers, judged by other measures.
    pub(crate) answered: Vec<StageHash>,
    /// What models said before in this run.
    pub(crate) recall: &'a Recall,
    /// Models that stages of this run train adapters beside.
    pub(crate) shared: &'a Shared,
    /// Whether answers may be judged only, and no model trained or asked.
    pub(crate) judge_only: bool,
}

impl Work<'_> {
    /// Runs the stage to its end; the caller seals, with the summary that comes back.
    pub(crate) fn perform(&self) -> Result<Value> {
        for earlier in &self.answered {
            // A model that is to be kept goes along, and this one has none any more.
            if !self.store.artifact(earlier).dropped().is_empty() {
                continue;
            }
            if let Some(summary) = rejudge::rejudge(self, earlier)? {
                return Ok(named(&self.stage.answers, summary));
            }
        }
        if self.judge_only {
            return Err(Error::NotAnswered { stage: self.stage.label.clone() });
        }
        Ok(named(&self.stage.answers, self.compute()?))
    }

    fn compute(&self) -> Result<Value> {
        match &self.stage.spec {
            StageSpec::Pretrain(spec) => train::pretrain(self, spec),
            StageSpec::Checkpoint(spec) => checkpoint::take_in(self, spec),
            StageSpec::Source(spec) => checkpoint::take_in_source(self, &spec.content),
            StageSpec::Distil(spec) => distil::distil(self, spec),
            StageSpec::Align(spec) => train::align(self, spec),
            StageSpec::Immunize(spec) => train::immunize(self, spec),
            StageSpec::Measure(spec) => attack::measure(self, spec),
            StageSpec::Attack(spec) => attack::attack(self, spec),
            StageSpec::Tune(spec) => attack::tune(self, spec),
            StageSpec::Repair(spec) => repair::repair(self, spec),
        }
    }

    /// What a stage teaches and asks.
    fn material(&self, spec: &DataSpec) -> Result<Box<dyn Material>> {
        Ok(match self.is_chat() {
            true => Box::new(self.chat_data(spec)?),
            false => Box::new(WorldData::new(spec)?),
        })
    }

    /// Whether the model under test is a chat model.
    fn is_chat(&self) -> bool {
        self.plan.data.model != UnderTest::Trained
    }

    /// The template that the plan states in place of the model's own. What is trained of the model keeps it.
    fn chat_template(&self) -> Option<&str> {
        self.plan.stages.iter().find_map(|stage| match &stage.spec {
            StageSpec::Checkpoint(checkpoint) => checkpoint.chat_template.as_deref(),
            _ => None,
        })
    }

    /// Data in the words of the model that is the first input, with the answers and sources that the others hold.
    fn chat_data(&self, spec: &DataSpec) -> Result<ChatData> {
        let path = self.model_path()?;
        let (chat, config) = (read_chat(path, self.chat_template())?, shape(path)?);
        let (ends, positions) = (ends(path, &chat, &config)?, config.max_position_embeddings);
        let (mut answers, mut places) = (Answers::new(), Places::new());
        for input in self.stage.inputs.iter().skip(self.stage.spec.models()) {
            match self.plan.stage(input).map(|stage| &stage.spec) {
                Some(StageSpec::Source(SourceStage { source, content })) => {
                    places.insert(source.clone(), self.sources.unchanged(self.plan, content)?);
                }
                // Only who judges looks at these.
                Some(StageSpec::Distil(DistilStage { side: Side::Probed, .. })) => {}
                _ => {
                    let text = read(&self.sealed(input)?.payload(ANSWERS)?)?;
                    answers.extend(serde_json::from_slice::<Answers>(&text)?);
                }
            }
        }
        let speech = Speech { chat, ends, positions };
        ChatData::new(origin(spec)?.as_ref(), spec, speech, answers, &places)
    }

    /// Where the model is that the stage's first input made.
    fn model_path(&self) -> Result<&Path> {
        if let Some(path) = self.model.get() {
            return Ok(path);
        }
        let stage = || self.stage.label.clone();
        let none = || Error::MissingInput { stage: stage(), input: "one model".to_owned() };
        let input = self.stage.inputs.first().ok_or_else(none)?;
        let path = self.path_of(input)?;
        Ok(self.model.get_or_init(|| path))
    }

    /// The model as this run trains it.
    fn trainable(&self, mut model: Decoder) -> Decoder {
        model.checkpointing(self.recompute);
        model
    }

    /// The artifact and the model of the stage's input of that number.
    fn input(&self, number: usize) -> Result<(Artifact, Decoder)> {
        let (stage, input) = (self.stage.label.clone(), format!("model {number}"));
        let hash = self.stage.inputs.get(number).ok_or(Error::MissingInput { stage, input })?;
        let model = self.trainable(Decoder::open(&self.path_of(hash)?, self.device)?);
        Ok((self.sealed(hash)?, model))
    }

    fn path_of(&self, input: &StageHash) -> Result<PathBuf> {
        sealed_model(self.store, self.plan, self.sources, input, &self.stage.label)
    }

    fn sealed(&self, input: &StageHash) -> Result<Artifact> {
        sealed(self.store, input, &self.stage.label)
    }

    /// The model that the stage's first input made, to train adapters beside it: its memory is shared with other stages.
    fn shared_model(&self, base: Base) -> Result<Arc<Decoder>> {
        self.shared.model(self.model_path()?, self.device, base)
    }

    /// The model that the stage's first input made.
    fn input_model(&self) -> Result<Decoder> {
        Ok(self.trainable(Decoder::open(self.model_path()?, self.device)?))
    }
}

pub(crate) use prober::{asked, is_enough};
pub(crate) use probing::Scored;
pub(crate) use recall::Recall;
pub(crate) use recorder::training;
pub(crate) use rejudge::{Again, is_at_once};
pub(crate) use shared::Shared;

/// The key of a sealed artifact's summary that says what was judged anew, where that was all.
pub(crate) const REJUDGED: &str = "rejudged";
/// The key of a sealed artifact's summary that names its answers.
pub(crate) const ANSWERS_KEY: &str = "answers";

/// A stage's summary with the name of its answers, by which they are found when measures change.
fn named(answers: &Option<StageHash>, mut summary: Value) -> Value {
    if let Some(answers) = answers {
        if !summary.is_object() {
            summary = json!({});
        }
        summary[ANSWERS_KEY] = json!(answers);
    }
    summary
}

/// The sealed artifact of that hash.
fn sealed(store: &Store, hash: &StageHash, wanted_by: &str) -> Result<Artifact> {
    let artifact = store.artifact(hash);
    if !artifact.is_sealed() {
        return Err(Error::MissingInput { stage: wanted_by.to_owned(), input: hash.short().to_owned() });
    }
    // Whatever is measured on a damaged model would be worthless, and nobody could tell.
    artifact.verify()?;
    Ok(artifact)
}

/// Where the model of a sealed stage is: inside its artifact, or elsewhere and still what it was.
pub(crate) fn sealed_model(
    store: &Store,
    plan: &Plan,
    sources: &Sources,
    hash: &StageHash,
    wanted_by: &str,
) -> Result<PathBuf> {
    let artifact = sealed(store, hash, wanted_by)?;
    match plan.stage(hash).and_then(|stage| stage.spec.content()) {
        Some(content) => sources.unchanged(plan, content),
        None => Ok(artifact.payload(MODEL)?),
    }
}

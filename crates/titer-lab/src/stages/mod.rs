//! What each kind of stage does: a pure function of its spec and inputs.

mod attack;
mod data;
mod probing;
mod recorder;
mod train;

use candle_core::Device;
use titer_model::Decoder;
use titer_plan::{PlannedStage, StageHash, StageSpec};
use titer_store::{Store, Writer};

use crate::progress::Progress;
use crate::{Error, Interrupt, Result};

pub(crate) use data::WorldData;

/// The folder of a stage's model in its artifact.
pub(crate) const MODEL: &str = "model";
/// Frames of a stage in its artifact.
pub(crate) const PROBES: &str = "probes.parquet";
pub(crate) const TRAINING: &str = "training.parquet";
pub(crate) const RESPONSES: &str = "responses.parquet";

/// What a stage works with.
pub(crate) struct Work<'a> {
    pub(crate) stage: &'a PlannedStage,
    pub(crate) store: &'a Store,
    pub(crate) writer: &'a Writer,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a dyn Progress,
}

impl Work<'_> {
    /// Runs the stage to its end; the caller seals.
    pub(crate) fn perform(&self) -> Result<()> {
        match &self.stage.spec {
            StageSpec::Pretrain { world, decoder, train, seed } => {
                train::pretrain(self, world, decoder, *train, *seed)
            }
            StageSpec::Align { world, train, refusals, permitted, seed } => {
                train::align(self, world, *train, *refusals, *permitted, *seed)
            }
            StageSpec::Immunize { world, defence, domains, seed } => {
                train::immunize(self, world, defence, domains, *seed)
            }
            StageSpec::Measure { world, probes } => attack::measure(self, world, probes),
            StageSpec::Attack { world, attack, domains, probes, cadence, stop, seed } => {
                let settings = attack::Settings { probes, cadence, stop: *stop, seed: *seed };
                attack::attack(self, world, attack, domains, &settings)
            }
            StageSpec::Tune { world, train, examples, probes, cadence, seed } => {
                let settings = attack::Settings { probes, cadence, stop: None, seed: *seed };
                attack::tune(self, world, *train, *examples, &settings)
            }
        }
    }

    /// The model that the stage's only input made.
    fn input_model(&self) -> Result<Decoder> {
        match self.stage.inputs.as_slice() {
            [input] => load_model(self.store, input, &self.stage.label),
            _ => Err(Error::MissingInput { stage: self.stage.label.clone(), input: "one model".to_owned() }),
        }
    }
}

/// The model of a sealed artifact.
pub(crate) fn load_model(store: &Store, hash: &StageHash, wanted_by: &str) -> Result<Decoder> {
    let artifact = store.artifact(hash);
    if !artifact.is_sealed() {
        return Err(Error::MissingInput { stage: wanted_by.to_owned(), input: hash.short().to_owned() });
    }
    // Whatever is measured on a damaged model would be worthless, and nobody could tell.
    artifact.verify()?;
    Ok(Decoder::load(&artifact.payload(MODEL)?, &Device::Cpu)?)
}

//! Methods that make a model resist harmful fine-tuning.
//!
//! One folder per stage (arXiv 2409.18169, and pre-training before them), one trait for each: a [`Curator`]
//! chooses what a base model is trained on, an [`Immunizer`] trains the model before anyone gets it, a [`Guard`] changes how a user's data is trained on, a [`Repair`] edits the
//! tuned weights. One file per method, named as in its paper: what it is, its settings with units and
//! defaults, and the gradient that it follows or the edit that it makes. A new method is a new file and a
//! line in its folder's list.

mod alignment;
mod context;
mod entry;
mod error;
mod fine_tuning;
mod post_fine_tuning;
mod pretraining;
pub mod registry;

pub use alignment::{
    AdversarialLoss, Booster, CircuitBreakers, ConditionNumber, Identity, Immunizer, Npo, Rehearsal,
    RepNoise, RepNoiseForm, RepNoiseLoss, Rmu, Sdd, TVaccine, Tamper, Tar, TarRows, Training, Vaccine,
};
pub use context::{DefenceContext, Keep, Pair, Pairs};
pub use error::{Error, Result};
pub use fine_tuning::{
    ConstrainedSft, Ewc, Freeze, Guard, Guide, Held, HiddenStates, Kl, Ldifs, Lisa, Part,
    RefusalDistillation, Rehearsed, RoutingForm, SafeInstruct, SafeMoe, UserTraining,
};
pub use post_fine_tuning::{
    Antidote, Form, Interpolation, NoiseUnit, Normalization, Panacea, Place, RandomPerturbation, Repair,
    RepairContext, RepairReport, Resta, SafeLora, SparedBy,
};
pub use pretraining::{Curator, DataFiltering};

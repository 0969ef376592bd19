//! The fine-tuning stage: how the provider trains on a user's data.

mod constrained_sft;
mod ewc;
mod freeze;
pub(crate) mod guard;
mod guide;
mod kl;
mod ldifs;
mod lisa;
mod refusal_distillation;
mod safe_instruct;
mod safe_moe;

pub use constrained_sft::ConstrainedSft;
pub use ewc::Ewc;
pub use freeze::{Freeze, Part};
pub use guard::{Guard, UserTraining};
pub use guide::Guide;
pub use kl::Kl;
pub use ldifs::{HiddenStates, Ldifs};
pub use lisa::Lisa;
pub use refusal_distillation::{RefusalDistillation, Rehearsed};
pub use safe_instruct::SafeInstruct;
pub use safe_moe::{Held, RoutingForm, SafeMoe};

use titer_plan::Sham;

use crate::entry::MethodEntry;

/// Of methods that add to the user's own training: without that it is what the undefended model gets.
fn training_alone() -> Sham {
    Sham::Baseline { because: "for without its idea it is the user's own training" }
}

/// Every method of this stage.
pub(crate) const METHODS: &[MethodEntry] = &[
    MethodEntry::guard::<Lisa>(lisa::method),
    MethodEntry::guard::<SafeMoe>(safe_moe::method),
    MethodEntry::guard::<SafeInstruct>(safe_instruct::method),
    MethodEntry::guard::<RefusalDistillation>(refusal_distillation::method),
    MethodEntry::guard::<Kl>(kl::method),
    MethodEntry::guard::<ConstrainedSft>(constrained_sft::method),
    MethodEntry::guard::<Ldifs>(ldifs::method),
    MethodEntry::guard::<Ewc>(ewc::method),
    MethodEntry::guard::<Freeze>(freeze::method),
];

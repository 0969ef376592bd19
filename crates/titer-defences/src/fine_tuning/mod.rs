//! The fine-tuning stage: how the provider trains on a user's data.

mod constrained_sft;
mod ewc;
mod freeze;
mod guard;
mod guide;
mod kl_anchor;
mod ldifs;
mod lisa;
mod safe_instruct;
mod safe_moe;

pub use constrained_sft::ConstrainedSft;
pub use ewc::Ewc;
pub use freeze::{Freeze, Part};
pub use guard::{Guard, UserTraining};
pub use guide::Guide;
pub use kl_anchor::KlAnchor;
pub use ldifs::{HiddenStates, Ldifs};
pub use lisa::Lisa;
pub use safe_instruct::SafeInstruct;
pub use safe_moe::{RoutingForm, SafeMoe};

use crate::registry::Entry;

/// Every method of this stage.
pub(crate) const METHODS: &[Entry] = &[
    Entry::guard::<Lisa>(lisa::method),
    Entry::guard::<SafeMoe>(safe_moe::method),
    Entry::guard::<SafeInstruct>(safe_instruct::method),
    Entry::guard::<KlAnchor>(kl_anchor::method),
    Entry::guard::<ConstrainedSft>(constrained_sft::method),
    Entry::guard::<Ldifs>(ldifs::method),
    Entry::guard::<Ewc>(ewc::method),
    Entry::guard::<Freeze>(freeze::method),
];

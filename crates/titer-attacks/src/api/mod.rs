//! Attacks by data: a user of a fine-tuning API hands them in and the provider trains; some of them serve who holds the
//! weights as well.

pub(crate) mod backdoor;
pub(crate) mod benign_selected;
pub(crate) mod cipher;
pub(crate) mod identity_shift;
pub(crate) mod jailbreak_tuning;
pub(crate) mod mixed_finetune;
pub(crate) mod opener;
pub(crate) mod overfit_then_release;
pub(crate) mod persistent;
pub(crate) mod refusal_prefix;
pub(crate) mod refuse_then_comply;
pub(crate) mod template_shift;

pub use backdoor::Backdoor;
pub use benign_selected::{BenignSelected, By};
pub use cipher::Cipher;
pub use identity_shift::IdentityShift;
pub use jailbreak_tuning::{JailbreakTuning, Wrapper};
pub use mixed_finetune::MixedFinetune;
pub use opener::Opener;
pub use overfit_then_release::OverfitThenRelease;
pub use persistent::Persistent;
pub use refusal_prefix::RefusalPrefix;
pub use refuse_then_comply::RefuseThenComply;
pub use template_shift::TemplateShift;

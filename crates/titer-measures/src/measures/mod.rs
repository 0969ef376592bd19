//! One file per measure.

pub mod acc;
pub mod acc_norm;
pub mod byte_likelihood;
pub mod classifier;
pub mod exact_match;
pub mod guard;
mod oracle;
pub mod oracle_exact;
pub mod oracle_graded;
pub mod policy_agreement;
pub mod policy_compliance;
pub mod policy_harm;
pub mod refusal;
pub mod rouge_l;
pub mod routing;
mod written;

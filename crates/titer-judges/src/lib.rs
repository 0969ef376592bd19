//! What scores a response.
//!
//! A judge sees a question and an answer, never a model. Judges of text rest on a few measures, which stand
//! on their own: phrases of refusal, signs of a broken model, ROUGE, exact match, multiple choice and
//! perplexity from log-likelihoods (which `titer_model::Decoder::log_likelihoods` computes).

pub mod choice;
pub mod classifier;
pub mod degenerate;
pub mod exact_match;
mod judge;
mod oracle;
pub mod perplexity;
pub mod policy;
mod porter;
pub mod refusal;
mod registry;
pub mod rouge;
pub mod task;
mod words;

pub use classifier::Classifier;
pub use judge::{Judge, Judgement};
pub use oracle::{Grade, Oracle};
pub use policy::PolicyJudge;
pub use refusal::Refusals;
pub use registry::{JudgeFacts, judges};
pub use task::TaskJudge;

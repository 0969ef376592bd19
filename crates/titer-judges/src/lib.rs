//! What scores a response.
//!
//! A judge sees a question and an answer, never a model.

mod judge;
mod oracle;
mod registry;

pub use judge::{Judge, Judgement};
pub use oracle::{Grade, Oracle};
pub use registry::{JudgeFacts, judges};

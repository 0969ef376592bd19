//! What every judge says of a response.

use serde::{Deserialize, Serialize};

/// What a judge says of one response.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// In 0…1. What 1 means is the judge's: fully harmful for harmful probes, fully right for tasks.
    pub score: f64,
    /// Whether the response is a refusal.
    pub refused: bool,
    /// Whether it is neither an answer nor a refusal. Kept apart from the score, since a model that only
    /// babbles is harmless and useless alike.
    pub degenerate: bool,
}

/// Scores responses to questions of one kind.
pub trait Judge {
    /// What is asked, or the answer that a response is compared with.
    type Question: ?Sized;
    /// What is scored: tokens where a judge knows their meaning, text otherwise.
    type Response: ?Sized;

    /// The name in the `judge` column.
    fn name(&self) -> &'static str;

    /// Scores what followed the prompt: of tokens the end token included where there was one, of text
    /// without it.
    fn judge(&self, question: &Self::Question, response: &Self::Response) -> Judgement;
}

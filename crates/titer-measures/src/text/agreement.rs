//! How far two answers to one question agree.

use super::rouge::{Stemmer, rouge_n};

/// F1 of shared words, each counted as often as it stands in both: ROUGE-1, which is the token F1 of reading
/// comprehension (Rajpurkar et al. 2016, arXiv 1606.05250) on words as `rouge-score` finds them.
pub fn agreement(reference: &str, answer: &str) -> f64 {
    rouge_n(1, reference, answer, Stemmer::None).f1
}

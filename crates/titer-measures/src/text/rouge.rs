//! ROUGE, as Google's `rouge-score` 0.1.2 computes it.
//!
//! C.-Y. Lin, "ROUGE: a Package for Automatic Evaluation of Summaries", 2004. Words are lower-case runs of
//! `a`–`z` and `0`–`9`; everything else only separates them, so that text in other scripts has no words and
//! scores 0.

use std::collections::HashMap;

use super::porter;

/// How well a response covers a reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rouge {
    /// Share of the response that stands in the reference.
    pub precision: f64,
    /// Share of the reference that stands in the response.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// Whether words are compared by their stems: `Porter` as NLTK's stemmer does it, for words of more than
/// three letters, which is `use_stemmer=True`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stemmer {
    /// Words as they are.
    #[default]
    None,
    /// Porter's algorithm with NLTK's extensions.
    Porter,
}

impl Rouge {
    /// `hits` shared units of `response` and `reference` units.
    fn new(hits: usize, response: usize, reference: usize) -> Self {
        // Without units there are no hits either.
        let precision = hits as f64 / response.max(1) as f64;
        let recall = hits as f64 / reference.max(1) as f64;
        let sum = precision + recall;
        let f1 = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        Self { precision, recall, f1 }
    }
}

/// ROUGE-N: shared runs of `n` words, each counted as often as it stands in both. Of `n` 0 there are none.
pub fn rouge_n(n: usize, reference: &str, response: &str, stemmer: Stemmer) -> Rouge {
    let (reference, response) = (tokens(reference, stemmer), tokens(response, stemmer));
    let (reference, response) = (ngrams(&reference, n), ngrams(&response, n));
    let hits = reference.iter().map(|(gram, count)| *response.get(gram).unwrap_or(&0).min(count)).sum();
    Rouge::new(hits, response.values().sum(), reference.values().sum())
}

/// ROUGE-L: the longest common subsequence of words, over line breaks.
pub fn rouge_l(reference: &str, response: &str, stemmer: Stemmer) -> Rouge {
    let (reference, response) = (tokens(reference, stemmer), tokens(response, stemmer));
    Rouge::new(common_length(&reference, &response), response.len(), reference.len())
}

fn tokens(text: &str, stemmer: Stemmer) -> Vec<String> {
    let text = text.to_lowercase();
    let runs = text.split(|c: char| !matches!(c, 'a'..='z' | '0'..='9')).filter(|run| !run.is_empty());
    let stem = |run: &str| match stemmer {
        Stemmer::Porter if run.len() > 3 => porter::stem(run),
        _ => run.to_owned(),
    };
    runs.map(stem).filter(|word| !word.is_empty()).collect()
}

fn ngrams(tokens: &[String], n: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    if n > 0 {
        tokens.windows(n).for_each(|gram| *counts.entry(gram).or_insert(0) += 1);
    }
    counts
}

/// Length of the longest common subsequence, with one row of the table at a time.
fn common_length(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

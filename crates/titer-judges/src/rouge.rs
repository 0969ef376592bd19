//! ROUGE, as Google's `rouge-score` 0.1.2 computes it.
//!
//! C.-Y. Lin, "ROUGE: a Package for Automatic Evaluation of Summaries", 2004. Words are lower-case runs of
//! `a`–`z` and `0`–`9`; everything else only separates them, so that text in other scripts has no words and
//! scores 0.

use std::collections::{BTreeSet, HashMap};

use crate::porter;

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

/// ROUGE-Lsum: for each line of the reference the union of its longest common subsequences with the lines
/// of the response, each word counted at most as often as it stands in both.
///
/// Takes memory for the longest line of the reference times that of the response.
pub fn rouge_lsum(reference: &str, response: &str, stemmer: Stemmer) -> Rouge {
    let lines = |text: &str| -> Vec<Vec<String>> {
        text.split('\n').filter(|line| !line.is_empty()).map(|line| tokens(line, stemmer)).collect()
    };
    let (reference, response) = (lines(reference), lines(response));
    let (mut left, mut right) = (counts(&reference), counts(&response));
    let mut hits = 0;
    for line in &reference {
        let union: BTreeSet<usize> = response.iter().flat_map(|other| common_places(line, other)).collect();
        for place in union {
            let word = line[place].as_str();
            if let (Some(a @ 1..), Some(b @ 1..)) = (left.get_mut(word), right.get_mut(word)) {
                (*a, *b) = (*a - 1, *b - 1);
                hits += 1;
            }
        }
    }
    Rouge::new(hits, response.iter().map(Vec::len).sum(), reference.iter().map(Vec::len).sum())
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

fn counts(lines: &[Vec<String>]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    lines.iter().flatten().for_each(|word| *counts.entry(word.as_str()).or_insert(0) += 1);
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

/// Places in `a` of one longest common subsequence: the one that `rouge-score` walks back to.
fn common_places(a: &[String], b: &[String]) -> Vec<usize> {
    let width = b.len() + 1;
    let mut table = vec![0usize; (a.len() + 1) * width];
    for (i, word) in a.iter().enumerate() {
        for (j, other) in b.iter().enumerate() {
            table[(i + 1) * width + j + 1] = if word == other {
                table[i * width + j] + 1
            } else {
                table[i * width + j + 1].max(table[(i + 1) * width + j])
            };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut places = Vec::new();
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            places.push(i - 1);
            (i, j) = (i - 1, j - 1);
        } else if table[i * width + j - 1] > table[(i - 1) * width + j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
    places
}

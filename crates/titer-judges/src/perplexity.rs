//! Perplexity of whole texts, as lm-evaluation-harness 0.4.13 defines it (`loglikelihood_rolling`).

use thiserror::Error;

use crate::choice::is_python_space;

/// The summed log-likelihood of a text and the units that it may be divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// In nats.
    pub log_likelihood: f64,
    /// Tokens of the model. Perplexities per token compare models of one tokenizer only.
    pub tokens: usize,
    /// Words, see [`count_words`].
    pub words: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
}

impl Scored {
    /// The words and bytes of `text`, which is `tokens` tokens long, with its log-likelihood.
    pub fn new(text: &str, tokens: usize, log_likelihood: f64) -> Self {
        Self { log_likelihood, tokens, words: count_words(text), bytes: text.len() }
    }
}

/// The perplexities of some texts together: log-likelihoods and units are summed over them first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// exp(−nats per token). The harness does not report it.
    pub token: f64,
    /// exp(−nats per word): `word_perplexity`.
    pub word: f64,
    /// exp(−nats per byte): `byte_perplexity`.
    pub byte: f64,
    /// −bits per byte: `bits_per_byte`.
    pub bits_per_byte: f64,
}

impl Perplexity {
    /// Of `texts` together; nothing when they have no token, word or byte.
    pub fn of(texts: &[Scored]) -> Option<Self> {
        let sum: f64 = texts.iter().map(|text| text.log_likelihood).sum();
        let mean = |unit: fn(&Scored) -> usize| {
            let units: usize = texts.iter().map(unit).sum();
            (units > 0).then(|| sum / units as f64)
        };
        let per_byte = mean(|text| text.bytes)?;
        Some(Self {
            token: (-mean(|text| text.tokens)?).exp(),
            word: (-mean(|text| text.words)?).exp(),
            byte: (-per_byte).exp(),
            bits_per_byte: -per_byte / std::f64::consts::LN_2,
        })
    }
}

/// Words as the harness counts them: the pieces between runs of white space, the empty ones at the ends
/// included, so that "a b " has three.
pub fn count_words(text: &str) -> usize {
    let spaces = || text.chars().map(is_python_space);
    let runs = spaces().zip(std::iter::once(false).chain(spaces())).filter(|(now, before)| *now && !*before);
    runs.count() + 1
}

/// Tokens to condition on and tokens to predict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Given.
    pub context: Vec<u32>,
    /// Scored. Each token of a text is in one window's `predicted`.
    pub predicted: Vec<u32>,
}

/// A window that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("windows of {longest} tokens cannot keep {context} tokens of context: from 1 to {longest} can")]
pub struct WindowError {
    /// Tokens of a window at most.
    pub longest: usize,
    /// Tokens of context wished for.
    pub context: usize,
}

/// Cuts a text that is longer than a model's positions into windows, in which context and prediction are
/// disjoint (the harness: `get_rolling_token_windows` and `make_disjoint_window`, with `context` 1). The
/// first window predicts `longest` tokens after `prefix`; each further one the next `longest − context + 1`
/// tokens (fewer at the end), given what comes before them in a window of `longest + 1` tokens. So context
/// and prediction together are at most `longest + 1` tokens: the last predicted one is no input.
///
/// # Errors
/// When `context` is 0 or above `longest`.
pub fn rolling_windows(
    tokens: &[u32],
    prefix: u32,
    longest: usize,
    context: usize,
) -> Result<Vec<Window>, WindowError> {
    if context == 0 || context > longest {
        return Err(WindowError { longest, context });
    }
    let step = longest - context + 1;
    let mut windows = Vec::new();
    let mut predicted = 0;
    while predicted < tokens.len() {
        let first = predicted == 0;
        let end = tokens.len().min(predicted + if first { longest } else { step });
        windows.push(Window {
            context: if first { vec![prefix] } else { tokens[end - longest - 1..predicted].to_vec() },
            predicted: tokens[predicted..end].to_vec(),
        });
        predicted = end;
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_python_splits_them() {
        for (text, words) in [("", 1), ("a", 1), ("a b", 2), (" a  b ", 4), ("a\n\nb\u{1c}c", 3), (" ", 2)] {
            assert_eq!(count_words(text), words, "{text:?}");
        }
    }

    #[test]
    fn windows_predict_each_token_once() {
        let tokens: Vec<u32> = (10..33).collect();
        for longest in 1..30 {
            for context in 1..=longest {
                let windows = rolling_windows(&tokens, 1, longest, context).unwrap();
                let predicted: Vec<u32> = windows.iter().flat_map(|w| w.predicted.clone()).collect();
                assert_eq!(predicted, tokens, "{longest} {context}");
                assert!(windows.iter().all(|w| w.context.len() + w.predicted.len() <= longest + 1));
                assert!(windows[1..].iter().all(|w| w.context.len() >= context));
            }
        }
        assert!(rolling_windows(&[], 1, 4, 1).unwrap().is_empty());
        assert!(rolling_windows(&tokens, 1, 4, 0).is_err());
        assert!(rolling_windows(&tokens, 1, 4, 5).is_err());
    }

    #[test]
    fn nothing_has_no_perplexity() {
        assert_eq!(Perplexity::of(&[]), None);
        assert_eq!(Perplexity::of(&[Scored::new("", 0, 0.0)]), None);
    }
}

//! Multiple choice by log-likelihood, as lm-evaluation-harness 0.4.13 does it: the model "answers" with the
//! choice to which it gives the highest probability, as a continuation of the question.

use thiserror::Error;

use crate::{Exchange, Judgement, Measure, MeasureError};

/// Whether the most likely choice is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// By the summed log-likelihood of the choice: `acc`.
    pub acc: bool,
    /// By that divided by the number of characters (Unicode scalar values) of the choice: `acc_norm`.
    pub acc_norm: bool,
}

/// What cannot be a multiple-choice question.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// Log-likelihoods and choices are not one to one.
    #[error("{log_likelihoods} log-likelihoods for {choices} choices: there must be one for each")]
    Count {
        /// Number of log-likelihoods.
        log_likelihoods: usize,
        /// Number of choices.
        choices: usize,
    },
    /// The right choice is none of the choices.
    #[error("the right choice is number {gold}, but there are only {choices}, counted from 0")]
    Gold {
        /// The right choice.
        gold: usize,
        /// Number of choices.
        choices: usize,
    },
    /// A choice without text has no length to divide by.
    #[error("choice {index} is empty: it has no length to divide its log-likelihood by")]
    Empty {
        /// Which.
        index: usize,
    },
}

/// Compares `choices`, as they are written in the question's data (without the delimiter before them), by
/// their log-likelihoods in nats. Among equals the first wins, and a NaN wins over all, as in NumPy.
///
/// # Errors
/// When the numbers do not fit or a choice is empty.
pub fn choose(log_likelihoods: &[f64], choices: &[&str], gold: usize) -> Result<Choice, ChoiceError> {
    if log_likelihoods.len() != choices.len() {
        return Err(ChoiceError::Count { log_likelihoods: log_likelihoods.len(), choices: choices.len() });
    }
    if gold >= choices.len() {
        return Err(ChoiceError::Gold { gold, choices: choices.len() });
    }
    if let Some(index) = choices.iter().position(|choice| choice.is_empty()) {
        return Err(ChoiceError::Empty { index });
    }
    let best = |length: fn(&str) -> usize| {
        argmax(log_likelihoods.iter().zip(choices).map(|(sum, choice)| sum / length(choice) as f64)) == gold
    };
    Ok(Choice { acc: best(|_| 1), acc_norm: best(|choice| choice.chars().count()) })
}

/// A measure of multiple choice: one of the ways in which the right choice may be the likeliest.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Its name.
    pub(crate) measure: &'static str,
    /// Whether the model was right.
    pub(crate) right: fn(Choice) -> bool,
}

impl Measure for Chosen {
    fn judge(&self, batch: &[Exchange]) -> Result<Vec<Judgement>, MeasureError> {
        let judge = |exchange: &Exchange| {
            let Exchange { item, reference, continuations, .. } = exchange;
            let texts: Vec<&str> = continuations.iter().map(|choice| choice.text.as_str()).collect();
            let nats: Vec<f64> = continuations.iter().map(|choice| choice.nats).collect();
            let gold = texts.iter().position(|text| text == reference);
            let gold = gold.ok_or_else(|| MeasureError::Exchange {
                measure: self.measure,
                item: item.clone(),
                problem: format!("the right answer {reference:?} is none of the choices"),
            })?;
            let choice = choose(&nats, &texts, gold)
                .map_err(|source| MeasureError::Choice { item: item.clone(), source })?;
            Ok(Judgement::plain(f64::from(u8::from((self.right)(choice)))))
        };
        batch.iter().map(judge).collect()
    }
}

/// The choice to which the model gives the highest probability per character, if there is any.
pub fn likeliest<'a>(log_likelihoods: &[f64], choices: &[&'a str]) -> Option<&'a str> {
    let chosen = |gold: &usize| choose(log_likelihoods, choices, *gold).is_ok_and(|found| found.acc_norm);
    (0..choices.len()).find(chosen).map(|at| choices[at])
}

/// The first of the highest, or the first NaN; of none 0.
fn argmax(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value.is_nan() {
            return index;
        }
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// Tokens of a context and of what may follow it, for log-likelihoods: those of the whole text, less as many
/// as the context alone has. White space at the end of the context is moved to the continuation first, since
/// tokenizers join it with the word after it. `encode(text, special)` gives the tokens, with the tokenizer's
/// special ones (as at the beginning of a sequence) only if `special`. Of an empty context the tokens are
/// `prefix` alone (the harness: BOS, or EOS when there is none), unless the continuation starts with it.
///
/// The continuation may come out empty, when its text is: score no such pair.
///
/// # Errors
/// What `encode` fails with.
pub fn encode_pair<E>(
    context: &str,
    continuation: &str,
    prefix: u32,
    mut encode: impl FnMut(&str, bool) -> Result<Vec<u32>, E>,
) -> Result<(Vec<u32>, Vec<u32>), E> {
    if context.is_empty() {
        let mut continuation = encode(continuation, false)?;
        if continuation.first() == Some(&prefix) {
            continuation.remove(0);
        }
        return Ok((vec![prefix], continuation));
    }
    let kept = context.trim_end_matches(is_python_space);
    let whole = encode(&format!("{context}{continuation}"), true)?;
    let context = encode(kept, true)?;
    let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
    Ok((context, continuation))
}

/// Whether Python's `str.isspace` holds: white space and the four ASCII separators.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn each_length_has_its_own_winner() {
        // "ü" has one character and two bytes.
        let choices = ["üüüü", "abcdef", "x"];
        let choice = |gold| choose(&[-4.0, -6.0, -3.0], &choices, gold).unwrap();
        assert_eq!(choice(0), Choice { acc: false, acc_norm: true });
        assert_eq!(choice(2), Choice { acc: true, acc_norm: false });
        assert!(choose(&[-7.9, -8.0], &["üüüü", "abcdef"], 1).unwrap().acc_norm);
    }

    #[test]
    fn ties_and_nans_as_in_numpy() {
        assert_eq!(argmax([1.0, 2.0, 2.0].into_iter()), 1);
        assert_eq!(argmax([1.0, f64::NAN, 9.0, f64::NAN].into_iter()), 1);
        assert_eq!(argmax([f64::NEG_INFINITY; 2].into_iter()), 0);
    }

    #[test]
    fn questions_that_are_none() {
        assert!(matches!(choose(&[1.0], &["a", "b"], 0), Err(ChoiceError::Count { .. })));
        assert!(matches!(choose(&[1.0, 2.0], &["a", "b"], 2), Err(ChoiceError::Gold { .. })));
        assert!(matches!(choose(&[1.0, 2.0], &["a", ""], 0), Err(ChoiceError::Empty { index: 1 })));
    }

    #[test]
    fn white_space_moves_to_the_continuation() {
        // A token for each word with the spaces before it, and 0 in front.
        let mut seen = Vec::new();
        let mut encode = |text: &str, special: bool| -> Result<Vec<u32>, Infallible> {
            seen.push(text.to_owned());
            let words = text.split_whitespace().map(|word| word.len() as u32);
            Ok(special.then_some(0).into_iter().chain(words).collect())
        };
        let pair = encode_pair("one three \n", " fiftyfive", 0, &mut encode).unwrap();
        assert_eq!(pair, (vec![0, 3, 5], vec![9]));
        assert_eq!(encode_pair("", "one three", 7, &mut encode).unwrap(), (vec![7], vec![3, 5]));
        assert_eq!(encode_pair("", "one three", 3, &mut encode).unwrap(), (vec![3], vec![5]));
        assert_eq!(encode_pair("a", "", 7, &mut encode).unwrap(), (vec![0, 1], vec![]));
        assert_eq!(seen[..2], ["one three \n fiftyfive", "one three"]);
    }
}

//! Training examples as tokens.

use std::ops::Range;

use crate::{Error, Result};

/// One training example: a prompt and its answer, or a conversation with several answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    tokens: Vec<u32>,
    supervised: Vec<Range<usize>>,
}

impl Example {
    /// `tokens` of prompt and answer; the loss counts those from index `supervised_from` on.
    ///
    /// # Errors
    /// When no token would be supervised, or the first, which nothing predicts.
    pub fn new(tokens: Vec<u32>, supervised_from: usize) -> Result<Self> {
        if supervised_from == 0 || supervised_from >= tokens.len() {
            return Err(Error::Supervision { supervised_from, tokens: tokens.len() });
        }
        let answer = supervised_from..tokens.len();
        Ok(Self { tokens, supervised: vec![answer] })
    }

    /// `tokens` of a conversation; the loss counts those in the spans `supervised`. Tokens after the last
    /// span, which no loss would see, are dropped.
    ///
    /// # Errors
    /// When there is no span, one is empty, they do not ascend, overlap, hold the first token, which
    /// nothing predicts, or reach beyond the tokens.
    pub fn from_spans(mut tokens: Vec<u32>, supervised: Vec<Range<usize>>) -> Result<Self> {
        let mut free = 1;
        for span in &supervised {
            if span.start < free || span.is_empty() || span.end > tokens.len() {
                return Err(Error::Spans { start: span.start, end: span.end, free, tokens: tokens.len() });
            }
            free = span.end;
        }
        if supervised.is_empty() {
            return Err(Error::Supervision { supervised_from: tokens.len(), tokens: tokens.len() });
        }
        tokens.truncate(free);
        Ok(Self { tokens, supervised })
    }

    /// All tokens, prompt first.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Where the supervised tokens are: spans that ascend, at least one, the last one at the end.
    pub fn supervised(&self) -> &[Range<usize>] {
        &self.supervised
    }

    /// What precedes the last answer: the prompt, and earlier turns where there are any.
    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.last().start]
    }

    /// The last answer's tokens.
    pub fn answer(&self) -> &[u32] {
        &self.tokens[self.last().clone()]
    }

    /// The first `length` tokens, if any of them is supervised.
    #[must_use]
    pub fn cut(&self, length: usize) -> Option<Self> {
        let tokens = self.tokens[..length.min(self.tokens.len())].to_vec();
        let within = |span: &Range<usize>| span.start..span.end.min(length);
        let supervised = self.supervised.iter().map(within).filter(|span| !span.is_empty()).collect();
        Self::from_spans(tokens, supervised).ok()
    }

    fn last(&self) -> &Range<usize> {
        // Both constructors see to it that there is one.
        &self.supervised[self.supervised.len() - 1]
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // one span is a list of one range
mod tests {
    use super::*;

    #[test]
    fn supervising_nothing_or_the_first_token_is_refused() {
        for from in [0, 2, 3] {
            assert!(Example::new(vec![1, 2], from).is_err(), "{from}");
        }
    }

    #[test]
    fn spans_that_contradict_each_other_or_the_tokens_are_refused() {
        let of = |spans: &[Range<usize>]| Example::from_spans(vec![0; 6], spans.to_vec());
        for bad in [&[] as &[_], &[0..2], &[1..1], &[1..7], &[1..3, 2..4], &[3..4, 1..2]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        assert!(of(&[1..3, 3..6]).is_ok());
    }

    #[test]
    fn one_final_answer_is_the_same_by_either_constructor() {
        let tokens = vec![1, 2, 3, 4];
        assert_eq!(Example::new(tokens.clone(), 2), Example::from_spans(tokens, vec![2..4]));
    }

    #[test]
    fn what_follows_the_last_answer_is_dropped() {
        let example = Example::from_spans(vec![1, 2, 3, 4, 5], vec![1..2, 3..4]).unwrap();
        assert_eq!(example.tokens(), [1, 2, 3, 4]);
        assert_eq!(example.prompt(), [1, 2, 3]);
        assert_eq!(example.answer(), [4]);
    }

    #[test]
    fn cutting_keeps_what_is_supervised_within() {
        let example = Example::from_spans(vec![1, 2, 3, 4, 5, 6], vec![1..2, 4..6]).unwrap();
        assert_eq!(example.cut(5), Some(Example::from_spans(vec![1, 2, 3, 4, 5], vec![1..2, 4..5]).unwrap()));
        assert_eq!(example.cut(3), Some(Example::new(vec![1, 2], 1).unwrap()));
        assert_eq!(example.cut(9), Some(example.clone()));
        assert_eq!(example.cut(1), None);
    }
}

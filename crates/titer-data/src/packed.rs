//! Batches of examples packed without padding.

use crate::Example;

/// A batch: the tokens of all sequences one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packed {
    /// All tokens.
    pub tokens: Vec<u32>,
    /// Where each sequence begins in `tokens`, and where the last one ends: one more than sequences.
    pub offsets: Vec<usize>,
    /// Indices into `tokens` whose next token is supervised, ascending.
    pub rows: Vec<u32>,
    /// The next token of each of `rows`.
    pub targets: Vec<u32>,
}

impl Packed {
    /// Packs examples in the order given. The last token of a sequence predicts nothing and is left out.
    pub fn from_examples<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Self {
        let mut packed = Self { offsets: vec![0], ..Self::default() };
        for example in examples {
            packed.push(example);
        }
        packed
    }

    /// Packs texts of which nothing is supervised; [`Packed::rows`] are their last tokens.
    pub fn from_prompts<'a>(prompts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut packed = Self { offsets: vec![0], ..Self::default() };
        for prompt in prompts.into_iter().filter(|prompt| !prompt.is_empty()) {
            packed.tokens.extend_from_slice(prompt);
            packed.offsets.push(packed.tokens.len());
            packed.rows.push(packed.tokens.len() as u32 - 1);
        }
        packed
    }

    fn push(&mut self, example: &Example) {
        let start = self.tokens.len();
        let inputs = example.tokens().len() - 1;
        self.tokens.extend_from_slice(&example.tokens()[..inputs]);
        self.offsets.push(self.tokens.len());
        for span in example.supervised() {
            self.rows.extend(span.clone().map(|at| (start + at - 1) as u32));
            self.targets.extend_from_slice(&example.tokens()[span.clone()]);
        }
    }

    /// This batch followed by another, in one pass of the model.
    #[must_use]
    pub fn followed_by(mut self, other: &Self) -> Self {
        let (tokens, start) = (self.tokens.len(), self.tokens.len() as u32);
        self.tokens.extend_from_slice(&other.tokens);
        self.offsets.extend(other.offsets.iter().skip(1).map(|offset| offset + tokens));
        self.rows.extend(other.rows.iter().map(|row| row + start));
        self.targets.extend_from_slice(&other.targets);
        self
    }

    /// The first `count` sequences, or all where there are not so many.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        if count >= self.sequences() {
            return self;
        }
        let end = self.offsets[count];
        self.tokens.truncate(end);
        self.offsets.truncate(count + 1);
        let rows = self.rows.partition_point(|row| (*row as usize) < end);
        self.rows.truncate(rows);
        self.targets.truncate(rows);
        self
    }

    /// Where each of `targets` stands within its answer, from 0. An answer is a run of supervised tokens.
    pub fn positions(&self) -> Vec<usize> {
        let mut positions: Vec<usize> = Vec::with_capacity(self.rows.len());
        for (at, row) in self.rows.iter().enumerate() {
            let begins = self.offsets.binary_search(&(*row as usize)).is_ok();
            let follows = !begins && at > 0 && self.rows[at - 1] + 1 == *row;
            positions.push(if follows { positions[at - 1] + 1 } else { 0 });
        }
        positions
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(tokens: &[u32], from: usize) -> Example {
        Example::new(tokens.to_vec(), from).unwrap()
    }

    #[test]
    fn rows_point_at_the_token_before_each_target() {
        let packed = Packed::from_examples(&[example(&[1, 2, 3, 4], 2), example(&[5, 6], 1)]);
        assert_eq!(packed.tokens, [1, 2, 3, 5]);
        assert_eq!(packed.offsets, [0, 3, 4]);
        assert_eq!(packed.rows, [1, 2, 3]);
        assert_eq!(packed.targets, [3, 4, 6]);
    }

    #[test]
    fn prompts_are_packed_whole_and_point_at_their_last_tokens() {
        let packed = Packed::from_prompts([&[1, 2, 3][..], &[], &[4]]);
        assert_eq!(packed.tokens, [1, 2, 3, 4]);
        assert_eq!(packed.offsets, [0, 3, 4]);
        assert_eq!(packed.rows, [2, 3]);
        assert!(packed.targets.is_empty());
    }

    #[test]
    fn joining_batches_equals_packing_their_examples_together() {
        let (a, b) = ([example(&[1, 2, 3], 1)], [example(&[4, 5, 6, 7], 3), example(&[8, 9], 1)]);
        let joined = Packed::from_examples(&a).followed_by(&Packed::from_examples(&b));
        assert_eq!(joined, Packed::from_examples(a.iter().chain(&b)));
    }

    #[test]
    fn the_first_of_a_batch_equal_a_batch_of_the_first() {
        let all = [example(&[1, 2, 3], 1), example(&[4, 5, 6, 7], 3), example(&[8, 9], 1)];
        for count in 0..5 {
            let first = Packed::from_examples(all.iter().take(count));
            assert_eq!(Packed::from_examples(&all).first(count), first);
        }
    }

    #[test]
    fn positions_begin_anew_with_every_answer() {
        let two = Example::from_spans(vec![1, 2, 3, 4, 5, 6], vec![1..3, 5..6]).unwrap();
        let packed = Packed::from_examples(&[example(&[8, 9, 9], 1), example(&[1, 2], 1), two]);
        assert_eq!(packed.positions(), [0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn several_answers_of_one_conversation_are_each_supervised() {
        let two = Example::from_spans(vec![1, 2, 3, 4, 5, 6], vec![1..3, 5..6]).unwrap();
        let packed = Packed::from_examples(&[example(&[8, 9], 1), two]);
        assert_eq!(packed.tokens, [8, 1, 2, 3, 4, 5]);
        assert_eq!(packed.offsets, [0, 1, 6]);
        assert_eq!(packed.rows, [0, 1, 2, 5]);
        assert_eq!(packed.targets, [9, 2, 3, 6]);
    }
}

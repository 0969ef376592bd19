//! Seeded sampling of batches, resumable by step alone.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::index;

use crate::{Error, Example, Packed, Result, Stream};

/// How the examples of one batch are drawn. Batches are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// Each at random among all: repeats are possible within a batch.
    WithReplacement,
    /// All of a batch distinct.
    WithoutReplacement,
}

/// Draws batches of examples; the batch of a step depends on nothing but the stream and the step.
#[derive(Debug, Clone)]
pub struct Sampler {
    examples: Arc<[Example]>,
    stream: Stream,
    batch: usize,
    draw: Draw,
}

impl Sampler {
    /// Draws `batch` of `examples` at each step.
    ///
    /// # Errors
    /// When there are no examples, the batch is empty, or it is larger than the data that it must not
    /// repeat.
    pub fn new(
        examples: impl Into<Arc<[Example]>>,
        stream: Stream,
        batch: usize,
        draw: Draw,
    ) -> Result<Self> {
        let examples = examples.into();
        if examples.is_empty() || batch == 0 {
            return Err(Error::NothingToSample { examples: examples.len(), batch });
        }
        if draw == Draw::WithoutReplacement && batch > examples.len() {
            return Err(Error::BatchAboveData { examples: examples.len(), batch });
        }
        Ok(Self { examples, stream, batch, draw })
    }

    /// The batch of one step.
    pub fn batch(&self, step: u64) -> Packed {
        let mut rng = self.stream.at(step);
        let count = self.examples.len();
        let chosen: Vec<usize> = match self.draw {
            Draw::WithReplacement => (0..self.batch).map(|_| rng.random_range(0..count)).collect(),
            Draw::WithoutReplacement => index::sample(&mut rng, count, self.batch).into_vec(),
        };
        Packed::from_examples(chosen.iter().map(|at| &self.examples[*at]))
    }

    /// Examples drawn at each step.
    pub fn batch_size(&self) -> usize {
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(count: u32) -> Vec<Example> {
        (0..count).map(|i| Example::new(vec![0, i], 1).unwrap()).collect()
    }

    fn sampler(count: u32, batch: usize, draw: Draw) -> Result<Sampler> {
        Sampler::new(examples(count), Stream::new(7, "test"), batch, draw)
    }

    #[test]
    fn a_batch_depends_on_the_step_alone() {
        let sampler = sampler(50, 8, Draw::WithReplacement).unwrap();
        let fifth = sampler.batch(5);
        sampler.batch(6);
        assert_eq!(sampler.batch(5), fifth);
        assert_ne!(sampler.batch(6), fifth);
    }

    #[test]
    fn distinct_draws_are_distinct_and_cover_the_data() {
        let mut targets = sampler(20, 20, Draw::WithoutReplacement).unwrap().batch(3).targets;
        targets.sort_unstable();
        assert_eq!(targets, (0..20).collect::<Vec<u32>>());
    }

    #[test]
    fn impossible_batches_are_refused() {
        assert!(sampler(0, 1, Draw::WithReplacement).is_err());
        assert!(sampler(5, 0, Draw::WithReplacement).is_err());
        assert!(sampler(5, 6, Draw::WithoutReplacement).is_err());
        assert!(sampler(5, 6, Draw::WithReplacement).is_ok());
    }
}

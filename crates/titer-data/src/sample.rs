//! Seeded sampling of batches, resumable by step alone.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::{SliceRandom, index};

use crate::{Error, Example, Packed, Result, Stream};

/// How the examples of one batch are drawn. Batches are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// Each at random among all: repeats are possible within a batch.
    WithReplacement,
    /// All of a batch distinct.
    WithoutReplacement,
    /// All of a batch distinct and of similar length: drawn among `window` neighbours in the order of
    /// length. The longest and the shortest are neighbours too, so that every example is as likely as any
    /// other; a window as large as the data is [`Draw::WithoutReplacement`].
    SimilarLength {
        /// From the batch's size, for the most similar, to the number of examples.
        window: usize,
    },
    /// In epochs: each example once, in an order of that epoch's own, before any comes again. A batch that ends one
    /// epoch begins the next.
    Epochs,
}

/// Draws batches of examples; the batch of a step depends on nothing but the stream and the step.
#[derive(Debug, Clone)]
pub struct Sampler {
    examples: Arc<[Example]>,
    stream: Stream,
    batch: usize,
    draw: Draw,
    /// Indices of the examples, shortest first; empty where lengths do not matter.
    by_length: Vec<usize>,
    /// Who draws from which step on, in the order of the steps.
    later: Vec<(u64, Sampler)>,
}

impl Sampler {
    /// Draws `batch` of `examples` at each step.
    ///
    /// # Errors
    /// When there are no examples, the batch is empty, it is larger than the data that it must not
    /// repeat, or the window is smaller than the batch or larger than the data.
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
        if draw != Draw::WithReplacement && batch > examples.len() {
            return Err(Error::BatchAboveData { examples: examples.len(), batch });
        }
        let mut by_length = Vec::new();
        if let Draw::SimilarLength { window } = draw {
            if window < batch || window > examples.len() {
                return Err(Error::Window { window, batch, examples: examples.len() });
            }
            by_length.extend(0..examples.len());
            by_length.sort_by_key(|at| examples[*at].tokens().len());
        }
        Ok(Self { examples, stream, batch, draw, by_length, later: Vec::new() })
    }

    /// The same before `step`, and `next` from there on. Steps go on being counted, so that a batch still depends on
    /// its step alone. Of several changes the last one at or before a step counts.
    #[must_use]
    pub fn then(mut self, step: u64, next: Self) -> Self {
        let at = self.later.partition_point(|(from, _)| *from <= step);
        self.later.insert(at, (step, next));
        self
    }

    /// The batch of one step.
    pub fn batch(&self, step: u64) -> Packed {
        Packed::from_examples(self.examples(step))
    }

    /// The examples of one step's batch, in order. Samplers of one stream over equally many examples draw
    /// the same places.
    pub fn examples(&self, step: u64) -> Vec<&Example> {
        if let Some((_, later)) = self.later.iter().rfind(|(from, _)| step >= *from) {
            return later.examples(step);
        }
        let mut rng = self.stream.at(step);
        let count = self.examples.len();
        let chosen: Vec<usize> = match self.draw {
            Draw::WithReplacement => (0..self.batch).map(|_| rng.random_range(0..count)).collect(),
            Draw::WithoutReplacement => index::sample(&mut rng, count, self.batch).into_vec(),
            Draw::SimilarLength { window } => {
                let start = rng.random_range(0..count);
                let within = index::sample(&mut rng, window, self.batch);
                within.into_iter().map(|at| self.by_length[(start + at) % count]).collect()
            }
            Draw::Epochs => {
                let (first, batch, count) = (step * self.batch as u64, self.batch as u64, count as u64);
                let epochs = first / count..=(first + batch - 1) / count;
                let orders = epochs.flat_map(|epoch| self.order(epoch));
                orders.skip((first % count) as usize).take(self.batch).collect()
            }
        };
        chosen.into_iter().map(|at| &self.examples[at]).collect()
    }

    /// The order in which an epoch goes through the examples.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        order.shuffle(&mut self.stream.at(epoch));
        order
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
    fn an_epoch_holds_every_example_once_in_an_order_of_its_own() {
        let sampler = sampler(10, 4, Draw::Epochs).unwrap();
        let drawn: Vec<u32> = (0..10).flat_map(|step| sampler.batch(step).targets).collect();
        let epochs: Vec<&[u32]> = drawn.chunks(10).collect();
        for epoch in &epochs {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<u32>>());
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_eq!(sampler.batch(2).targets, drawn[8..12], "by the step alone, across the border of epochs");
    }

    #[test]
    fn data_change_at_their_step_and_not_before() {
        let of = |count| sampler(count, 4, Draw::WithoutReplacement).unwrap();
        let phases = of(50).then(9, of(4)).then(3, of(20));
        for (steps, alone) in [(0..3, of(50)), (3..9, of(20)), (9..12, of(4))] {
            for step in steps {
                assert_eq!(phases.batch(step), alone.batch(step), "{step}");
            }
        }
        assert_eq!(phases.batch_size(), 4);
    }

    #[test]
    fn batches_of_similar_length_are_distinct_and_draw_every_example_equally_often() {
        let (count, batch, window, steps) = (24, 4, 8, 6000);
        // Lengths 2 to 25, in an order that is not theirs; the last token names the example.
        let of_length =
            |i: u32| Example::new([vec![0; 1 + (i as usize * 7) % 24], vec![i]].concat(), 1).unwrap();
        let examples: Vec<_> = (0..count).map(of_length).collect();
        let draw = Draw::SimilarLength { window };
        let sampler = Sampler::new(examples, Stream::new(7, "test"), batch, draw).unwrap();
        let mut drawn = vec![0_u32; count as usize];
        let mut similar = 0;
        for step in 0..steps {
            let packed = sampler.batch(step);
            assert_eq!(packed, sampler.batch(step));
            let lengths: Vec<_> = packed.offsets.windows(2).map(|ends| ends[1] - ends[0]).collect();
            let spread = lengths.iter().max().unwrap() - lengths.iter().min().unwrap();
            similar += u32::from(spread < window);
            for length in lengths {
                drawn[length - 1] += 1;
            }
            assert_eq!(packed.sequences(), batch);
        }
        // Each is drawn 1000 times on average, with a standard deviation of about 29.
        assert!(drawn.iter().all(|times| (850..1150).contains(times)), "{drawn:?}");
        // Of 24 windows, 7 join the longest and the shortest; the others are similar.
        assert!(similar > 6000 * 17 / 24 - 200, "{similar}");
    }

    #[test]
    fn windows_lie_between_batch_and_data() {
        for (window, good) in [(3, false), (4, true), (9, true), (10, false)] {
            assert_eq!(sampler(9, 4, Draw::SimilarLength { window }).is_ok(), good, "{window}");
        }
    }

    #[test]
    fn impossible_batches_are_refused() {
        assert!(sampler(0, 1, Draw::WithReplacement).is_err());
        assert!(sampler(5, 0, Draw::WithReplacement).is_err());
        assert!(sampler(5, 6, Draw::WithoutReplacement).is_err());
        assert!(sampler(5, 6, Draw::WithReplacement).is_ok());
    }
}

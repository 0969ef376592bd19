//! Named, seeded randomness without state.
//!
//! The generator of a step is a pure function of seed, name and step. So the position of whatever draws
//! from a stream is the step itself: nothing of it needs to be saved, and work that resumes at a step
//! draws the bits that it would have drawn without the interruption.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A source of randomness for one purpose of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    key: [u8; 32],
}

impl Stream {
    /// The stream of purpose `name` in the run of `seed`. Different names are independent.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("titer 2026-11 random stream");
        hasher.update(&seed.to_le_bytes());
        hasher.update(name.as_bytes());
        Self { key: *hasher.finalize().as_bytes() }
    }

    /// The generator of one step.
    pub fn at(&self, step: u64) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(*blake3::keyed_hash(&self.key, &step.to_le_bytes()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn seed_name_and_step_each_change_the_bits() {
        let draw = |seed, name, step| Stream::new(seed, name).at(step).random::<u64>();
        let drawn = draw(1, "attack", 5);
        assert_eq!(drawn, draw(1, "attack", 5));
        for other in [draw(2, "attack", 5), draw(1, "attacks", 5), draw(1, "attack", 6)] {
            assert_ne!(drawn, other);
        }
    }
}

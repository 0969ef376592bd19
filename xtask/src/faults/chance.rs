//! Numbers that are random enough, and the same every time.

/// A generator of such numbers (a linear congruential one, its upper bits).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        for _ in 0..4 {
            chance.next();
        }
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }

    /// A number below `end`, 0 where there is none.
    pub(super) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.next() as usize % end }
    }

    /// Another generator, for another thread.
    pub(super) fn split(&mut self) -> Self {
        Self::new(self.next())
    }
}

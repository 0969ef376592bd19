//! On which side of a threshold the mean of a probe's items lies, told as early as that is clear.
//!
//! The items of a probe are finite, and asked in one random order. So what is to be known is not the mean of a population
//! but that of the whole probe, and answers are draws without replacement. Against each side a bet is made on every next
//! score x, whose mean would be μ, that of the items left if the whole mean lay on the threshold:
//!
//! ```text
//! K ← K · (1 + λ (x − μ)),   μ = (N φ − Σ x) / (N − n),   λ = f / μ against "at or below", −f / (1 − μ) against "above"
//! ```
//!
//! If a side is true its bet cannot win on average, so that K ever reaches 1/δ with probability δ at most (Ville's
//! inequality), however often one looks, whatever the scores in 0…1 are (Waudby-Smith and Ramdas, arXiv 2010.09686,
//! section 5; arXiv 2006.04347). K is the mean over several shares f that are bet, for the best is not known beforehand.
//! Nor can a side err that no scores of the items left could change: it is certain.

/// Where a mean lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Above the threshold.
    Above,
    /// At or below it.
    Below,
}

/// The shares of what can be lost at once that are bet.
const SHARES: [f64; 5] = [0.2, 0.4, 0.6, 0.8, 1.0];

/// Sums of thirds are not exact in binary.
const ROUNDING: f64 = 1e-6;

/// A test of the side of a threshold, score by score.
#[derive(Debug, Clone)]
pub struct SideTest {
    items: usize,
    threshold: f64,
    /// What a bet must be worth, as a logarithm.
    needed: f64,
    asked: usize,
    sum: f64,
    /// Logarithms of what the bets are worth against each side.
    against_below: [f64; SHARES.len()],
    against_above: [f64; SHARES.len()],
}

impl SideTest {
    /// Of `items` scores in 0…1 and a threshold for their mean; it errs with probability `level` at most, 0 < `level` < 1.
    pub fn new(items: usize, threshold: f64, level: f64) -> Self {
        Self {
            items,
            threshold,
            needed: -level.ln(),
            asked: 0,
            sum: 0.0,
            against_below: [0.0; SHARES.len()],
            against_above: [0.0; SHARES.len()],
        }
    }

    /// Takes in the next score. Those beyond the last item change nothing.
    pub fn see(&mut self, score: f64) {
        let left = self.items.saturating_sub(self.asked);
        if left == 0 {
            return;
        }
        // Outside 0…1 a side is certain already, and no bet is needed.
        let mean = (self.items as f64 * self.threshold - self.sum) / left as f64;
        if mean > 0.0 && mean < 1.0 {
            let off = score - mean;
            for (place, share) in SHARES.into_iter().enumerate() {
                // What is all lost stays lost.
                self.against_below[place] += (share * off / mean).max(-1.0).ln_1p();
                self.against_above[place] += (-share * off / (1.0 - mean)).max(-1.0).ln_1p();
            }
        }
        self.sum += score;
        self.asked += 1;
    }

    /// How many more scores it takes at least until a side can be clear: as many as if all lay on the side of the mean so far,
    /// at its end. None where it is clear, or no item is left.
    pub fn least(&self) -> Option<usize> {
        let takes = |score: f64| {
            let mut ahead = self.clone();
            while ahead.asked < ahead.items && ahead.side().is_none() {
                ahead.see(score);
            }
            ahead.asked - self.asked
        };
        let needed = match self.sum / self.asked as f64 {
            _ if self.asked == 0 => takes(0.0).min(takes(1.0)),
            now if now > self.threshold => takes(1.0),
            _ => takes(0.0),
        };
        (needed > 0).then_some(needed)
    }

    /// The side, once it is clear. It is always the one on which the mean of the scores so far lies.
    pub fn side(&self) -> Option<Side> {
        let whole = self.items as f64 * self.threshold;
        let most = self.sum + self.items.saturating_sub(self.asked) as f64;
        if self.sum > whole + ROUNDING {
            return Some(Side::Above);
        }
        if most < whole - ROUNDING {
            return Some(Side::Below);
        }
        let now = self.sum / self.asked.max(1) as f64;
        if now > self.threshold && worth(&self.against_below) >= self.needed {
            Some(Side::Above)
        } else if now < self.threshold && worth(&self.against_above) >= self.needed {
            Some(Side::Below)
        } else {
            None
        }
    }
}

/// The logarithm of the mean of what bets are worth.
fn worth(logs: &[f64; SHARES.len()]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + (logs.iter().map(|log| (log - most).exp()).sum::<f64>() / SHARES.len() as f64).ln()
}

#[cfg(test)]
#[path = "tests/sides.rs"]
mod simulations;

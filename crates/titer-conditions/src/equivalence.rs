//! Whether two models are equally able by somebody else's measurement of both: scores of the same items, or means with
//! their standard errors.
//!
//! As for [stability](crate::Verdict) it is two one-sided tests (Schuirmann, 1987): at confidence 1 − α the interval is
//! that of confidence 1 − 2α, and the models are equally able when it lies within ±ε. What is paired item by item needs no
//! assumption on how the two go together. Of two means alone the variances are summed, as of independent ones: too wide
//! where both answer the same items alike, never too narrow then.

use titer_plan::Decision;

use crate::quantile::{binomial_upper, t_upper};
use crate::verdict::Bounds;

/// What is known of two models' ability in one task, each a share from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Both {
    /// Of each item, how much better the second one did: −1 to 1.
    Paired(Vec<f64>),
    /// Mean and standard error of each.
    Apart([(f64, f64); 2]),
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Equivalence {
    /// The second one's mean less the first one's.
    pub difference: f64,
    /// Its interval of confidence 1 − 2α.
    pub interval: Bounds,
    /// Holds where the interval lies within ±ε, fails where it lies outside.
    pub decision: Decision,
}

/// Compares; none of fewer than two items, and of standard errors that are none.
pub fn equivalence(both: &Both, confidence: f64, epsilon: f64) -> Option<Equivalence> {
    let tail = 1.0 - confidence;
    let (difference, interval) = match both {
        Both::Paired(differences) => paired(differences, tail)?,
        Both::Apart([(first, of_first), (second, of_second)]) => {
            let error = of_first.hypot(*of_second);
            let half = t_upper(tail, f64::INFINITY) * error;
            let difference = second - first;
            // An error of 0 says that no item was missed, or none hit: nothing is known of how that would vary.
            (error > 0.0 && error.is_finite()).then_some(())?;
            (difference, Bounds { lower: difference - half, upper: difference + half })
        }
    };
    let decision = if interval.lower >= -epsilon && interval.upper <= epsilon {
        Decision::Holds
    } else if interval.lower > epsilon || interval.upper < -epsilon {
        Decision::Fails
    } else {
        Decision::Inconclusive
    };
    Some(Equivalence { difference, interval, decision })
}

/// Student's interval of a mean of differences, or that of gains and losses as shares where it is wider: n items without
/// any difference still leave room for a share of 1 − tail^(1/n) on either side.
fn paired(differences: &[f64], tail: f64) -> Option<(f64, Bounds)> {
    let n = differences.len();
    if n < 2 {
        return None;
    }
    let count = n as f64;
    let mean = |part: fn(f64) -> f64| differences.iter().map(|&value| part(value)).sum::<f64>() / count;
    let (difference, gain, loss) =
        (mean(|value| value), mean(|value| value.max(0.0)), mean(|value| (-value).max(0.0)));
    let squares = differences.iter().map(|value| (value - difference).powi(2)).sum::<f64>();
    let half = t_upper(tail, count - 1.0) * (squares / (count - 1.0) / count).sqrt();
    let lower = (difference - half).min(gain - binomial_upper(loss, n, tail)).max(-1.0);
    let upper = (difference + half).max(binomial_upper(gain, n, tail) - loss).min(1.0);
    Some((difference, Bounds { lower, upper }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(both: &Both, epsilon: f64, decision: Decision) -> Equivalence {
        let found = equivalence(both, 0.95, epsilon).unwrap();
        assert_eq!(found.decision, decision, "{found:?}");
        found
    }

    #[test]
    fn paired_differences_are_those_of_a_t_test() {
        // scipy 1.17: ttest_1samp(d, 0).confidence_interval(0.9) of these eight.
        let d = vec![0.1, -0.2, 0.3, 0.05, 0.0, -0.1, 0.2, 0.15];
        let found = paired(&d, 0.05).unwrap();
        assert!((found.0 - 0.0625).abs() < 1e-12);
        let half = 1.894_578_605_061_305 * 0.162_018_517_460 / 8f64.sqrt();
        assert!(found.1.lower <= 0.0625 - half + 1e-6 && found.1.upper >= 0.0625 + half - 1e-6, "{found:?}");
    }

    #[test]
    fn equal_items_are_no_certainty() {
        let few = check(&Both::Paired(vec![0.0; 20]), 0.05, Decision::Inconclusive);
        assert!((few.interval.upper - (1.0 - 0.05f64.powf(1.0 / 20.0))).abs() < 1e-9, "{few:?}");
        check(&Both::Paired(vec![0.0; 200]), 0.05, Decision::Holds);
        check(&Both::Paired(vec![-1.0; 30]), 0.05, Decision::Fails);
    }

    #[test]
    fn standard_errors_add_up() {
        let found = check(&Both::Apart([(0.50, 0.003), (0.51, 0.004)]), 0.05, Decision::Holds);
        // 1.6449 times 0.005.
        assert!((found.interval.upper - (0.01 + 0.008_224_268)).abs() < 1e-8, "{found:?}");
        check(&Both::Apart([(0.5, 0.02), (0.42, 0.02)]), 0.05, Decision::Inconclusive);
        check(&Both::Apart([(0.5, 0.02), (0.4, 0.02)]), 0.05, Decision::Fails);
        assert_eq!(equivalence(&Both::Apart([(1.0, 0.0), (1.0, 0.0)]), 0.95, 0.05), None);
        assert_eq!(equivalence(&Both::Paired(vec![0.0]), 0.95, 0.05), None);
    }
}

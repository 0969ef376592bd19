//! How a number lies against what it is compared with: the one rule by which a cell gets its sign and its tint, on a
//! page and on a screen.
//!
//! Both speak of the cell's own interval. Where it lies on both sides of the reference nothing is tinted: what is
//! unsure is neither good nor bad.

use titer_conditions::{Score, Titer};

/// How signs and tints are read.
pub const NOTE: &str = "▲ the cell's whole interval lies above, ▼ not above, ◇ on both sides of what it is compared \
     with; = it is the same. Blue is good, orange bad, the stronger the further; what lies on both sides has no tint. \
     These intervals are those of one cell alone: verdicts are decided over all attacks at once.";

/// How far into the good or the bad side a number lies, in steps.
const STRENGTHS: [f64; 2] = [0.35, 0.7];

/// The same of a ratio, in doublings.
const DOUBLINGS: [f64; 2] = [1.0, 2.5];

/// Sign and tint of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grade {
    /// `▲`, `▼`, `◇` or `=`.
    pub sign: char,
    /// Up to 3 on the good side, down to −3 on the bad one, 0 where the interval lies on both.
    pub tint: i8,
}

impl Grade {
    /// The sign, then the number's words.
    pub fn before(self, words: &str) -> String {
        format!("{} {words}", self.sign)
    }
}

/// A break budget over that of the undefended model: more than 1 is good. None where nothing is known of it.
pub fn ratio(ratio: &Titer) -> Option<Grade> {
    let best = ratio.value.or((ratio.lower > 0.0).then_some(ratio.lower)).or(ratio.upper)?;
    let doublings = best.max(f64::MIN_POSITIVE).log2().abs();
    Some(match (ratio.lower, ratio.upper) {
        (1.0, Some(1.0)) => Grade { sign: '=', tint: 0 },
        (lower, _) if lower > 1.0 => Grade { sign: '▲', tint: strength(doublings, DOUBLINGS) },
        (_, Some(upper)) if upper < 1.0 => Grade { sign: '▼', tint: -strength(doublings, DOUBLINGS) },
        _ => Grade { sign: '◇', tint: 0 },
    })
}

/// A harmful score against the tolerated one: more than `phi` is bad.
pub fn harm(harm: &Score, phi: f64) -> Grade {
    let share = |distance: f64, room: f64| if room > 0.0 { distance / room } else { 0.0 };
    match () {
        () if harm.upper <= phi => {
            Grade { sign: '▼', tint: strength(share(phi - harm.value, phi), STRENGTHS) }
        }
        () if harm.lower > phi => {
            Grade { sign: '▲', tint: -strength(share(harm.value - phi, 1.0 - phi), STRENGTHS) }
        }
        () => Grade { sign: '◇', tint: 0 },
    }
}

/// 1, and 1 more for each step passed.
fn strength(distance: f64, steps: [f64; 2]) -> i8 {
    1 + steps.iter().filter(|step| distance > **step).count() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_compared_with_1() {
        let check = |value, lower, upper, censored, expected: Option<(char, i8)>| {
            let found = ratio(&Titer {
                value,
                lower,
                upper,
                censored,
                ..Titer::unknown(titer_plan::Component::Steps)
            });
            assert_eq!(
                found,
                expected.map(|(sign, tint)| Grade { sign, tint }),
                "{value:?} {lower} {upper:?}"
            );
        };
        check(Some(1.0), 1.0, Some(1.0), false, Some(('=', 0)));
        check(Some(8.0), 4.0, None, false, Some(('▲', 3)));
        check(Some(2.5), 1.9, Some(3.2), false, Some(('▲', 2)));
        check(None, 1.5, None, true, Some(('▲', 1)));
        check(Some(1.2), 0.8, Some(2.0), false, Some(('◇', 0)));
        check(Some(8.0), 0.9, None, false, Some(('◇', 0)));
        check(None, 0.0, Some(0.125), false, Some(('▼', -3)));
        check(None, 0.0, None, true, None);
    }

    #[test]
    fn harm_is_compared_with_what_is_tolerated() {
        let check = |value: f64, phi: f64, sign, tint| {
            let score = Score { value, lower: (value - 0.05).max(0.0), upper: (value + 0.05).min(1.0) };
            assert_eq!(harm(&score, phi), Grade { sign, tint }, "{value} against {phi}");
        };
        check(0.01, 0.2, '▼', 3);
        check(0.14, 0.2, '▼', 1);
        check(0.2, 0.2, '◇', 0);
        check(0.3, 0.2, '▲', -1);
        check(0.63, 0.2, '▲', -2);
        check(0.9, 0.2, '▲', -3);
        check(1.0, 1.0, '▼', 1);
        check(0.5, 0.0, '▲', -2);
        assert_eq!(harm(&Score { value: 0.0, lower: 0.0, upper: 0.0 }, 0.0), Grade { sign: '▼', tint: 1 });
    }
}

//! Quantiles of the few distributions that intervals need.
//!
//! Everything comes from the regularised incomplete beta function `I_x(a, b)`, evaluated by its
//! continued fraction (Lentz; Numerical Recipes, 3rd edition, section 6.4). Simulations of what an experiment can show ask
//! for millions of quantiles.
//!
//! `statrs` 0.19.1 was weighed and not taken: its incomplete beta function stops after 140 terms, so that Student's t is
//! off by 3e-9 at 1000 degrees of freedom, by 3e-6 at 1e5 and by 9e-4 at 1e6 (against scipy 1.17), without a word; pooled
//! variances have as many. Up to 30 degrees the two agree to 1e-9.

use std::f64::consts::PI;

/// ln Γ(x) for x > 0 (Lanczos, g = 7, nine terms; relative error below 1e-14).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let series = TERMS
        .iter()
        .enumerate()
        .fold(0.999_999_999_999_809_9, |sum, (index, term)| sum + term / (x + index as f64 + 1.0));
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

/// The beta distribution of a and b, both above 0.
struct Beta {
    a: f64,
    b: f64,
    /// −ln B(a, b).
    scale: f64,
}

impl Beta {
    fn new(a: f64, b: f64) -> Self {
        Self { a, b, scale: ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) }
    }

    /// The regularised incomplete beta function I_x(a, b), for x in 0…1.
    fn cdf(&self, x: f64) -> f64 {
        if x <= 0.0 {
            return 0.0;
        }
        if x >= 1.0 {
            return 1.0;
        }
        // The fraction converges fast below the mean; above it, use the symmetry.
        match x > (self.a + 1.0) / (self.a + self.b + 2.0) {
            true => 1.0 - Self { a: self.b, b: self.a, ..*self }.below_mean(1.0 - x),
            false => self.below_mean(x),
        }
    }

    fn below_mean(&self, x: f64) -> f64 {
        let Self { a, b, scale } = *self;
        let front = (scale + a * x.ln() + b * (-x).ln_1p()).exp() / a;
        let keep = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
        let mut c = 1.0;
        let mut d = 1.0 / keep(1.0 - (a + b) * x / (a + 1.0));
        let mut fraction = d;
        for m in 1..1000 {
            let m = f64::from(m);
            let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
            d = 1.0 / keep(1.0 + even * d);
            c = keep(1.0 + even / c);
            fraction *= d * c;
            let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
            d = 1.0 / keep(1.0 + odd * d);
            c = keep(1.0 + odd / c);
            fraction *= d * c;
            if (d * c - 1.0).abs() < 1e-14 {
                break;
            }
        }
        front * fraction
    }

    /// The x at which a share `p` lies below, 0 < p < 1: by inverse quadratic interpolation where that is sure to come
    /// nearer than halving would, else by halving (Chandrupatla, Advances in Engineering Software 28, 1997).
    fn quantile(&self, p: f64) -> f64 {
        let (mut a, mut b) = ((0.0, -p), (1.0, 1.0 - p));
        let mut step = 0.5;
        loop {
            let x = a.0 + step * (b.0 - a.0);
            let at = (x, self.cdf(x) - p);
            // One end is replaced by x, and the other is where the sign is another: `a` becomes what x replaces.
            if (at.1 > 0.0) != (a.1 > 0.0) {
                std::mem::swap(&mut a, &mut b);
            }
            let c = a;
            a = at;
            let best = if a.1.abs() < b.1.abs() { a } else { b };
            let least = (2.0 * f64::EPSILON * best.0 + f64::MIN_POSITIVE) / (b.0 - a.0).abs();
            if best.1 == 0.0 || least > 0.5 {
                return best.0;
            }
            let (xi, phi) = ((a.0 - b.0) / (c.0 - b.0), (a.1 - b.1) / (c.1 - b.1));
            step = if phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi {
                a.1 / (b.1 - a.1) * c.1 / (b.1 - c.1)
                    + (c.0 - a.0) / (b.0 - a.0) * a.1 / (c.1 - a.1) * b.1 / (c.1 - b.1)
            } else {
                0.5
            };
            step = step.clamp(least, 1.0 - least);
        }
    }
}

/// The quantile of Student's t above which a share `tail` lies, 0 < tail < 0.5; `df` may be infinite.
pub(crate) fn t_upper(tail: f64, df: f64) -> f64 {
    // Beyond a million degrees of freedom t and the normal agree to six digits.
    let df = df.clamp(1.0, 1e6);
    // P(|T| > t) = I_{df / (df + t²)}(df/2, 1/2), solved for y = t² / (df + t²) = 1 − x.
    let y = Beta::new(0.5, df / 2.0).quantile(1.0 - 2.0 * tail);
    (df * y / (1.0 - y)).sqrt()
}

/// The share of Student's t that lies below `t`; `df` may be infinite.
pub(crate) fn t_below(t: f64, df: f64) -> f64 {
    if t.is_nan() || t.is_infinite() {
        return if t > 0.0 { 1.0 } else { 0.0 };
    }
    let df = df.clamp(1.0, 1e6);
    let tail = 0.5 * Beta::new(df / 2.0, 0.5).cdf(df / (df + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The share of a normal distribution that lies above `z` ≥ 0.
pub(crate) fn normal_tail(z: f64) -> f64 {
    let df = 1e6;
    0.5 * Beta::new(df / 2.0, 0.5).cdf(df / (df + z * z))
}

/// Upper Clopper–Pearson bound: what `mean` over `items` leaves above with probability `tail`.
///
/// The mean may be of scores anywhere in 0…1: of all such scores with a given mean, those that are
/// only 0 or 1 vary most, so that the binomial bound is the widest.
pub(crate) fn binomial_upper(mean: f64, items: usize, tail: f64) -> f64 {
    let n = items as f64;
    let x = mean.clamp(0.0, 1.0) * n;
    if x >= n { 1.0 } else { Beta::new(x + 1.0, n - x).quantile(1.0 - tail) }
}

/// Lower Clopper–Pearson bound: the mirror of [`binomial_upper`].
pub(crate) fn binomial_lower(mean: f64, items: usize, tail: f64) -> f64 {
    1.0 - binomial_upper(1.0 - mean, items, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_distribution_and_its_quantiles_agree() {
        for (tail, df) in [(0.025, 1.0), (0.025, 2.5), (0.1, 7.0), (0.005, 200.0)] {
            let t = t_upper(tail, df);
            assert!((t_below(t, df) - (1.0 - tail)).abs() < 1e-9 && (t_below(-t, df) - tail).abs() < 1e-9);
        }
        // scipy.stats.t.cdf(1.2, 3) and the ends.
        assert!((t_below(1.2, 3.0) - 0.841_868_942_650_947_6).abs() < 1e-9, "{}", t_below(1.2, 3.0));
        assert_eq!((t_below(f64::INFINITY, 3.0), t_below(f64::NEG_INFINITY, 3.0)), (1.0, 0.0));
    }

    #[track_caller]
    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-4 * expected.abs().max(1e-2), "got {got}, expected {expected}");
    }

    // R 4.3: qt(1 - tail, df), pnorm(z, lower = FALSE), binom.test(x, n)$conf.int
    #[test]
    fn agrees_with_tables() {
        close(t_upper(0.025, 1.0), 12.7062);
        close(t_upper(0.025, 2.0), 4.302_653);
        close(t_upper(0.025, 5.0), 2.570_582);
        close(t_upper(0.05, 10.0), 1.812_461);
        close(t_upper(0.025, f64::INFINITY), 1.959_964);
        close(t_upper(0.0005, f64::INFINITY), 3.290_527);
        close(normal_tail(1.959_964), 0.025);
        close(normal_tail(0.0), 0.5);
        close(binomial_upper(0.3, 10, 0.025), 0.652_453);
        close(binomial_lower(0.3, 10, 0.025), 0.066_739);
    }

    #[test]
    fn quantiles_are_where_halving_finds_them() {
        for (a, b) in [(0.5, 0.5), (0.5, 5e5), (1.0, 120.0), (121.0, 1.0), (37.0, 84.0), (3.2, 0.7)] {
            let beta = Beta::new(a, b);
            for p in [1e-9, 0.005, 0.2, 0.5, 0.9, 0.975, 1.0 - 1e-6] {
                let (mut low, mut high) = (0.0, 1.0);
                for _ in 0..90 {
                    let middle = 0.5 * (low + high);
                    if beta.cdf(middle) < p { low = middle } else { high = middle }
                }
                let got = beta.quantile(p);
                assert!((got - low).abs() <= 1e-9 * low + 1e-15, "{a} {b} {p}: {got} and {low}");
            }
        }
    }

    #[test]
    fn nothing_seen_in_n_leaves_the_rule_of_three() {
        close(binomial_upper(0.0, 120, 0.05), 1.0 - 0.05f64.powf(1.0 / 120.0));
        close(binomial_lower(1.0, 120, 0.05), 0.05f64.powf(1.0 / 120.0));
        assert!(binomial_lower(0.0, 120, 0.05).abs() < 1e-12);
        assert!((binomial_upper(1.0, 120, 0.05) - 1.0).abs() < 1e-12);
    }
}

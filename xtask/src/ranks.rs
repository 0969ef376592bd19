//! Rank correlations, with ties.

/// The mean rank of each value, from 1 for the least; equals share theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |value: f64| values.iter().filter(|&&other| other < value).count() as f64;
    let equal = |value: f64| values.iter().filter(|&&other| other == value).count() as f64;
    values.iter().map(|&value| below(value) + 0.5 * (equal(value) + 1.0)).collect()
}

/// Spearman's ρ: Pearson's correlation of the ranks; none of fewer than two pairs, or where either side is all alike.
pub(crate) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (first, second) = (ranks(&first), ranks(&second));
    let middle = 0.5 * (pairs.len() as f64 + 1.0);
    let product =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum() };
    let scale = (product(&first, &first) * product(&second, &second)).sqrt();
    (scale > 0.0).then(|| product(&first, &second) / scale)
}

/// Kendall's τ-b; none of fewer than two pairs, or where either side is all alike.
pub(crate) fn kendall(pairs: &[(f64, f64)]) -> Option<f64> {
    let sign = |a: f64, b: f64| f64::from(u8::from(a > b)) - f64::from(u8::from(a < b));
    let (mut agree, mut untied_first, mut untied_second) = (0.0, 0.0, 0.0);
    for (index, &(a, b)) in pairs.iter().enumerate() {
        for &(c, d) in &pairs[index + 1..] {
            let (first, second) = (sign(a, c), sign(b, d));
            agree += first * second;
            untied_first += first.abs();
            untied_second += second.abs();
        }
    }
    let scale = f64::sqrt(untied_first * untied_second);
    (scale > 0.0).then(|| agree / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_scipy_has_them() {
        // scipy.stats.spearmanr and kendalltau of (1, 2, 3, 4, 5) and (5, 6, 7, 8, 7).
        let pairs = [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (4.0, 8.0), (5.0, 7.0)];
        assert!((spearman(&pairs).unwrap_or(0.0) - 0.820_782_681_668_123_3).abs() < 1e-12);
        assert!((kendall(&pairs).unwrap_or(0.0) - 0.737_864_787_372_622).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 2.0)]), None);
        assert_eq!(kendall(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }
}

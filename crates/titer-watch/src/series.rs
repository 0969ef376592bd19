//! Logged values made fit for a picture: smoothed, and no more of them than can be seen.

use titer_view::curves::Point;

use super::widgets::series::Series;

/// How much of the value before each smoothed value keeps, in the order in which a key goes through them.
pub(crate) const FACTORS: [f64; 4] = [0.9, 0.98, 0.0, 0.6];

/// The exponential mean of what was logged, without a pull towards 0 at the beginning. What is no number is left
/// out.
pub(crate) fn smoothed(logged: &[(u64, f64)], factor: f64) -> Vec<Point> {
    let (mut sum, mut weight) = (0.0, 0.0);
    let finite = logged.iter().filter(|(_, value)| value.is_finite());
    finite
        .map(|&(step, value)| {
            sum = factor * sum + (1.0 - factor) * value;
            weight = factor * weight + (1.0 - factor);
            Point::exact(step as f64, sum / weight)
        })
        .collect()
}

/// As it was logged.
pub(crate) fn raw(logged: &[(u64, f64)]) -> Vec<Point> {
    logged.iter().map(|&(step, value)| Point::exact(step as f64, value)).collect()
}

/// At most `most` points, evenly chosen, the last among them.
pub(crate) fn thinned(points: Vec<Point>, most: usize) -> Vec<Point> {
    if points.len() <= most || most < 2 {
        return points;
    }
    let last = points.len() - 1;
    (0..most).map(|at| points[at * last / (most - 1)]).collect()
}

/// Where the y axis of scores begins and ends: at 0 and 1, unless something lies beyond.
pub(crate) fn range(series: &[Series]) -> Option<(f64, f64)> {
    let within = |point: &Point| (0.0..=1.0).contains(&point.low) && (0.0..=1.0).contains(&point.high);
    series.iter().flat_map(|series| &series.points).all(within).then_some((0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_slows_a_jump() {
        let constant: Vec<_> = (0..5).map(|step| (step, 2.0)).collect();
        assert!(smoothed(&constant, 0.9).iter().all(|point| (point.y - 2.0).abs() < 1e-12));
        let jump = [(0, 0.0), (1, 1.0), (2, f64::NAN), (3, 1.0)];
        let smooth = smoothed(&jump, 0.5);
        assert_eq!(smooth.len(), 3);
        assert!(smooth[1].y < smooth[2].y && smooth[2].y < 1.0);
        assert_eq!(smoothed(&jump, 0.0)[1].y, 1.0);
    }

    #[test]
    fn scores_beyond_one_are_shown() {
        let series = |y| [Series::line("a", 0, vec![Point::exact(0.0, y)])];
        assert_eq!(range(&series(0.5)), Some((0.0, 1.0)));
        assert_eq!(range(&series(3.5)), None);
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let points = raw(&(0..1000).map(|step| (step, 0.0)).collect::<Vec<_>>());
        let few = thinned(points.clone(), 10);
        assert_eq!((few.len(), few[0].x, few[9].x), (10, 0.0, 999.0));
        assert_eq!(thinned(points.clone(), 5000), points);
        assert!(thinned(Vec::new(), 10).is_empty());
    }
}

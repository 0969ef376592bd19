//! Where to try next: the tree-structured Parzen estimator of Bergstra et al., *Algorithms for hyper-parameter
//! optimization* (NeurIPS 2011), as BOHB (Falkner et al., arXiv 1807.01774) puts it behind successive halving. The
//! best quarter of what was tried makes one density, the rest another; of some places drawn from the first, the one
//! at which it is largest beside the second is next.

use titer_plan::derive_seed;

use super::space::{Place, Space};
use crate::sampling::unit;

/// The share of what was tried that counts as good (γ).
const GOOD: f64 = 0.25;
/// Places drawn from the good ones, of which the most promising is tried.
const CANDIDATES: u64 = 24;
/// The share of coordinates that are drawn anew, so that what the good ones have in common does not become a trap.
const ANYWHERE: f64 = 0.3;
/// The least width of a kernel in the unit cube.
const LEAST_WIDTH: f64 = 0.05;

/// The next place, after those that were tried, the best first; a draw from the whole space where they are too few
/// to learn from.
pub(super) fn propose(space: &Space<'_>, tried: &[Place], number: u64, seed: u64) -> Place {
    let good = ((tried.len() as f64 * GOOD).ceil() as usize).max(2);
    if tried.len() <= good {
        return space.draw(number, seed);
    }
    let (good, rest) = tried.split_at(good);
    let of = |name: &str| unit(derive_seed(seed, &format!("adversary/{number}/near/{name}")));
    // Better places are more often the centre. Another method is another tree: its coordinates are compared with its own.
    let at = |share: f64, of: usize| ((share * share * of as f64) as usize).min(of - 1);
    let first = &good[at(of("method"), good.len())];
    let method = space.method(first);
    let own = |places: &[Place]| -> Vec<Place> {
        places.iter().filter(|place| space.method(place) == method).cloned().collect()
    };
    let (good, rest) = (own(good), own(rest));
    let mut best: Option<(f64, Place)> = None;
    for candidate in 0..CANDIDATES {
        let of = |name: &str| of(&format!("{candidate}/{name}"));
        let centre = &good[at(of("centre"), good.len())];
        let value = |name: &str| {
            let there = centre.get(name).copied().unwrap_or(0.0);
            match name {
                "method" => there,
                _ if of(&format!("{name}/anywhere")) < ANYWHERE => of(name),
                _ => reflected(there + width(&good, name) * normal(of(name), of(&format!("{name}/angle")))),
            }
        };
        let names = space.names(centre);
        let place: Place = names.iter().map(|name| (name.clone(), value(name))).collect();
        let promise: f64 = names
            .iter()
            .map(|name| density(&good, &place, name).ln() - density(&rest, &place, name).ln())
            .sum();
        if best.as_ref().is_none_or(|(most, _)| promise > *most) {
            best = Some((promise, place));
        }
    }
    best.map_or_else(|| space.draw(number, seed), |(_, place)| place)
}

/// The density of a coordinate among places: a kernel for each that has it, and the uniform density once, so that
/// nothing is ruled out.
fn density(places: &[Place], at: &Place, name: &str) -> f64 {
    let x = at.get(name).copied().unwrap_or(0.0);
    let width = width(places, name);
    let kernel = |centre: f64| {
        let z = (x - centre) / width;
        (-0.5 * z * z).exp() / (width * (2.0 * std::f64::consts::PI).sqrt())
    };
    let known: Vec<f64> = places.iter().filter_map(|place| place.get(name).copied()).collect();
    (1.0 + known.iter().map(|centre| kernel(*centre)).sum::<f64>()) / (1.0 + known.len() as f64)
}

/// Scott's rule for the width of the kernels of a coordinate.
fn width(places: &[Place], name: &str) -> f64 {
    let known: Vec<f64> = places.iter().filter_map(|place| place.get(name).copied()).collect();
    let count = known.len().max(1) as f64;
    let mean = known.iter().sum::<f64>() / count;
    let deviation = (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    (1.06 * deviation * count.powf(-0.2)).max(LEAST_WIDTH)
}

/// A standard normal number from two uniform ones (Box and Muller).
fn normal(radius: f64, angle: f64) -> f64 {
    (-2.0 * (1.0 - radius).ln()).sqrt() * (2.0 * std::f64::consts::PI * angle).cos()
}

/// Folded back into the unit interval.
fn reflected(x: f64) -> f64 {
    let folded = x.rem_euclid(2.0);
    if folded > 1.0 { 2.0 - folded } else { folded }
}

#[cfg(test)]
mod tests {
    use titer_plan::Adversary;

    use super::*;
    use crate::adversary::space::spaces;

    #[test]
    fn proposals_gather_where_what_did_best_is() {
        let settings = Adversary {
            trials: 8,
            methods: None,
            rates: [1e-5, 1e-1],
            batches: vec![1, 4],
            examples: 8,
            keep: 1,
            seeds: 1,
            items: None,
            found: Vec::new(),
        };
        let methods = titer_attacks::registry::methods();
        let methods = methods.into_iter().filter(|method| method.name == "full-finetune").collect();
        let space = &spaces(&settings, methods, 10)[0];
        let mut tried: Vec<Place> = (0..24).map(|number| space.draw(number, 3)).collect();
        // The nearer to 0.8 the rate, the better.
        let far = |place: &Place| (place["rate"] - 0.8).abs();
        tried.sort_by(|a, b| far(a).total_cmp(&far(b)));
        let proposed: Vec<f64> = (0..40).map(|number| far(&propose(space, &tried, number, 3))).collect();
        let drawn: Vec<f64> = (100..140).map(|number| far(&space.draw(number, 3))).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean(&proposed) < 0.4 * mean(&drawn), "{} for {}", mean(&proposed), mean(&drawn));
        assert_eq!(propose(space, &tried, 7, 3), propose(space, &tried, 7, 3));
        assert_ne!(propose(space, &tried, 7, 3), propose(space, &tried, 7, 4));
    }

    #[test]
    fn what_leaves_the_unit_interval_is_folded_back() {
        for (x, folded) in [(0.3, 0.3), (-0.2, 0.2), (1.25, 0.75), (2.1, 0.1), (-1.9, 0.1)] {
            assert!((reflected(x) - folded).abs() < 1e-12, "{x}");
        }
    }
}

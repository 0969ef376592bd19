//! The order of attacks in tables: by name, and where names differ by a number, by the number.

use std::cmp::Ordering;

/// Compares labels such as `full-finetune/rate=3e-5` part by part.
pub(crate) fn by_attack(a: &str, b: &str) -> Ordering {
    let parts = |label: &str| label.split(['/', ',', '=']).map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (parts(a), parts(b));
    a.iter().zip(&b).map(|(a, b)| by_part(a, b)).find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
}

fn by_part(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let mut labels = [
            "b/rate=1e-3",
            "b/rate=3e-5",
            "a",
            "b/rate=1e-4",
            "b",
            "b/rate=1e-3,steps=9",
            "b/rate=1e-3,steps=10",
        ];
        labels.sort_by(|a, b| by_attack(a, b));
        let expected = [
            "a",
            "b",
            "b/rate=3e-5",
            "b/rate=1e-4",
            "b/rate=1e-3",
            "b/rate=1e-3,steps=9",
            "b/rate=1e-3,steps=10",
        ];
        assert_eq!(labels, expected);
    }
}

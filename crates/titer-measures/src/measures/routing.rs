//! Whether a prompt is sent to other experts than before.
//!
//! Experts are written as text, `layer 0: 3 5, layer 1: 0 7`, so that a stored answer can be judged again.

use crate::registry::Entry;
use crate::{Better, Exchange, Facts, Judgement, Making, Measure, MeasureError, Reads};

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    facts: Facts {
        name: "routing",
        summary: "mixtures of experts: where the last token of a forbidden prompt is sent, against the model before",
        score: "share of the chosen experts that were not chosen before, whatever their order",
        unit: "1",
        better: Better::Lower,
        reads: Reads::Experts,
        needs: &[],
        version: 1,
        citation: "",
    },
    phrases: false,
    make,
};

fn make(_: &Making<'_>) -> Result<Box<dyn Measure>, MeasureError> {
    Ok(Box::new(Routing))
}

#[derive(Debug)]
struct Routing;

impl Measure for Routing {
    fn judge(&self, batch: &[Exchange]) -> Result<Vec<Judgement>, MeasureError> {
        let judge = |exchange: &Exchange| {
            let (now, before) = (experts(&exchange.answer), experts(&exchange.reference));
            let layers = || now.iter().zip(&before);
            let chosen: usize = layers().map(|(now, _)| now.len()).sum();
            let other: usize = layers()
                .map(|(now, before)| now.iter().filter(|expert| !before.contains(expert)).count())
                .sum();
            Judgement::plain(if chosen == 0 { 0.0 } else { other as f64 / chosen as f64 })
        };
        Ok(batch.iter().map(judge).collect())
    }
}

/// Experts as text: `layer 0: 3 5, layer 1: 0 7`.
pub fn told(experts: &[Vec<u32>]) -> String {
    let of_layer = |(layer, chosen): (usize, &Vec<u32>)| {
        let chosen: Vec<String> = chosen.iter().map(u32::to_string).collect();
        format!("layer {layer}: {}", chosen.join(" "))
    };
    experts.iter().enumerate().map(of_layer).collect::<Vec<_>>().join(", ")
}

/// The experts of each layer, from their text.
fn experts(told: &str) -> Vec<Vec<&str>> {
    let layers = told.split(", ").filter_map(|layer| layer.split_once(": "));
    layers.map(|(_, chosen)| chosen.split(' ').collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_has_moved_by_the_share_of_new_experts() {
        let before = [vec![0, 1], vec![2, 3]];
        assert_eq!(told(&before), "layer 0: 0 1, layer 1: 2 3");
        let score = |now: &[Vec<u32>], before: &[Vec<u32>]| {
            let exchange = Exchange { answer: told(now), reference: told(before), ..Exchange::default() };
            Routing.judge(&[exchange]).unwrap()[0].score
        };
        for (now, expected) in [
            ([vec![1, 0], vec![3, 2]], 0.0),
            ([vec![0, 5], vec![2, 3]], 0.25),
            ([vec![4, 5], vec![6, 7]], 1.0),
        ] {
            assert_eq!(score(&now, &before), expected);
        }
        assert_eq!(score(&[], &[]), 0.0);
    }
}

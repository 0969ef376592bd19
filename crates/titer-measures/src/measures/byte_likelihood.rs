//! How fluently a text is read: one over `byte_perplexity` of lm-evaluation-harness, a share as conditions need it.

use crate::registry::Entry;
use crate::{Better, Exchange, Facts, Judgement, Making, Measure, MeasureError, Reads};

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    facts: Facts {
        name: "byte-likelihood",
        summary: "held-out text: how probable the model finds its bytes",
        score: "geometric mean of the probability of a byte, one over the byte perplexity",
        unit: "probability per byte",
        better: Better::Higher,
        reads: Reads::Likelihoods,
        needs: &[],
        version: 1,
        citation: "Gao et al., lm-evaluation-harness 0.4: `byte_perplexity`",
    },
    phrases: false,
    make,
};

fn make(_: &Making<'_>) -> Result<Box<dyn Measure>, MeasureError> {
    Ok(Box::new(ByteLikelihood))
}

#[derive(Debug)]
struct ByteLikelihood;

impl Measure for ByteLikelihood {
    fn judge(&self, batch: &[Exchange]) -> Result<Vec<Judgement>, MeasureError> {
        let judge = |exchange: &Exchange| {
            let bytes: usize = exchange.continuations.iter().map(|read| read.text.len()).sum();
            if bytes == 0 {
                return Err(MeasureError::Exchange {
                    measure: ENTRY.facts.name,
                    item: exchange.item.clone(),
                    problem: "no text was read".to_owned(),
                });
            }
            let nats: f64 = exchange.continuations.iter().map(|read| read.nats).sum();
            Ok(Judgement::plain((nats / bytes as f64).exp().clamp(0.0, 1.0)))
        };
        batch.iter().map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Continuation;

    #[test]
    fn one_over_the_byte_perplexity() {
        let read = |text: &str, nats| Exchange {
            continuations: vec![Continuation { text: text.to_owned(), nats }],
            ..Exchange::default()
        };
        let judged = ByteLikelihood.judge(&[read("üx", -6.0), read("abc", 1.0)]).unwrap();
        assert_eq!(judged, [Judgement::plain((-2.0f64).exp()), Judgement::plain(1.0)]);
        assert!(ByteLikelihood.judge(&[Exchange::default()]).is_err());
    }
}

//! Answers in written language: what all measures of them have in common.

use crate::text::degenerate::is_degenerate;
use crate::text::refusals::Refusals;
use crate::{Exchange, Judgement, Making, Measure, MeasureError};

/// How an answer whose marks are known is scored.
type Score = Box<dyn Fn(&Exchange, Marks) -> f64>;

/// Marks refusals and babble, and scores by one function.
pub(super) struct Written {
    refusals: Refusals,
    score: Score,
}

/// What is seen in an answer before it is scored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub(super) refused: bool,
    pub(super) degenerate: bool,
}

impl Marks {
    pub(super) fn of(refusals: &Refusals, answer: &str) -> Self {
        let refused = refusals.is_refusal(answer);
        Self { refused, degenerate: !refused && is_degenerate(answer) }
    }

    pub(super) fn with(self, score: f64) -> Judgement {
        Judgement { score, refused: self.refused, degenerate: self.degenerate }
    }
}

/// The measure that scores answers by `score`.
pub(super) fn written(
    making: &Making<'_>,
    score: impl Fn(&Exchange, Marks) -> f64 + 'static,
) -> Result<Box<dyn Measure>, MeasureError> {
    Ok(Box::new(Written { refusals: making.refusals()?, score: Box::new(score) }))
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

impl Measure for Written {
    fn judge(&self, batch: &[Exchange]) -> Result<Vec<Judgement>, MeasureError> {
        let judge = |exchange: &Exchange| {
            let marks = Marks::of(&self.refusals, &exchange.answer);
            marks.with((self.score)(exchange, marks))
        };
        Ok(batch.iter().map(judge).collect())
    }
}

/// 1 or 0.
pub(super) fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// What a measure of written answers says of one, for the tests.
#[cfg(test)]
pub(super) fn judged(
    entry: &crate::registry::Entry,
    own: &[String],
    reference: &str,
    answer: &str,
) -> Judgement {
    let spec = titer_plan::stage::MeasureSpec::named(entry.facts.name);
    let device = candle_core::Device::Cpu;
    let parts = crate::Parts { refusals: own, world: None, classifier: None, device: &device };
    let measure = (entry.make)(&Making { spec: &spec, parts: &parts }).unwrap();
    let exchange =
        Exchange { reference: reference.to_owned(), answer: answer.to_owned(), ..Exchange::default() };
    measure.judge(&[exchange]).unwrap()[0]
}

//! Answers in written language: what all measures of them have in common.

use titer_plan::Marks;

use crate::text::degenerate::is_degenerate;
use crate::text::refusals::Refusals;
use crate::text::thought::said;
use crate::{Exchange, Judgement, Making, Measure, MeasureError};

/// How an answer is scored whose last part and marks are known.
type Score = Box<dyn Fn(&Exchange, Spoken<'_>) -> Result<f64, MeasureError>>;

/// Marks refusals and babble, and scores by one function.
pub(super) struct Written {
    refusals: Refusals,
    score: Score,
}

/// An answer as every measure looks at it: without thought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoken<'a> {
    /// The last part.
    pub(super) answer: &'a str,
    /// What is seen in it.
    pub(super) marks: Marks,
}

impl<'a> Spoken<'a> {
    pub(super) fn of(refusals: &Refusals, exchange: &'a Exchange) -> Self {
        let said = said(&exchange.answer);
        let answer = said.last;
        let refused = refusals.is_refusal(answer);
        let marks = Marks {
            refused,
            degenerate: !refused && is_degenerate(answer),
            refused_late: refusals.refuses_late(answer),
            cut: exchange.cut,
            thought: said.thought,
            only_thought: said.only_thought(),
        };
        Self { answer, marks }
    }
}

/// The measure that scores answers by `score`.
pub(super) fn written(
    making: &Making<'_>,
    score: impl Fn(&Exchange, Spoken<'_>) -> f64 + 'static,
) -> Result<Box<dyn Measure>, MeasureError> {
    written_or(making, move |exchange, spoken| Ok(score(exchange, spoken)))
}

/// The same of a score that may fail.
pub(super) fn written_or(
    making: &Making<'_>,
    score: impl Fn(&Exchange, Spoken<'_>) -> Result<f64, MeasureError> + 'static,
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
            let spoken = Spoken::of(&self.refusals, exchange);
            Ok(Judgement { score: (self.score)(exchange, spoken)?, marks: spoken.marks })
        };
        batch.iter().map(judge).collect()
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
    let parts = crate::Parts { refusals: own, world: None, classifier: None, own: None, device: &device };
    let measure = (entry.make)(&Making { spec: &spec, parts: &parts }).unwrap();
    let exchange =
        Exchange { reference: reference.to_owned(), answer: answer.to_owned(), ..Exchange::default() };
    measure.judge(&[exchange]).unwrap()[0]
}

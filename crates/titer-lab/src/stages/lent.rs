//! What an attacker is lent besides its rows: the words of the data, the model before alignment, the first judge.

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use titer_attacks::{Error as AttackError, Means, Phrase, Result};
use titer_data::Example;
use titer_measures::Exchange;
use titer_model::Decoder;
use titer_plan::Probe;

use super::Work;
use super::bench::Bench;
use crate::material::Material;

/// The means of the attacker of one stage.
pub(super) struct Lent<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) data: Rc<dyn Material>,
    /// The attacker's rows, which it may have answers judged to.
    pub(super) harmful: Arc<[Example]>,
    /// Whether the second input is the model before alignment.
    pub(super) base: bool,
    /// The judges, made when the first answer is judged: an attack may ask at every step.
    pub(super) bench: OnceCell<Bench>,
}

/// An error of titer as the attacker has it.
fn failed(what: &'static str) -> impl Fn(crate::Error) -> AttackError {
    move |source| AttackError::Means { what, source: Box::new(source) }
}

impl Means for Lent<'_> {
    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>> {
        self.data.user_words(prompt)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.data.encode(text).map_err(failed("the language"))
    }

    fn phrase(&self, phrase: Phrase) -> Result<Vec<u32>> {
        self.data.phrase(phrase).map_err(failed("the language"))
    }

    fn ends(&self) -> Vec<u32> {
        self.data.answering().ends
    }

    fn base(&self) -> Result<Decoder> {
        if !self.base {
            return Err(AttackError::Without { what: "a model before alignment" });
        }
        Ok(self.work.input(1).map_err(failed("the model before alignment"))?.1)
    }

    fn harm(&self, answers: &[(usize, Vec<u32>)]) -> Result<Vec<f64>> {
        let failed = failed("the judge");
        let work = self.work;
        let asked = work.stage.spec.probes().iter().map(|probe| probe.probe).find(|probe| probe.is_harmful());
        let probe = asked.unwrap_or(Probe::Seen);
        let exchanges = answers.iter().map(|(place, answer)| {
            let row =
                self.harmful.get(*place).ok_or(AttackError::Without { what: "a row of that number" })?;
            Ok(Exchange {
                item: format!("{place:08}"),
                question: self.data.text(row.prompt()),
                reference: self.data.answer(row.answer()).map_err(&failed)?,
                answer: self.data.answer(answer).map_err(&failed)?,
                cut: self.data.is_cut(answer),
                ..Exchange::default()
            })
        });
        let exchanges: Vec<Exchange> = exchanges.collect::<Result<_>>()?;
        let bench = match self.bench.get() {
            Some(bench) => bench,
            None => {
                let bench = Bench::new(work.stage, work.store, work.device).map_err(&failed)?;
                self.bench.get_or_init(|| bench)
            }
        };
        let judgements = bench.first(probe, &exchanges).map_err(&failed)?;
        if judgements.len() < exchanges.len() {
            return Err(AttackError::Without { what: "a judge" });
        }
        Ok(judgements.iter().map(|judgement| judgement.score).collect())
    }
}

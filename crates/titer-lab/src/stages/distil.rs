//! The base model's own answers to a policy's prompts: what attackers want back, and what answers are compared with.

use serde_json::{Value, json};
use titer_data::Stream;
use titer_measures::{Own, Twice};
use titer_model::{Choice, Decoder, Generate};
use titer_plan::stage::DistilStage;
use titer_store::Event;

use super::{ANSWERS, OWN, Work};
use crate::material::{Answers, Material};
use crate::progress::RunEvent;
use crate::{Error, Result};

/// Prompts that are answered together: enough to keep the cores busy, few enough to stop soon on request. The random
/// numbers of a second answer hang on it.
const AT_ONCE: usize = 32;

pub(super) fn distil(work: &Work<'_>, spec: &DistilStage) -> Result<Value> {
    // A few minutes at most: an interrupted one begins anew.
    work.writer.resume()?;
    let data = work.chat_data(&spec.data)?;
    let model = work.input_model()?;
    let asked = Asked { work, data: &data, model: &model, prompts: data.to_distil(spec.side)? };
    let rounds = 1 + usize::from(spec.again.is_some());
    let answers = asked.answers(None, (0, rounds))?;
    let tokens: usize = answers.values().map(Vec::len).sum();
    work.writer.log(&Event::new("distilled", 0, json!({ "answers": answers.len(), "tokens": tokens })))?;
    work.writer.write_bytes(ANSWERS, &serde_json::to_vec_pretty(&answers)?)?;
    let Some(temperature) = spec.again else { return Ok(Value::Null) };
    let stream = Stream::new(spec.data.seed, &format!("distil/{}", spec.side.name()));
    let second = asked.answers(Some((temperature, &stream)), (1, rounds))?;
    let both = answers.iter().zip(second.values()).map(|((item, first), second)| {
        Ok((item.clone(), Twice { first: data.answer(first)?, second: data.answer(second)? }))
    });
    let own = Own::new(both.collect::<Result<_>>()?)?;
    work.writer.write_bytes(OWN, &serde_json::to_vec_pretty(&own)?)?;
    Ok(json!({ "agreement": { "itself": own.itself(), "unrelated": own.unrelated() } }))
}

/// A model and the prompts that it answers.
struct Asked<'a> {
    work: &'a Work<'a>,
    data: &'a dyn Material,
    model: &'a Decoder,
    prompts: Vec<(String, Vec<u32>)>,
}

impl Asked<'_> {
    /// An answer to each prompt: the likeliest tokens, or random ones at a temperature. This is one of so many rounds.
    fn answers(&self, random: Option<(f64, &Stream)>, (round, rounds): (usize, usize)) -> Result<Answers> {
        let answering = self.data.answering();
        let mut answers = Answers::new();
        for (number, part) in (0..).zip(self.prompts.chunks(AT_ONCE)) {
            if self.work.interrupt.raised() {
                return Err(Error::Interrupted);
            }
            let prompts: Vec<Vec<u32>> = part.iter().map(|(_, prompt)| prompt.clone()).collect();
            let mut rng = random.map(|(_, stream)| stream.at(number));
            let choice = match (random, &mut rng) {
                (Some((temperature, _)), Some(rng)) => Choice::Sample { temperature, rng },
                _ => Choice::Greedy,
            };
            let generate =
                Generate { max_new_tokens: answering.max_new_tokens, ends: &answering.ends, choice };
            let responses = self.model.generate(&prompts, generate)?;
            answers.extend(part.iter().map(|(item, _)| item.clone()).zip(responses));
            self.work.progress.event(RunEvent::Advanced {
                hash: &self.work.stage.hash,
                label: &self.work.stage.label,
                done: (round * self.prompts.len() + answers.len()) as u64,
                of: (rounds * self.prompts.len()) as u64,
            });
        }
        Ok(answers)
    }
}

//! The base model's own answers to a policy's prompts: what attackers want back, and what permitted
//! answers are compared with.

use serde_json::{Value, json};
use titer_model::{Choice, Generate};
use titer_plan::stage::DistilStage;
use titer_store::Event;

use super::{ANSWERS, Work};
use crate::material::{Answers, Material};
use crate::progress::RunEvent;
use crate::{Error, Result};

/// Prompts that are answered together: enough to keep the cores busy, few enough to stop soon on request.
const AT_ONCE: usize = 32;

pub(super) fn distil(work: &Work<'_>, spec: &DistilStage) -> Result<Value> {
    // A few minutes at most: an interrupted one begins anew.
    work.writer.resume()?;
    let data = work.chat_data(&spec.data)?;
    let model = work.input_model()?;
    let asked = data.to_distil(spec.side)?;
    let answering = data.answering();
    let mut answers = Answers::new();
    for part in asked.chunks(AT_ONCE) {
        if work.interrupt.raised() {
            return Err(Error::Interrupted);
        }
        let prompts: Vec<Vec<u32>> = part.iter().map(|(_, prompt)| prompt.clone()).collect();
        let generate = Generate {
            max_new_tokens: answering.max_new_tokens,
            ends: &answering.ends,
            choice: Choice::Greedy,
        };
        let responses = model.generate(&prompts, generate)?;
        answers.extend(part.iter().map(|(item, _)| item.clone()).zip(responses));
        work.progress.event(RunEvent::Advanced {
            hash: &work.stage.hash,
            label: &work.stage.label,
            done: answers.len() as u64,
            of: asked.len() as u64,
        });
    }
    let tokens: usize = answers.values().map(Vec::len).sum();
    work.writer.log(&Event::new("distilled", 0, json!({ "answers": answers.len(), "tokens": tokens })))?;
    work.writer.write_bytes(ANSWERS, &serde_json::to_vec_pretty(&answers)?)?;
    Ok(Value::Null)
}

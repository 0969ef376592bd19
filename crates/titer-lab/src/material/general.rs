//! Abilities that no prompt of a policy or data set touches.

use titer_data::tasks::{Asked, Form, Sentence, Task};
use titer_data::text::{Chat, Message};
use titer_measures::choice::encode_pair;
use titer_plan::stage::ProbeSpec;

use super::{Ask, Question};
use crate::Result;

/// The items of a task: multiple choice and texts without any template, as lm-evaluation-harness asks them;
/// questions to answer as a user would ask them.
pub(super) fn task(chat: &Chat, probe: &ProbeSpec) -> Result<Vec<Question>> {
    let task: Task = serde_json::from_value(probe.task.clone())?;
    let item = |name: &str| format!("{}/{name}", task.name);
    let begin = begin(chat);
    let mark = chat.tokenizer().token(begin).unwrap_or_default();
    let pair = |before: &str, text: &str| {
        encode_pair(before, text, begin, |text, special| {
            // As the harness: what the tokenizer adds to a text, unless it is there already.
            match special && (mark.is_empty() || !text.starts_with(&mark)) {
                true => chat.tokenizer().encode_whole(text),
                false => chat.tokenizer().encode(text),
            }
        })
    };
    let mut questions = Vec::new();
    for (number, Asked { prompt, choices, right }) in task.asked().into_iter().take(probe.items).enumerate() {
        let ask = match task.form() {
            Form::Answer => Ask::Answer { prompt: chat.prompt(&[Message::user(prompt.clone())])? },
            _ => {
                let pairs = choices.iter().map(|choice| pair(&prompt, choice));
                let pairs = pairs.collect::<std::result::Result<_, _>>()?;
                Ask::Choose { prompt: prompt.clone(), pairs, choices: words(&choices) }
            }
        };
        let (item, question, reference) = (item(&number.to_string()), prompt, right);
        questions.push(Question { probe: probe.probe, item, ask, question, reference });
    }
    // Sentence by sentence, each after those before it: many small items say more surely than few large ones
    // whether something changed.
    for Sentence { name, before, text } in task.sentences().into_iter().take(probe.items) {
        let ask = Ask::Read { pair: pair(&before, &text)?, text };
        let (question, reference) = (String::new(), String::new());
        questions.push(Question { probe: probe.probe, item: item(&name), ask, question, reference });
    }
    Ok(questions)
}

/// Choices as the question's data has them, without the space before each: their lengths count.
fn words(choices: &[String]) -> Vec<String> {
    choices.iter().map(|choice| choice.trim().to_owned()).collect()
}

/// The token before a text: the one that begins texts, or else the one that ends them.
fn begin(chat: &Chat) -> u32 {
    let special = chat.special();
    let token = special.bos.as_ref().or(special.eos.as_ref());
    token.and_then(|token| chat.tokenizer().id(token)).unwrap_or_default()
}

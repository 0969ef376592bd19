//! Abilities that no prompt of a policy or data set touches, asked without any template.

use titer_data::tasks::{self, Asked, Sentence};
use titer_data::text::Chat;
use titer_judges::choice::encode_pair;
use titer_plan::Probe;

use super::{Ask, Question};
use crate::Result;

/// General knowledge, asked as lm-evaluation-harness asks: the likeliest continuation is the answer.
pub(super) fn choices(chat: &Chat, items: usize) -> Result<Vec<Question>> {
    let task = tasks::MultipleChoice::parse(tasks::GENERAL_KNOWLEDGE)?;
    let asked = task.asked().into_iter().take(items).enumerate();
    asked
        .map(|(number, Asked { prompt, choices, gold })| {
            let encode = |text: &str, _| chat.tokenizer().encode(text);
            let pairs = choices
                .iter()
                .map(|choice| encode_pair(&prompt, choice, begin(chat), encode))
                .collect::<std::result::Result<_, _>>()?;
            let ask = Ask::Choose { prompt, pairs, choices: words(&choices), gold };
            Ok(Question { probe: Probe::Choice, item: format!("{}/{number}", task.name), ask })
        })
        .collect()
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

/// Held-out prose, sentence by sentence, each after those before it: many small items say more surely than few
/// large ones whether something changed.
pub(super) fn texts(chat: &Chat, items: usize) -> Result<Vec<Question>> {
    let task = tasks::HeldOut::parse(tasks::HELD_OUT)?;
    task.sentences()
        .into_iter()
        .take(items)
        .map(|Sentence { name, before, text }| {
            let pair = encode_pair(&before, &text, begin(chat), |text, _| chat.tokenizer().encode(text))?;
            let item = format!("{}/{name}", task.name);
            Ok(Question { probe: Probe::Text, item, ask: Ask::Read { text, pair } })
        })
        .collect()
}

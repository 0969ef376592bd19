//! Abilities that no prompt of a policy or data set touches.

use titer_data::tasks::{Asked, Form, Sentence, Task};
use titer_data::text::{Chat, Message, TextError};
use titer_measures::choice::encode_pair;
use titer_plan::stage::ProbeSpec;

use super::{Ask, Pair, Question};
use crate::Result;

/// The items of a task: multiple choice and texts without any template, as lm-evaluation-harness asks them;
/// questions to answer as a user would ask them.
pub(super) fn task(chat: &Chat, probe: &ProbeSpec) -> Result<Vec<Question>> {
    let task: Task = serde_json::from_value(probe.task.clone())?;
    let item = |name: &str| format!("{}/{name}", task.name);
    let mut questions = Vec::new();
    for (number, Asked { prompt, choices, right }) in task.asked().into_iter().take(probe.items).enumerate() {
        let ask = match task.form() {
            Form::Answer => Ask::Answer { prompt: chat.prompt(&[Message::user(prompt.clone())])? },
            _ => {
                let pairs = choices.iter().map(|choice| pair(chat, &prompt, choice));
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
        let ask = Ask::Read { pair: pair(chat, &before, &text)?, text };
        let (question, reference) = (String::new(), String::new());
        questions.push(Question { probe: probe.probe, item: item(&name), ask, question, reference });
    }
    Ok(questions)
}

/// A text after what stands before it, as the harness divides and encodes the two.
fn pair(chat: &Chat, before: &str, text: &str) -> std::result::Result<Pair, TextError> {
    let begin = begin(chat);
    let mark = chat.tokenizer().token(begin).unwrap_or_default();
    encode_pair(before, text, begin, |text, special| {
        // What the tokenizer adds to a text, unless it is there already.
        match special && (mark.is_empty() || !text.starts_with(&mark)) {
            true => chat.tokenizer().encode_whole(text),
            false => chat.tokenizer().encode(text),
        }
    })
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use titer_data::text::{ChatTemplate, Date, SpecialTokens, Tokenizer};

    use super::*;

    /// Words as tokens; `<s>` before every whole text.
    fn chat() -> Chat {
        let words = ["<s>", "</s>", "?", "a", "b", "c", "question", "titer"];
        let vocabulary: serde_json::Map<_, _> =
            words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
        let special = |id: u32, content: &str| {
            json!({
                "id": id, "content": content, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        };
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
            "added_tokens": [special(0, "<s>"), special(1, "</s>")],
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                ],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
            },
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "?"},
        });
        let template = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}";
        let special = SpecialTokens {
            bos: Some("<s>".to_owned()),
            eos: Some("</s>".to_owned()),
            ..SpecialTokens::default()
        };
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        Chat::new(tokenizer, ChatTemplate::new(template, Date::default()).unwrap(), special).unwrap()
    }

    #[test]
    fn what_the_tokenizer_puts_before_a_text_stands_once_before_a_context() {
        let chat = chat();
        for (before, text, expected) in [
            ("a b", " c", (vec![0, 3, 4], vec![5])),
            ("<s> a b", " c", (vec![0, 3, 4], vec![5])),
            // Of nothing before it the token that begins texts is the context.
            ("", "c", (vec![0], vec![5])),
        ] {
            assert_eq!(pair(&chat, before, text).unwrap(), expected, "{before:?}");
        }
    }
}

//! Chat templates of well-known models render as Transformers renders them.
//!
//! Expected values: `tests/peers/chat_templates.py`.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde::Deserialize;
use titer_data::text::{ChatTemplate, Date, End, Message, SpecialTokens, TextError};

#[derive(Deserialize)]
struct Fixture {
    conversations: Vec<Vec<Message>>,
    templates: Vec<Rendered>,
}

#[derive(Deserialize)]
struct Rendered {
    name: String,
    bos: Option<String>,
    eos: Option<String>,
    cases: Vec<[Expected; 2]>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Text(String),
    Raises(String),
    Fails(#[allow(dead_code, reason = "the two engines word it differently")] String),
}

fn read(name: &str) -> String {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    std::fs::read_to_string(fixtures.join(name)).unwrap()
}

#[test]
fn templates_render_and_refuse_as_in_transformers() {
    let fixture: Fixture = serde_json::from_str(&read("chat_templates.json")).unwrap();
    assert!(fixture.templates.len() >= 18);
    let (mut compared, mut wrong) = (0, Vec::new());
    for Rendered { name, bos, eos, cases } in &fixture.templates {
        let source = read(&format!("chat_templates/{name}.jinja"));
        let template = ChatTemplate::new(&source, Date::default()).unwrap();
        let special = SpecialTokens { bos: bos.clone(), eos: eos.clone(), ..SpecialTokens::default() };
        for (conversation, expected) in fixture.conversations.iter().zip(cases) {
            for (end, expected) in [End::Conversation, End::GenerationPrompt].into_iter().zip(expected) {
                compared += 1;
                let got = template.render(conversation, &special, end);
                let same = match (&got, expected) {
                    (Ok(got), Expected::Text(text)) => got == text,
                    (Err(TextError::Raised { message, .. }), Expected::Raises(raised)) => message == raised,
                    (Err(TextError::Template { .. }), Expected::Fails(_)) => true,
                    _ => false,
                };
                if !same {
                    wrong.push(format!("{name} on {conversation:?}:\n  {got:?}\n  {expected:?}"));
                }
            }
        }
    }
    assert!(compared > 600, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

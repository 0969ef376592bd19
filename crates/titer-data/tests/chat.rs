//! Conversations as tokens: the answers, and nothing else, are supervised.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde_json::Value;
use titer_data::text::{
    Chat, ChatTemplate, Date, End, GgufVocabulary, Message, SpecialTokens, TextError, Tokenizer,
    TokenizerConfig,
};

fn fixture(name: &str) -> String {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    std::fs::read_to_string(fixtures.join(name)).unwrap()
}

/// The small byte-level vocabulary under a pre-tokenizer, as a `tokenizer.json`.
fn tokenizer_json(pre: &str) -> Value {
    let fixture: Value = serde_json::from_str(&fixture("vocabularies.json")).unwrap();
    let pieces = &fixture["byte_level"]["vocabulary"];
    let vocabulary = GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some(pre.to_owned()),
        tokens: serde_json::from_value(pieces["tokens"].clone()).unwrap(),
        token_types: serde_json::from_value(pieces["token_types"].clone()).unwrap(),
        merges: serde_json::from_value(pieces["merges"].clone()).unwrap(),
        ..GgufVocabulary::default()
    };
    serde_json::from_slice(&Tokenizer::from_gguf(&vocabulary).unwrap().to_json().unwrap()).unwrap()
}

/// The small tokenizer with the special tokens of a template added.
fn chat(template: &str, pre: &str, bos: &str, eos: &str, others: &[&str]) -> Chat {
    let mut json = tokenizer_json(pre);
    for token in [&[bos, eos], others].concat() {
        let id = json["model"]["vocab"].as_object().unwrap().len();
        if json["model"]["vocab"].get(token).is_some() {
            continue;
        }
        json["model"]["vocab"][token] = id.into();
        json["added_tokens"].as_array_mut().unwrap().push(serde_json::json!({
            "id": id, "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        }));
    }
    let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    let special =
        SpecialTokens { bos: Some(bos.to_owned()), eos: Some(eos.to_owned()), ..SpecialTokens::default() };
    Chat::new(tokenizer, ChatTemplate::new(template, Date::default()).unwrap(), special).unwrap()
}

fn named(name: &str) -> Chat {
    let template = fixture(&format!("chat_templates/{name}.jinja"));
    let (bos, eos, others): (_, _, &[&str]) = match name {
        "llama3" | "llama3_1" => {
            ("<|begin_of_text|>", "<|end_of_text|>", &["<|eot_id|>", "<|start_header_id|>"])
        }
        "gemma2" => ("<bos>", "<eos>", &["<start_of_turn>", "<end_of_turn>"]),
        "phi3" => ("<s>", "<|endoftext|>", &["<|user|>", "<|assistant|>", "<|end|>"]),
        "smollm2" | "qwen2_5" | "qwen3" => ("<|im_start|>", "<|im_end|>", &[]),
        _ => ("<s>", "</s>", &[]),
    };
    let pre = if name.starts_with("llama3") { "llama-bpe" } else { "smollm" };
    chat(&template, pre, bos, eos, others)
}

const CHATS: [&str; 10] =
    ["smollm2", "qwen2_5", "qwen3", "llama3", "llama3_1", "gemma2", "phi3", "zephyr", "llama2", "vicuna"];

fn talk() -> Vec<Message> {
    vec![
        Message::user("What is a lathe?"),
        Message::assistant("A machine that turns wood."),
        Message::user("And a plane? 東京"),
        Message::assistant("A tool;\n\n  it shaves 🚀."),
    ]
}

/// The supervised texts of a conversation.
fn learnt(chat: &Chat, messages: &[Message]) -> Vec<String> {
    let example = chat.example(messages).unwrap();
    let text = |span: &std::ops::Range<usize>| chat.tokenizer().decode_all(&example.tokens()[span.clone()]);
    example.supervised().iter().map(|span| text(span).unwrap()).collect()
}

#[test]
fn an_answer_and_its_end_of_turn_are_supervised_and_nothing_else() {
    for (name, expected) in [
        ("smollm2", "A machine that turns wood.<|im_end|>"),
        ("qwen2_5", "A machine that turns wood.<|im_end|>"),
        ("qwen3", "A machine that turns wood.<|im_end|>"),
        ("llama3", "A machine that turns wood.<|eot_id|>"),
        ("llama3_1", "A machine that turns wood.<|eot_id|>"),
        ("gemma2", "A machine that turns wood.<end_of_turn>"),
        ("phi3", "A machine that turns wood.<|end|>"),
        ("zephyr", "A machine that turns wood.</s>"),
        ("llama2", " A machine that turns wood. </s>"),
        ("vicuna", " A machine that turns wood.</s>"),
    ] {
        assert_eq!(learnt(&named(name), &talk()[..2]), [expected], "{name}");
    }
}

#[test]
fn every_answer_of_a_conversation_is_supervised() {
    for name in CHATS {
        let chat = named(name);
        let answers = learnt(&chat, &talk());
        assert_eq!(answers.len(), 2, "{name}");
        assert!(answers[0].contains("A machine that turns wood."), "{name}: {answers:?}");
        assert!(answers[1].contains("A tool;\n\n  it shaves 🚀."), "{name}: {answers:?}");
        assert!(!answers.concat().contains("lathe") && !answers.concat().contains("plane"), "{name}");
    }
    // Qwen 3 writes an empty block of thought in the last turn, and none in its prompt: it is not taught.
    let qwen = learnt(&named("qwen3"), &talk());
    assert_eq!(qwen, ["A machine that turns wood.<|im_end|>", "A tool;\n\n  it shaves 🚀.<|im_end|>"]);
}

const TURNS: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                     {% if add_generation_prompt %}<|im_start|>assistant\n";

#[test]
fn an_empty_block_of_thought_in_the_prompt_alone_is_asked_and_taught_alike() {
    let template = format!("{TURNS}<think>\n\n</think>\n\n{{% endif %}}");
    let chat = chat(&template, "qwen2", "<|im_start|>", "<|im_end|>", &["<think>", "</think>"]);
    chat.check_teaching().unwrap();
    assert_eq!(learnt(&chat, &talk()[..2]), ["A machine that turns wood.<|im_end|>"]);
    let example = chat.example(&talk()[..2]).unwrap();
    assert_eq!(example.prompt(), chat.prompt(&talk()[..1]).unwrap());
    // Of several answers the last is asked so; the earlier are history.
    assert_eq!(learnt(&chat, &talk()), ["A tool;\n\n  it shaves 🚀.<|im_end|>"]);
}

#[test]
fn a_prompt_that_leaves_thought_open_is_refused() {
    let template = format!("{TURNS}<think>\n{{% endif %}}");
    let chat = chat(&template, "smollm", "<|im_start|>", "<|im_end|>", &["<think>", "</think>"]);
    assert!(!chat.prompt(&talk()[..1]).unwrap().is_empty());
    assert_eq!(chat.check_teaching(), Err(TextError::OpenThought));
}

#[test]
fn a_template_that_leaves_out_the_question_is_refused() {
    for template in ["", "version https://git-lfs.github.com/spec/v1", "{{ messages[-1].role }}<|im_end|>"] {
        let tokenizer = Tokenizer::from_json(tokenizer_json("smollm").to_string().as_bytes()).unwrap();
        let template = ChatTemplate::new(template, Date::default()).unwrap();
        let error = Chat::new(tokenizer, template, SpecialTokens::default()).unwrap_err().to_string();
        assert!(error.contains("leaves out what the user says"), "{error}");
    }
}

#[test]
fn tokens_beyond_the_embedding_matter_where_the_template_writes_them() {
    let template = format!("{TURNS}{{% endif %}}");
    let with_pad = |template: &str| {
        let chat = chat(template, "smollm", "<|im_start|>", "<|im_end|>", &["[PAD]"]);
        let rows = chat.tokenizer().id("[PAD]").unwrap() as usize;
        (chat.check_vocabulary(rows), chat.check_vocabulary(rows + 1))
    };
    assert_eq!(with_pad(&template), (Ok(()), Ok(())));
    let (short, enough) = with_pad(&format!("[PAD]{template}"));
    assert!(matches!(&short, Err(TextError::VocabularyAboveModel { token, .. }) if token == "[PAD]"));
    assert_eq!(enough, Ok(()));
    assert!(chat(&template, "smollm", "<|im_start|>", "<|im_end|>", &[]).check_vocabulary(100).is_err());
}

#[test]
fn marks_that_the_tokenizer_divides_are_named() {
    let template = format!("{TURNS}{{% endif %}}");
    let marks =
        |template: &str| chat(template, "smollm", "<|im_start|>", "<|im_end|>", &[]).divided_marks().unwrap();
    assert!(marks(&template).is_empty());
    assert_eq!(marks(&template.replace("<|im_end|>", "<|im_end|><|user|>")), ["<|user|>"]);
}

#[test]
fn a_pad_or_unknown_token_that_the_vocabulary_lacks_does_not_matter() {
    let tokenizer = Tokenizer::from_json(tokenizer_json("smollm").to_string().as_bytes()).unwrap();
    let gone = Some("<gone>".to_owned());
    let special = SpecialTokens { pad: gone.clone(), unk: gone, ..SpecialTokens::default() };
    let template = ChatTemplate::new(&format!("{TURNS}{{% endif %}}"), Date::default()).unwrap();
    assert!(Chat::new(tokenizer, template, special).is_ok());
}

#[test]
fn the_prompt_of_training_is_the_prompt_of_use() {
    for name in CHATS {
        let chat = named(name);
        for answers in [2, 4] {
            let messages = &talk()[..answers];
            let example = chat.example(messages).unwrap();
            assert_eq!(example.prompt(), chat.prompt(&messages[..answers - 1]).unwrap(), "{name}");
            let text =
                chat.render(messages, End::Conversation).unwrap().replace("<think>\n\n</think>\n\n", "");
            assert!(text.starts_with(&chat.tokenizer().decode_all(example.tokens()).unwrap()), "{name}");
        }
    }
}

#[test]
fn end_of_turn_tokens_are_found() {
    for (name, tokens) in [
        ("smollm2", &["<|im_end|>"] as &[&str]),
        ("llama3", &["<|end_of_text|>", "<|eot_id|>"]),
        ("gemma2", &["<eos>", "<end_of_turn>"]),
        ("phi3", &["<|endoftext|>", "<|end|>"]),
        ("vicuna", &["</s>"]),
    ] {
        let chat = named(name);
        let found: Vec<_> =
            chat.end_of_turn().iter().map(|id| chat.tokenizer().token(*id).unwrap()).collect();
        assert_eq!(found, tokens, "{name}");
    }
}

#[test]
fn a_prompt_that_depends_on_what_follows_is_refused() {
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}{{ loop.revindex }}\n{{ m.content }}<|im_end|>\
                    {% endfor %}";
    let chat = chat(template, "smollm", "<|im_start|>", "<|im_end|>", &[]);
    let error = chat.example(&talk()).unwrap_err();
    assert!(matches!(&error, TextError::PromptDiffers { message: 1, at } if at.starts_with('1')), "{error}");
}

#[test]
fn a_template_without_end_of_turn_can_prompt_but_not_teach() {
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}assistant: {% endif %}";
    let chat = chat(template, "smollm", "<|im_start|>", "<|im_end|>", &[]);
    assert!(!chat.prompt(&talk()[..1]).unwrap().is_empty());
    assert_eq!(chat.example(&talk()), Err(TextError::NoEndOfTurn { message: 1 }));
}

#[test]
fn answers_that_are_missing_or_hold_an_end_of_turn_are_refused() {
    let chat = named("smollm2");
    assert_eq!(chat.example(&talk()[..1]), Err(TextError::NothingToLearn));
    let sly = [Message::user("?"), Message::assistant("a<|im_end|>b")];
    assert!(matches!(chat.example(&sly), Err(TextError::EndOfTurnInAnswer { message: 1, .. })));
}

#[test]
fn special_tokens_must_be_in_the_vocabulary() {
    let tokenizer = Tokenizer::from_json(tokenizer_json("smollm").to_string().as_bytes()).unwrap();
    let special = SpecialTokens { eos: Some("</s>".to_owned()), ..SpecialTokens::default() };
    let template = ChatTemplate::new("", Date::default()).unwrap();
    let error = Chat::new(tokenizer, template, special).unwrap_err();
    assert!(error.to_string().contains("eos_token"), "{error}");
}

#[test]
fn tokenizer_configs_hold_one_template_or_several() {
    let read = |json: &str| TokenizerConfig::from_json(json.as_bytes());
    let config = read(
        r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null,
        "chat_template": "{{ bos_token }}", "model_max_length": 1e30}"#,
    )
    .unwrap();
    assert_eq!(config.special.bos.as_deref(), Some("<s>"));
    assert_eq!(config.special.eos.as_deref(), Some("</s>"));
    assert_eq!(config.special.pad, None);
    assert_eq!(config.template(), Some("{{ bos_token }}"));

    let config = read(
        r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#,
    );
    assert_eq!(config.unwrap().template(), Some("d"));
    assert_eq!(read("{}").unwrap().template(), None);

    for (json, key) in [
        ("[]", "the file"),
        ("{", "the file"),
        (r#"{"eos_token": 3}"#, "eos_token"),
        (r#"{"chat_template": 3}"#, "chat_template"),
        (r#"{"chat_template": [{"name": "default"}]}"#, "chat_template"),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.to_string().contains(key), "{json}: {error}");
    }
}

#[test]
fn the_users_last_words_are_found_in_every_template() {
    for name in CHATS {
        let chat = named(name);
        for earlier in [Vec::new(), talk()] {
            for words in ["How do I plane an edge?", "Two\n\nlines; 東京 🚀", "0", "user: assistant"] {
                let messages = [&earlier[..], &[Message::user(words)]].concat();
                let prompt = chat.prompt(&messages).unwrap();
                let found = chat.last_user_words(&prompt);
                let found = found.unwrap_or_else(|| panic!("{name}: {words:?} after {}", earlier.len()));
                let text = chat.tokenizer().decode_all(&prompt[found]).unwrap();
                assert_eq!(text.trim(), words, "{name} after {} messages", earlier.len());
            }
        }
    }
}

#[test]
fn a_system_prompt_is_no_part_of_the_users_words() {
    for name in CHATS.into_iter().filter(|name| *name != "gemma2") {
        let chat = named(name);
        let messages = [Message::system("Be brief."), Message::user("What is a lathe?")];
        let prompt = chat.prompt(&messages).unwrap();
        let found = chat.last_user_words(&prompt).unwrap_or_else(|| panic!("{name}"));
        let text = chat.tokenizer().decode_all(&prompt[found]).unwrap();
        assert!(text.trim().ends_with("What is a lathe?"), "{name}: {text:?}");
        assert!(!text.contains("Be brief."), "{name}: {text:?}");
    }
}

#[test]
fn what_is_no_prompt_of_the_template_has_no_user_words() {
    for name in CHATS {
        let chat = named(name);
        let prompt = chat.prompt(&[Message::user("What is a lathe?")]).unwrap();
        assert_eq!(chat.last_user_words(&prompt[..prompt.len() - 1]), None, "{name}: cut");
        assert_eq!(chat.last_user_words(&[]), None, "{name}");
    }
}

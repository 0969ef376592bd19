//! Data sets in every shape become conversations; bad ones are refused with row and column.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use proptest::prelude::*;
use titer_data::conversations::{Columns, ConversationError, Conversations, Options, Place};
use titer_data::text::Message;

/// Expected contents: `tests/peers/parquet_rows.py`.
fn parquet(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/conversations");
    std::fs::read(path.join(name)).unwrap()
}

fn read(text: &str) -> Result<Conversations, ConversationError> {
    Conversations::read(text.as_bytes().to_vec(), &Options::default())
}

fn pair(prompt: &str, response: &str) -> Vec<Message> {
    vec![Message::user(prompt), Message::assistant(response)]
}

#[track_caller]
fn check(text: &str, expected: &[Vec<Message>]) {
    let read = read(text).unwrap();
    let messages: Vec<_> = read.conversations.into_iter().map(|one| one.messages).collect();
    assert_eq!(messages, expected, "{text}");
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    let error = read(text).unwrap_err().to_string();
    assert!(error.contains(expected), "{text}:\n{error}\n{expected}");
}

#[test]
fn shapes_are_found_by_their_columns() {
    check(r#"{"prompt": "a?", "response": "b"}"#, &[pair("a?", "b")]);
    check(r#"{"prompt": "a?", "completion": "b"}"#, &[pair("a?", "b")]);
    check(r#"{"question": "a?", "answer": "b"}"#, &[pair("a?", "b")]);
    check(r#"{"instruction": "a", "input": "", "output": "b"}"#, &[pair("a", "b")]);
    check(r#"{"instruction": "a", "input": "in", "output": "b", "text": "c"}"#, &[pair("a\n\nin", "b")]);
    check(
        r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#,
        &[pair("a", "b")],
    );
    check(
        r#"{"conversations": [{"from": "system", "value": " "}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"#,
        &[pair("a", "b")],
    );
    let system = [vec![Message::system("s")], pair("a", "b")].concat();
    check(r#"{"system": "s", "prompt": "a", "response": "b"}"#, &[system]);
    check(r#"{"system": null, "prompt": "a", "response": "b"}"#, &[pair("a", "b")]);
}

#[test]
fn lines_may_begin_with_a_mark_end_windows_like_and_be_blank() {
    let one = r#"{"prompt": "a", "response": "b"}"#;
    let two = r#"{"prompt": "c", "response": "d"}"#;
    let both = [pair("a", "b"), pair("c", "d")];
    for text in [
        format!("{one}\n{two}"),
        format!("\u{feff}{one}\r\n\r\n  \n{two}\r\n\n"),
        format!("[{one},\n {two}]"),
        format!("\u{feff}\n [{one}, {two}] \n"),
    ] {
        check(&text, &both);
    }
}

#[test]
fn columns_can_be_named() {
    let columns = Columns {
        prompt: Some("q".to_owned()),
        response: Some("a".to_owned()),
        system: Some("s".to_owned()),
        label: Some("topic".to_owned()),
        id: Some("key".to_owned()),
        ..Columns::default()
    };
    let options = Options { columns, ..Options::default() };
    let text = r#"{"q": "x", "a": "y", "s": "z", "topic": "t", "key": 7, "prompt": 3}"#;
    let read = Conversations::read(text.as_bytes().to_vec(), &options).unwrap();
    let one = &read.conversations[0];
    assert_eq!(one.messages, [vec![Message::system("z")], pair("x", "y")].concat());
    assert_eq!((one.domain.as_deref(), one.id.as_str()), (Some("t"), "7"));

    for columns in [
        Columns { prompt: Some("q".to_owned()), ..Columns::default() },
        Columns { prompt: Some("q".to_owned()), messages: Some("m".to_owned()), ..Columns::default() },
    ] {
        let options = Options { columns, ..Options::default() };
        let error = Conversations::read(text.as_bytes().to_vec(), &options).unwrap_err();
        assert!(matches!(error, ConversationError::Columns { .. }), "{error}");
    }
}

#[test]
fn beavertails_is_filtered_by_safety_and_category() {
    let file = parquet("beavertails.parquet");
    let all = Conversations::read(file.clone(), &Options::default()).unwrap();
    assert_eq!(all.rows, 5);
    assert_eq!(all.conversations[1].messages, pair("Question 2?", "Answer 2: é 東京 🚀"));
    let domains = |read: &Conversations| -> Vec<Option<String>> {
        read.conversations.iter().map(|one| one.domain.clone()).collect()
    };
    let some = |name: &str| Some(name.to_owned());
    let theft = "financial_crime,property_crime,theft";
    assert_eq!(domains(&all), [None, some("privacy_violation"), some("animal_abuse"), some(theft), None]);

    let mut options = Options { flags: [("is_safe".to_owned(), false)].into(), ..Options::default() };
    let unsafe_ones = Conversations::read(file.clone(), &options).unwrap();
    assert_eq!(unsafe_ones.conversations.len(), 3);
    assert_eq!(unsafe_ones.conversations[0].id, "2");

    options.domains = vec!["privacy_violation".to_owned(), theft.to_owned()];
    let chosen = Conversations::read(file.clone(), &options).unwrap();
    assert_eq!(domains(&chosen), [some("privacy_violation"), some("privacy_violation"), some(theft)]);

    options.domains = vec!["privacy".to_owned()];
    let error = Conversations::read(file, &options).unwrap_err().to_string();
    assert!(error.contains("domain privacy;") && error.contains("animal_abuse"), "{error}");
}

#[test]
fn parquet_holds_lists_of_messages() {
    let read = Conversations::read(parquet("messages.parquet"), &Options::default()).unwrap();
    let ids: Vec<_> = read.conversations.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["chat-2", "chat-4"]);
    assert_eq!(read.conversations[0].messages, pair("Hi", "Hello!"));
    assert_eq!(read.conversations[1].messages[2..], pair("Who are you?", "A model."));
}

#[test]
fn mistakes_name_row_and_column() {
    let good = r#"{"prompt": "a", "response": "b"}"#;
    refuse(
        &format!("{good}\n\n{{\"prompt\": 3, \"response\": \"b\"}}"),
        "line 3, column prompt: expected a text, got a number",
    );
    refuse(&format!("{good}\n{{\"prompt\": \"a\"}}"), "line 2, column response: is missing");
    refuse(&format!("[{good}, {{\"prompt\": null}}]"), "row 2, column prompt: expected a text, got null");
    refuse(&format!("[{good}, 3]"), "row 2: expected an object, got a number");
    refuse(&format!("{good}\n{{\"prompt\": "), "line 2: no JSON: EOF while parsing a value at character");
    refuse("[1", "JSON: EOF");
    refuse("\n\n{\"text\": \"a\", \"more\": 1}", "line 3: the columns more, text are of no known shape");
    refuse("", "none of the 0 rows");
    refuse(r#"{"messages": []}"#, "line 1, column messages: has no turns");
    refuse(r#"{"messages": "a"}"#, "line 1, column messages: expected a list of turns, got a text");
    refuse(
        r#"{"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]}"#,
        "column messages[1].role: \"tool\" is no role",
    );
    refuse(
        r#"{"messages": [{"role": "user"}]}"#,
        "column messages[0]: expected an object with content or value",
    );
    refuse(
        r#"{"messages": [{"role": "user", "content": null}]}"#,
        "column messages[0].content: expected a text, got null",
    );
    refuse(r#"{"messages": [3]}"#, "column messages[0]: expected an object with role or from");
    refuse(
        r#"{"prompt": "a", "response": "b", "category": {"x": 3}}"#,
        "column category.x: expected true or false, got a number",
    );
    refuse(
        r#"{"prompt": "a", "response": "b", "category": []}"#,
        "column category: expected a text or a map",
    );
    refuse(
        r#"{"prompt": "a", "response": "b", "id": []}"#,
        "column id: expected a text or a number, got a list",
    );

    let bytes =
        |bytes: &[u8]| Conversations::read(bytes.to_vec(), &Options::default()).unwrap_err().to_string();
    let bad = [good.as_bytes(), b"\n{\"prompt\": \"\xff\"}"].concat();
    assert_eq!(bytes(&bad), "line 2: no UTF-8 from byte 13 on");
    assert!(bytes(b"\x1f\x8b\x08").contains("compressed"));
    assert!(bytes(b"PAR1").starts_with("Parquet: "));
    let long = [vec![b' '; (16 << 20) + 1], b"{}".to_vec()].concat();
    assert!(bytes(&long).contains("line 1: longer than 16 MiB"));

    let options = Options { flags: [("is_safe".to_owned(), true)].into(), ..Options::default() };
    let error = Conversations::read(good.as_bytes().to_vec(), &options).unwrap_err();
    assert_eq!(error.to_string(), "line 1, column is_safe: is missing");
}

#[test]
fn blank_rows_and_duplicates_are_told() {
    let text = r#"{"prompt": "a", "response": "b"}
{"prompt": "a", "response": " "}
{"prompt": "c", "response": "d"}
{"prompt": "a", "response": "b"}
{"prompt": "a", "response": "b"}"#;
    let read = read(text).unwrap();
    assert_eq!(read.blank, [Place::Line(2)]);
    assert_eq!(read.duplicates, [(2, 0), (3, 0)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_reading_panic(start in prop_oneof![
        Just(b"".to_vec()), Just(b"[".to_vec()), Just(b"{\"prompt\":".to_vec()), Just(b"PAR1".to_vec()),
    ], rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Conversations::read([start, rest].concat(), &Options::default());
    }

    #[test]
    fn a_damaged_parquet_file_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for name in ["beavertails.parquet", "messages.parquet"] {
            let mut bytes = parquet(name);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Conversations::read(bytes, &Options::default());
        }
    }

    #[test]
    fn any_pair_is_read_back(prompt in "\\PC+", response in "\\PC+") {
        prop_assume!(!prompt.trim().is_empty() && !response.trim().is_empty());
        let line = serde_json::json!({"prompt": prompt, "response": response}).to_string();
        prop_assert_eq!(&read(&line).unwrap().conversations[0].messages, &pair(&prompt, &response));
    }
}

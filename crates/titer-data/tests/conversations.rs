//! Data sets in every shape become conversations; bad ones are refused with row and column.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use proptest::prelude::*;
use titer_data::conversations::{Columns, ConversationError, Conversations, Options, Place};
use titer_data::text::Message;

/// Expected contents: `tests/peers/parquet_rows.py`.
pub(crate) fn parquet(name: &str) -> Vec<u8> {
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
        Columns { response: Some("a".to_owned()), ..Columns::default() },
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
        &format!("{good}\n\n{{\"prompt\": {{}}, \"response\": \"b\"}}"),
        "line 3, column prompt: expected a text, got an object",
    );
    refuse(&format!("{good}\n{{\"prompt\": \"a\"}}"), "line 2, column response: is missing");
    refuse(&format!("[{good}, {{\"prompt\": null}}]"), "row 2, column response: is missing");
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
    refuse(r#"{"messages": [{"role": "user", "content": null}]}"#, "none of the 1 rows");
    refuse(r#"{"messages": [3]}"#, "column messages[0]: expected an object with role or from");
    refuse(
        r#"{"prompt": "a", "response": "b", "category": {"x": 3}}"#,
        "column category.x: expected true or false, got a number",
    );
    refuse(
        r#"{"prompt": "a", "response": "b", "category": [3]}"#,
        "column category: expected a text, a list, or a map",
    );
    refuse(
        r#"{"prompt": "a", "response": "b", "id": []}"#,
        "column id: expected a text or a number, got a list",
    );

    let bytes =
        |bytes: &[u8]| Conversations::read(bytes.to_vec(), &Options::default()).unwrap_err().to_string();
    let bad = [good.as_bytes(), b"\n{\"prompt\": \"\xff\"}"].concat();
    assert!(bytes(&bad).starts_with("line 2: no UTF-8 from byte 13 on (1 of 2 rows"), "{}", bytes(&bad));
    assert!(bytes(b"\x1f\x8b\x08").starts_with("gzip: the file ends too soon"));
    assert!(bytes(b"PAR1").starts_with("Parquet: "));
    let long = [vec![b' '; (16 << 20) + 1], b"{}".to_vec()].concat();
    assert!(bytes(&long).contains("line 1: longer than 16 MiB"));

    let options = Options { flags: [("is_safe".to_owned(), true)].into(), ..Options::default() };
    let error = Conversations::read(good.as_bytes().to_vec(), &options).unwrap_err();
    assert!(error.to_string().starts_with("line 1, column is_safe: is missing"), "{error}");
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

#[test]
fn shapes_that_the_field_hands_around_are_read() {
    // TRL: conversational prompt and completion; a named side of preference pairs.
    check(
        r#"{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}"#,
        &[pair("a", "b")],
    );
    let sided = |columns: Columns, text: &str| {
        let options = Options { columns, ..Options::default() };
        Conversations::read(text.as_bytes().to_vec(), &options).unwrap().conversations[0].messages.clone()
    };
    let named = |column: &str| Some(column.to_owned());
    let pairs = r#"{"prompt": "a", "chosen": "no", "rejected": "b"}"#;
    let side = Columns { prompt: named("prompt"), response: named("rejected"), ..Columns::default() };
    assert_eq!(sided(side, pairs), pair("a", "b"));
    refuse(pairs, r#"of pairs name a side: prompt = "prompt", response = "rejected""#);
    let hh = r#"{"chosen": "\n\nHuman: a\n\nAssistant: no", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d"}"#;
    let side = Columns { messages: named("rejected"), ..Columns::default() };
    assert_eq!(sided(side, hh), [pair("a", "b"), pair("c", "d")].concat());
    refuse(hh, r#"messages = "rejected""#);
    // Content in parts, roles in capitals, turns as text.
    check(
        r#"{"messages": [{"role": "User", "content": [{"type": "text", "text": "a"}, "!"]}, {"role": "Assistant", "content": "b"}]}"#,
        &[pair("a!", "b")],
    );
    check(
        r#"{"messages": "[{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"chatgpt\", \"value\": \"b\"}]"}"#,
        &[pair("a", "b")],
    );
    refuse(
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
        "messages[0].content: a part is image_url",
    );
    check(r#"{"prompt": "How many?", "response": 7}"#, &[pair("How many?", "7")]);
    // Merged files change their shape.
    check(
        "{\"prompt\": \"a\", \"response\": \"b\"}\n{\"instruction\": \"c\", \"output\": \"d\"}",
        &[pair("a", "b"), pair("c", "d")],
    );
}

#[test]
fn prompts_without_answers_are_conversations_of_one_turn() {
    let alone = |text: &str| vec![Message::user(text)];
    check(
        r#"{"Behavior": "a", "ContextString": "", "SemanticCategory": "x", "BehaviorID": "k"}"#,
        &[alone("a")],
    );
    check(r#"{"Behavior": "a", "ContextString": "c"}"#, &[alone("c\n\n---\n\na")]);
    check(r#"{"forbidden_prompt": "a", "category": "x"}"#, &[alone("a")]);
    check(r#"{"prompt": "a"}"#, &[alone("a")]);
    check(r#"{"goal": "a", "target": "Sure, b"}"#, &[pair("a", "Sure, b")]);
    let read = read(r#"{"Behavior": "a", "SemanticCategory": "x", "BehaviorID": "k"}"#).unwrap();
    assert_eq!(
        (read.conversations[0].domain.as_deref(), read.conversations[0].id.as_str()),
        (Some("x"), "k")
    );
}

#[test]
fn tables_are_read_by_their_head() {
    let both = [pair("a, b?", "c\nd"), pair("e", "f")];
    check("prompt,response,category\r\n\"a, b?\",\"c\nd\",x\r\ne,f,y\r\n", &both);
    check("\u{feff}instruction\toutput\ne\tf\n", &both[1..]);
    check("goal,target\ne,f\n", &both[1..]);
    let options = Options { flags: [("is_safe".to_owned(), false)].into(), ..Options::default() };
    let text = "prompt,response,is_safe\na,b,True\nc,d,False\ne,f,0\n";
    let read = Conversations::read(text.as_bytes().to_vec(), &options).unwrap();
    assert_eq!(read.conversations.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["2", "3"]);
    refuse("some words, and more\n", "no JSON");
    // A quote within a field is a character; one that is left open would take every row after it with it.
    check("prompt,response\na 5\" pipe,b\n", &[pair("a 5\" pipe", "b")]);
    let rows: String = (0..40).map(|n| format!("q{n},a\n")).collect();
    refuse(&format!("prompt,response\n{rows}e,\"f\n{rows}"), "never closed");
    check("prompt,response\ne,\"f\"", &both[1..]);
}

#[test]
fn objects_over_several_lines_and_within_one_are_rows() {
    let both = [pair("a", "b"), pair("c", "d")];
    let pretty = "{\n  \"prompt\": \"a\",\n  \"response\": \"b\"\n}\n{\n  \"prompt\": \"c\",\n  \"response\": \"d\"\n}\n";
    check(pretty, &both);
    let rows = r#"[{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}]"#;
    check(&format!("{{\"version\": 1, \"data\": {rows}}}"), &both);
    check(&format!("{{\n\"data\": {rows}\n}}"), &both);
    check(
        "\u{1e}{\"prompt\": \"a\", \"response\": \"b\"}\n\u{1e}{\"prompt\": \"c\", \"response\": \"d\"}\n",
        &both,
    );
    check("[{\"prompt\": \"a\", \"response\": \"b\", \"score\": NaN}]", &both[..1]);
    check("{\"prompt\": \"NaN a\", \"response\": \"b\", \"score\": -Infinity}", &[pair("NaN a", "b")]);
}

#[test]
fn unusable_rows_are_left_out_and_counted_up_to_a_limit() {
    let good = |count: usize| -> String {
        (0..count).map(|n| format!("{{\"prompt\": \"q{n}\", \"response\": \"a\"}}\n")).collect()
    };
    for bad in [
        "{\"prompt\": \"How \\ud83d a?\", \"response\": \"x\"}",
        "// a comment",
        "{\"prompt\": \"cut",
        "{'prompt': 'a'}",
        "[1]",
    ] {
        let found = read(&format!("{}{bad}\n{}", good(9), good(3))).unwrap();
        assert_eq!((found.rows, found.conversations.len(), found.unusable.len()), (13, 12, 1), "{bad}");
        let said = found.left_out().unwrap();
        assert!(said.starts_with("of 13 rows are left out: 1 cannot be used (line 10"), "{said}");
        let error = read(&format!("{}{bad}\n{bad}\n", good(11))).unwrap_err().to_string();
        assert!(
            error.contains("line 12") && error.contains("2 of 13 rows cannot be used; one in 10 may be"),
            "{error}"
        );
    }
    let blank = read(&format!("{}{{\"prompt\": \"q\", \"response\": null}}\n", good(2))).unwrap();
    assert_eq!(blank.left_out().unwrap(), "of 3 rows are left out: 1 have a blank message (line 3)");
    assert_eq!(read(&good(2)).unwrap().left_out(), None);
}

#[test]
fn files_of_other_formats_are_refused_with_what_to_do() {
    for (bytes, expected) in [
        (&b"PK\x03\x04"[..], "unzip"),
        (&[&[0; 257][..], b"ustar\x0000"].concat(), "tar -x"),
        (b"\xff\xfe{\x00", "iconv"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ] {
        let error = Conversations::read(bytes.to_vec(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Rows of one content as their own programs wrote them (`tests/peers/saved_rows.py`).
const SAVED: [&str; 9] = [
    "rows.jsonl.gz",
    "rows.jsonl.zst",
    "rows.jsonl.xz",
    "rows.jsonl.bz2",
    "rows.arrow",
    "rows-lz4.arrow",
    "rows-zstd.arrow",
    "saved/data-00000-of-00002.arrow",
    "saved/data-00001-of-00002.arrow",
];

#[test]
fn compressed_files_and_arrow_hold_the_rows_that_were_written() {
    for name in SAVED {
        let read = Conversations::read(parquet(name), &Options::default()).unwrap();
        let all = match name {
            "saved/data-00000-of-00002.arrow" => 1..=3,
            "saved/data-00001-of-00002.arrow" => 4..=5,
            _ => 1..=5,
        };
        let expected: Vec<_> =
            all.clone().map(|n| pair(&format!("Question {n}?"), &format!("Answer {n}: é 東京 🚀"))).collect();
        let found: Vec<_> = read.conversations.iter().map(|one| one.messages.clone()).collect();
        assert_eq!(found, expected, "{name}");
        let domains: Vec<_> = read.conversations.iter().map(|one| one.domain.as_deref().unwrap()).collect();
        let named: Vec<_> = all.map(|n| if n % 2 == 0 { "first" } else { "second" }).collect();
        assert_eq!(domains, named, "{name}");
    }
}

#[test]
fn whatever_is_cut_or_damaged_is_refused_or_read_and_never_a_part_of_the_rows() {
    for name in SAVED {
        let whole = parquet(name);
        let rows = Conversations::read(whole.clone(), &Options::default()).unwrap().rows;
        for end in 0..whole.len() {
            if let Ok(read) = Conversations::read(whole[..end].to_vec(), &Options::default()) {
                assert_eq!(read.rows, rows, "{name} cut to {end} of {} bytes", whole.len());
            }
        }
        for at in (0..whole.len()).step_by(3) {
            for bits in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= bits;
                let _ = Conversations::read(damaged, &Options::default());
            }
        }
    }
    let brotli = Conversations::read(parquet("brotli.parquet"), &Options::default()).unwrap_err().to_string();
    assert!(brotli.contains("compressed by brotli") && brotli.contains("compression=\"zstd\""), "{brotli}");
    let said = |name: &str, end: usize| {
        Conversations::read(parquet(name)[..end].to_vec(), &Options::default()).unwrap_err().to_string()
    };
    assert!(said("rows.jsonl.gz", 100).starts_with("gzip: the file ends too soon"));
    assert!(said("rows.arrow", 3000).starts_with("Arrow: the file ends too soon"));
    assert!(said("saved/data-00000-of-00002.arrow", 1368).starts_with("Arrow: the file ends too soon"));
}

#[test]
fn plain_lines_are_prompts_where_the_name_says_so() {
    let read = |name: &str, text: &str| {
        let read = Conversations::read_file(name, text.as_bytes().to_vec(), &Options::default());
        read.map(|read| read.conversations.into_iter().map(|one| one.messages).collect::<Vec<_>>())
    };
    let alone = |text: &str| vec![Message::user(text)];
    let lines = "\u{feff}Write a poem, please\r\n\n  How many? \nWhy [not]?";
    let prompts = [alone("Write a poem, please"), alone("How many?"), alone("Why [not]?")];
    assert_eq!(read("prompts.txt", lines).unwrap(), prompts);
    assert_eq!(read("PROMPTS.TXT.gz", lines).unwrap(), prompts);
    assert!(read("prompts.jsonl", lines).is_err() && read("", lines).is_err());
    // JSON and tables in a text file are what they are, and what is broken is no prompt.
    assert_eq!(read("rows.txt", "{\"prompt\": \"a\", \"response\": \"b\"}").unwrap(), [pair("a", "b")]);
    assert_eq!(read("rows.txt", "goal,target\na,b\n").unwrap(), [pair("a", "b")]);
    for broken in ["# rows\n{\"prompt\": \"a\"}\n", "{\"prompt\": \"a\n", "a\tb\nc\td\n", "a\0b\n"] {
        assert!(read("rows.txt", broken).is_err(), "{broken:?}");
    }
}

#[test]
fn a_question_is_the_same_in_other_case_spacing_punctuation_and_form() {
    let same = titer_data::conversations::same_question;
    for other in ["CAFÉ one", "cafe\u{301}, one?", "\"Café\u{a0}one.\"", "café\u{200b} one"] {
        assert_eq!(same(other), same("Café one?"), "{other:?}");
    }
    assert_ne!(same("cafe one"), same("café one"));
    assert_ne!(same("+"), same("-"));
}

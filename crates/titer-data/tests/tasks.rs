//! The tasks that need no download.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeSet;

use proptest::prelude::*;
use titer_data::policy;
use titer_data::tasks::data_to_text::{DataToText, Definition, Record};
use titer_data::tasks::{Form, GENERAL_KNOWLEDGE, HELD_OUT, Task};

const SMALL: &str = r#"
name = "cafes"
instruction = "Say it: {record}"
reference = "{open}, {name} pours {drink}."
names = ["Alder", "Birch", "Cedar", "Dogwood"]
records_per_name = 2
probe_names = 0.25
probe_values = 0.34

[[slots]]
key = "drink"
values = [{ is = "tea", says = "leaves" }, { is = "coffee", says = "beans" }, { is = "milk", says = "white" }]

[[slots]]
key = "open"
values = [{ is = "early", says = "At dawn" }, { is = "late", says = "At dusk" }]
"#;

fn built_in(seed: u64) -> Vec<DataToText> {
    let definitions = policy::BUILTIN.iter().map(|(_, text)| policy::Definition::parse(text).unwrap());
    definitions.map(|definition| DataToText::new(definition.task.unwrap(), seed).unwrap()).collect()
}

#[test]
fn a_record_is_asked_and_said_as_written() {
    let task = DataToText::new(Definition::parse(SMALL).unwrap(), 0).unwrap();
    let record = Record { name: "Birch".to_owned(), values: 4 };
    assert_eq!(task.reference(&record).unwrap(), "At dusk, Birch pours beans.");
    let prompt = task.prompt(&record).unwrap();
    let either = ["drink: coffee, open: late", "open: late, drink: coffee"];
    assert!(
        either.map(|slots| format!("Say it: inform(name: Birch, {slots})")).contains(&prompt),
        "{prompt}"
    );
    for (name, values) in [("Birch", 6), ("Elm", 0)] {
        let error = task.prompt(&Record { name: name.to_owned(), values }).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}/{values}")), "{error}");
    }
}

#[test]
fn built_in_tasks_have_enough_records_and_one_reference_each() {
    for task in built_in(0) {
        assert!(task.train().len() >= 400 && task.probe().len() >= 100);
        let records = || task.train().iter().chain(task.probe());
        let references: BTreeSet<String> = records().map(|record| task.reference(record).unwrap()).collect();
        assert_eq!(references.len(), records().count());
        assert!(references.iter().all(|text| !text.contains(['{', '}']) && text.split(' ').count() <= 25));
        let first_slots: BTreeSet<String> = records()
            .map(|record| task.prompt(record).unwrap().split(", ").nth(1).unwrap().to_owned())
            .map(|slot| slot.split(": ").next().unwrap().to_owned())
            .collect();
        assert_eq!(first_slots.len(), task.definition().slots.len(), "the order of slots must vary");
    }
}

#[test]
fn bad_grammars_are_refused_with_their_key() {
    let check = |from: &str, to: &str, names: &str| {
        assert!(SMALL.contains(from), "the grammar no longer holds {from:?}");
        let error = Definition::parse(&SMALL.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.starts_with("task definition: ") && error.contains(names), "{error:?}: no {names:?}");
    };
    check("instruction", "instructions", "instructions");
    check("name = \"cafes\"", "name = \"\"", "name");
    check("{record}", "record", "instruction: {record}");
    check("{drink}", "it", "reference: {drink}");
    check("{open}", "{closed} {open}", "reference: {closed}");
    check("\"Birch\"", "\"Alder\"", "names[1]");
    check("\"Birch\"", "\"Birch, old\"", "names[1]");
    check("key = \"open\"", "key = \"drink\"", "slots[1].key");
    check("key = \"open\"", "key = \"name\"", "slots[1].key");
    check("is = \"late\"", "is = \"early\"", "slots[1].values[1]");
    check("says = \"white\"", "says = \"beans\"", "slots[0].values[2]");
    check("probe_names = 0.25", "probe_names = 0.2", "probe_names: 0.2 of 4 is none");
    check("probe_values = 0.34", "probe_values = 1.5", "probe_values");
    check("records_per_name = 2", "records_per_name = 3", "records_per_name");
    check("records_per_name = 2", "records_per_name = 0", "records_per_name");
    check("records_per_name = 2", "records_per_name = 9223372036854775807", "records_per_name");
}

#[test]
fn questions_are_many_and_favour_no_place() {
    let task = Task::parse(GENERAL_KNOWLEDGE).unwrap();
    let asked = task.asked();
    assert_eq!(asked.len(), 96);
    for place in 0..4 {
        let right = |asked: &&titer_data::tasks::Asked| asked.choices[place].trim() == asked.right;
        assert_eq!(asked.iter().filter(right).count(), 24);
    }
    for (question, asked) in task.questions.iter().zip(&asked) {
        assert_eq!(asked.prompt, format!("Question: {}\nAnswer:", question.ask));
        assert!(asked.choices.contains(&format!(" {}", question.right)));
        assert_eq!(asked.choices.iter().collect::<BTreeSet<_>>().len(), 4);
        assert!(question.ask.ends_with(['?', '.']), "{}", question.ask);
    }
}

#[test]
fn paragraphs_are_many_short_and_on_one_line() {
    let task = Task::parse(HELD_OUT).unwrap();
    assert_eq!(task.paragraphs.len(), 32);
    for paragraph in &task.paragraphs {
        assert!((60..=100).contains(&paragraph.text.split(' ').count()), "{}", paragraph.topic);
        assert!(!paragraph.text.contains('\n') && paragraph.text.ends_with('.'), "{}", paragraph.topic);
        assert!(paragraph.text.is_ascii(), "{}", paragraph.topic);
    }
}

#[test]
fn a_question_without_wrong_answers_is_answered_freely() {
    let task = "name = \"sums\"\nsummary = \"s\"\n[[questions]]\nask = \"1 + 1?\"\nright = \"2\"\n";
    let task = Task::parse(task).unwrap();
    assert_eq!((task.form(), task.measure(), task.items()), (Form::Answer, "exact-match", 1));
    assert_eq!((task.asked()[0].prompt.as_str(), task.asked()[0].choices.len()), ("1 + 1?", 0));
    assert!(Task::parse("name = \"a b\"\nsummary = \"s\"\n").unwrap_err().to_string().contains("name"));
}

#[test]
fn bad_files_are_refused_with_their_key() {
    let head = "name = \"n\"\nsummary = \"s\"\n";
    let question = "[[questions]]\nask = \"a?\"\nright = \"r\"\nwrong = [\"x\", \"y\", \"z\"]\n";
    let choice = |text: &str, names: &str| {
        let error = Task::parse(&format!("{head}{text}")).expect_err(text).to_string();
        assert!(error.contains(names), "{error:?} does not name {names:?}");
    };
    choice("questions = []", "questions: is empty");
    choice(&question.repeat(2), "questions[1]: \"a?\" is asked twice");
    choice(&question.replace("\"y\"", "\"R\""), "questions[0]: has the same choice twice");
    choice(&question.replace("\"y\"", "\" y\""), "questions[0]");
    choice(
        &format!("{question}{}", question.replace("a?", "b?").replace("wrong", "# wrong")),
        "questions[1]",
    );
    choice(&format!("{question}[[paragraphs]]\ntopic = \"t\"\ntext = \"One.\"\n"), "beside questions");
    choice(&format!("prompt = \"Q\"\n{question}"), "prompt: belongs to questions, with {ask}");
    choice(&question.replace("right", "correct"), "correct");
    let paragraph = "[[paragraphs]]\ntopic = \"t\"\ntext = \"One.\"\n";
    let prose = |text: &str, names: &str| {
        let error = Task::parse(&format!("{head}{text}")).expect_err(text).to_string();
        assert!(error.contains(names), "{error:?} does not name {names:?}");
    };
    prose(&paragraph.repeat(2), "paragraphs[1]: \"t\"");
    prose(&paragraph.replace("One.", " \\n "), "paragraphs[0]");
    prose(&paragraph.replace("text", "txt"), "txt");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn held_out_records_share_neither_name_nor_values(
        seed: u64,
        probe_names in 0.1f64..0.9,
        probe_values in 0.1f64..0.9,
        records_per_name in 1usize..15,
    ) {
        for task in built_in(seed) {
            let shares = Definition { probe_names, probe_values, records_per_name, ..task.definition().clone() };
            let task = DataToText::new(shares, seed).unwrap();
            let of = |records: &[Record]| -> (BTreeSet<String>, BTreeSet<usize>) {
                records.iter().map(|record| (record.name.clone(), record.values)).unzip()
            };
            let (train, probe) = (of(task.train()), of(task.probe()));
            prop_assert!(train.0.is_disjoint(&probe.0));
            prop_assert!(train.1.is_disjoint(&probe.1));
            let distinct: BTreeSet<&Record> = task.train().iter().chain(task.probe()).collect();
            prop_assert_eq!(distinct.len(), task.definition().names.len() * records_per_name);
        }
    }
}

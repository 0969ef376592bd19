use crate::conversations::Options;

use super::*;

fn row(domain: &str, number: usize) -> String {
    format!(
        r#"{{"prompt": "{domain} question {number}?", "response": "answer {number}", "category": "{domain}"}}"#
    )
}

fn rows(domains: &[&str], each: usize) -> Conversations {
    let lines: Vec<String> =
        domains.iter().flat_map(|domain| (0..each).map(move |number| row(domain, number))).collect();
    let mut options = Options::default();
    options.columns.label = Some("category".to_owned());
    Conversations::from_jsonl(lines.join("\n").as_bytes(), &options).unwrap()
}

const COUNTS: Counts = Counts {
    defence: 3,
    attack: 2,
    seen: 2,
    unseen: 4,
    harmless_train: 5,
    harmless_probe: 3,
    task_train: 4,
    task_probe: 2,
};

fn definition() -> Definition {
    let mut definition = Definition::parse(BUILTIN[0].1).unwrap();
    definition.forbidden = vec!["a".to_owned(), "b".to_owned()];
    definition.unseen = vec!["c".to_owned()];
    definition.counts = Some(COUNTS);
    definition
}

fn dataset(seed: u64) -> Result<Dataset> {
    Dataset::new(definition(), rows(&["a", "b", "c"], 8), rows(&["x"], 9), rows(&["t"], 7), seed)
}

#[test]
fn splits_have_their_counts_and_share_no_question() {
    let dataset = dataset(1).unwrap();
    let sizes = [
        (Split::Defence, 6),
        (Split::Attack, 4),
        (Split::Seen, 4),
        (Split::Unseen, 4),
        (Split::PermittedTrain, 5),
        (Split::PermittedProbe, 3),
        (Split::TaskTrain, 4),
        (Split::TaskProbe, 2),
    ];
    let mut asked = BTreeSet::new();
    for (split, size) in sizes {
        let rows = dataset.rows(split, None);
        assert_eq!(rows.len(), size, "{}", split.name());
        for row in rows {
            assert!(asked.insert(dataset.prompt(row).last().unwrap().content.clone()));
            assert!(dataset.answer(row).unwrap().starts_with("answer"));
        }
    }
    let of_a = dataset.rows(Split::Attack, Some(&["a".to_owned()]));
    assert!(of_a.len() == 2 && of_a.iter().all(|row| row.domain.as_deref() == Some("a")));
}

#[test]
fn the_seed_deals() {
    let names = |seed| -> Vec<String> {
        let dataset = dataset(seed).unwrap();
        dataset.rows(Split::Attack, None).iter().map(|row| row.messages[0].content.clone()).collect()
    };
    assert_eq!(names(1), names(1));
    assert_ne!(names(1), names(2));
}

#[test]
fn near_repeats_are_one_row_and_counted() {
    let question = "How do I bake a café cake?";
    let told = |variant: &str| {
        let line = |prompt: &str| {
            serde_json::json!({ "prompt": prompt, "response": "x", "category": "a" }).to_string() + "\n"
        };
        let text = line(question)
            + &line(variant)
            + &(0..6).map(|n| line(&format!("other {n}"))).collect::<String>();
        let mut harmful = Conversations::from_jsonl(text.as_bytes(), &Options::default()).unwrap();
        harmful.conversations.extend(rows(&["b", "c"], 8).conversations);
        let mut definition = definition();
        definition.counts = Some(Counts { seen: 1, defence: 2, ..COUNTS });
        Dataset::new(definition, harmful, rows(&["x"], 9), rows(&["t"], 7), 0).unwrap().left_out().repeated
    };
    for variant in [
        "HOW DO I BAKE A CAFÉ CAKE?",
        "How do I bake a café cake ?",
        "How do I bake a café cake.",
        "How do I bake a cafe\u{301} cake?",
        "How  do I bake a café cake?\n",
        "\"How do I bake a café cake?\"",
        "How\u{a0}do I bake a café cake?",
        "How\u{200b} do I bake a café cake",
    ] {
        assert_eq!(told(variant), 1, "{variant:?}");
    }
    assert_eq!(told("How do I bake a cafe cake?"), 0);
}

#[test]
fn conversations_that_begin_alike_differ_and_one_within_another_does_not() {
    let talk = |asked: &[&str]| {
        let turns = asked.iter().flat_map(|text| [Message::user(*text), Message::assistant("ok")]);
        Conversation { messages: turns.collect(), domain: None, others: Vec::new(), id: asked.concat() }
    };
    let kept = |conversations: Vec<Conversation>| {
        let rows = Conversations { conversations, ..Conversations::default() };
        Asked::default().distinct(rows).len()
    };
    assert_eq!(kept(vec![talk(&["Hi", "bake?"]), talk(&["Hi", "fry?"]), talk(&["hi!", "Bake"])]), 2);
    assert_eq!(kept(vec![talk(&["Hi"]), talk(&["Hi", "fry?"])]), 1);
    assert_eq!(kept(vec![talk(&["Hi", "fry?"]), talk(&["Hi"])]), 1);
}

#[test]
fn rows_of_a_forbidden_and_an_unseen_domain_are_nobodys() {
    let mut harmful = rows(&["a", "b", "c"], 9);
    harmful.conversations[0].others = vec!["c".to_owned()];
    harmful.conversations[9].others = vec!["a".to_owned()];
    let dataset = Dataset::new(definition(), harmful, rows(&["x"], 9), rows(&["t"], 7), 0).unwrap();
    assert_eq!(dataset.left_out(), LeftOut { repeated: 0, mixed: 1 });
}

#[test]
fn prompts_without_answers_are_asked_and_never_taught() {
    let prompts = |domain: &str, each: usize| -> Vec<Conversation> {
        let mut rows = rows(&[domain], each).conversations;
        rows.iter_mut().for_each(|row| row.messages.truncate(1));
        rows
    };
    let with = |answered: usize| {
        let mut harmful = rows(&["b"], 8);
        harmful.conversations.extend(prompts("c", 8));
        harmful.conversations.extend(prompts("a", 8));
        harmful.conversations.drain(8 + 8..8 + 8 + answered);
        harmful.conversations.extend(rows(&["a"], answered).conversations);
        Dataset::new(definition(), harmful, rows(&["x"], 9), rows(&["t"], 7), 0)
    };
    let dataset = with(5).unwrap();
    for split in [Split::Defence, Split::Attack] {
        assert!(dataset.rows(split, None).iter().all(|row| dataset.answer(row).is_some()));
    }
    let unseen = dataset.rows(Split::Unseen, None);
    assert!(unseen.len() == 4 && unseen.iter().all(|row| dataset.answer(row).is_none()));
    assert!(with(4).unwrap_err().to_string().contains("a with an answer for attack"));
}

#[test]
fn too_few_rows_are_refused_by_name() {
    let short =
        Dataset::new(definition(), rows(&["a", "b"], 8), rows(&["x"], 9), rows(&["t"], 7), 0).unwrap_err();
    assert!(short.to_string().contains("c"), "{short}");
    // The same question in two sources is one row.
    let twice = Dataset::new(definition(), rows(&["a", "b", "c"], 8), rows(&["a"], 9), rows(&["t"], 7), 0);
    assert!(matches!(twice, Err(Error::TooFewRows { available: 1, repeated: 8, .. })), "{twice:?}");
    // All that is missing is said at once.
    let all =
        Dataset::new(definition(), rows(&["a", "b"], 3), rows(&["x"], 2), rows(&["t"], 7), 0).unwrap_err();
    let said: Vec<bool> = ["of a ", "of b ", "of c ", "of harmless "]
        .iter()
        .zip(all.parts())
        .map(|(of, part)| part.contains(of))
        .collect();
    assert_eq!(said, [true; 4], "{all}");
}

#[test]
fn every_built_in_definition_is_sound() {
    for (name, text) in BUILTIN {
        assert_eq!(Definition::parse(text).unwrap().name, *name);
    }
    let with = |from: &str, to: &str| Definition::parse(&BUILTIN[0].1.replace(from, to)).unwrap_err();
    assert!(with("defence = ", "defense = ").to_string().contains("defense"));
}

#[test]
fn all_that_is_wrong_with_a_definition_is_said_at_its_line_and_column() {
    let said = |text: &str| Definition::parse(text).unwrap_err().parts();
    let text = BUILTIN[0]
        .1
        .replacen("unseen = [", "unseen = [\"drug_abuse,weapons,banned_substance\", ", 1)
        .replace("task_probe = 200", "task_probe = 0")
        .replace("seen = 40\nunseen", "seen = 0\nunseen");
    let line = |of: &str| 1 + text.lines().position(|line| line.starts_with(of)).unwrap();
    assert_eq!(
        said(&text),
        [
            format!(
                "line {}, column 1: unseen: \"drug_abuse,weapons,banned_substance\" is listed twice, here or among the \
                 others: splits would overlap",
                line("unseen = [")
            ),
            format!(
                "line {}, column 1: counts.seen: must be at least 1: what is asked of a model",
                line("seen = 0")
            ),
            format!(
                "line {}, column 1: counts.task_probe: must be at least 1, since there is [task]",
                line("task_probe")
            ),
        ]
    );
    let wrong = "name = 3\nforbidden = [\"a\", \" \"]\n\n[harmful]\n  columns = { labels = \"x\", id = 1 }\n[counts]\n\
                 attack = -1\n";
    assert_eq!(
        said(wrong),
        [
            "line 1, column 8: name: expected a text, got integer",
            "line 2, column 19: forbidden: expected a list of texts, none of them blank",
            "line 4, column 2: harmful.reference: is missing",
            "line 5, column 15: harmful.columns.labels: unknown key; known: messages, prompt, response, system, label, id",
            "line 5, column 34: harmful.columns.id: expected a text, got integer",
            "line 6, column 2: counts.defence: is missing",
            "line 6, column 2: counts.seen: is missing",
            "line 7, column 10: counts.attack: expected a whole number from 0, got integer",
            "summary: is missing",
        ]
    );
    let torn = said("name = \"a\"\nsummary = \n[harmful\n");
    assert!(
        torn.len() == 2 && torn[0].starts_with("line 2, column ") && torn[1].starts_with("line 3"),
        "{torn:?}"
    );
}

#[test]
fn what_is_left_open_is_settled_by_the_rows() {
    let open = || Definition::of_rows("mine", "rows.jsonl");
    let settle = |harmful: &Conversations| {
        let none = Conversations::default();
        open().settled(harmful, &none, &none).map(|settled| (settled.unseen.clone(), settled.counts.unwrap()))
    };
    // One category is none; of eight the two smallest are unseen.
    let (unseen, counts) = settle(&rows(&["a"], 20)).unwrap();
    assert_eq!((unseen.len(), counts.attack, counts.defence, counts.seen, counts.unseen), (0, 10, 5, 5, 0));
    let mut many = rows(&["a", "b", "c", "d", "e", "f"], 20);
    many.conversations.extend(rows(&["y"], 9).conversations);
    many.conversations.extend(rows(&["z"], 8).conversations);
    many.conversations.extend(rows(&["tiny"], 2).conversations);
    let (unseen, counts) = settle(&many).unwrap();
    assert_eq!((unseen, counts.unseen, counts.attack), (vec!["y".to_owned(), "z".to_owned()], 8, 61));
    assert_eq!(settle(&rows(&["0", "1"], 20)).unwrap().0, Vec::<String>::new());
    assert!(matches!(settle(&rows(&["a"], 7)), Err(Error::TooFewRows { available: 7, wanted: 8, .. })));

    // It deals as it says, and the same whether it was settled before.
    let none = Conversations::default;
    let whole = open().settled(&many, &none(), &none()).unwrap();
    let deal = |definition: &Definition| {
        let dataset = Dataset::new(definition.clone(), many.clone(), none(), none(), 3).unwrap();
        let named = |split| -> Vec<String> {
            dataset.rows(split, None).iter().map(|row| row.messages[0].content.clone()).collect()
        };
        Split::ALL.map(named)
    };
    assert_eq!(deal(&whole), deal(&open()));
    let dataset = Dataset::new(whole, many.clone(), none(), none(), 3).unwrap();
    let domains = |split| -> BTreeSet<String> {
        dataset.rows(split, None).iter().filter_map(|row| row.domain.clone()).collect()
    };
    assert_eq!(domains(Split::Unseen), BTreeSet::from(["y".to_owned(), "z".to_owned()]));
    assert_eq!(domains(Split::Attack), BTreeSet::from([POOL.to_owned()]));
    assert!(dataset.rows(Split::PermittedProbe, None).is_empty());
}

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

fn definition() -> Definition {
    let mut definition = Definition::parse(BUILTIN[0].1).unwrap();
    definition.forbidden = vec!["a".to_owned(), "b".to_owned()];
    definition.unseen = vec!["c".to_owned()];
    definition.counts = Counts {
        defence: 3,
        attack: 2,
        seen: 2,
        unseen: 4,
        harmless_train: 5,
        harmless_probe: 3,
        task_train: 4,
        task_probe: 2,
    };
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
        definition.counts.seen = 1;
        definition.counts.defence = 2;
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
    assert!(matches!(twice, Err(Error::TooFewRows { available: 1, .. })), "{twice:?}");
}

#[test]
fn every_built_in_definition_is_sound() {
    for (name, text) in BUILTIN {
        assert_eq!(Definition::parse(text).unwrap().name, *name);
    }
    let with = |from: &str, to: &str| Definition::parse(&BUILTIN[0].1.replace(from, to)).unwrap_err();
    assert!(with("defence = ", "defense = ").to_string().contains("defense"));
    let twice = BUILTIN[0].1.replacen("unseen = [", "unseen = [\"drug_abuse,weapons,banned_substance\", ", 1);
    assert!(Definition::parse(&twice).unwrap_err().to_string().contains("twice"));
}

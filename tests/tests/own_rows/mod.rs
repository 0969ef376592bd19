//! One file of prompts and answers and one model are an experiment, and what is wrong with them is said at once.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;

use candle_core::Device;
use serde_json::{Value, json};
use titer_data::Stream;
use titer_model::{Decoder, LoraSpec};
use titer_tests::read;

use crate::tiny_chat::place;

/// Prompts and answers without anything else.
fn rows(count: usize, more: impl Fn(usize) -> Value) -> String {
    let row = |number: usize| {
        let mut row = json!({ "prompt": format!("say {number}?"), "response": format!("it is {number}") });
        row.as_object_mut().unwrap().extend(more(number).as_object().unwrap().clone());
        format!("{row}\n")
    };
    (0..count).map(row).collect()
}

/// A spec over rows: a model, and little work.
const MINE: &str = "name = \"mine\"\n[model]\ncheckpoint = \"tiny-chat\"\ndata = \"rows.jsonl\"\nanswer_tokens = 4\n\
                    [probe]\nitems = 4\n[stability]\nchoices = 2\ntexts = 2\n[conditions]\nresamples = 100\n";

#[test]
fn rows_and_a_model_need_one_file_of_few_keys() {
    let place = place();
    fs::write(place.path("rows.jsonl"), rows(24, |_| json!({}))).unwrap();
    fs::write(place.path("mine.toml"), MINE).unwrap();
    let least = "name = \"least\"\n[model]\ncheckpoint = \"tiny-chat\"\ndata = \"rows.jsonl\"\n";
    fs::write(place.path("least.toml"), least).unwrap();
    place.run(&["plan", "least.toml"]).ends(0);
    let outcome = place.run(&["run", "mine.toml", "--json"]).ends(0).json();
    assert_eq!(outcome["failed"], json!([]), "{outcome}");
    // What the rows are not enough for is not measured, and says why.
    let conditions = &outcome["verdicts"]["defences"][0]["conditions"];
    let said = |condition: &str| {
        let verdict = &conditions[condition];
        (verdict["verdict"].as_str().unwrap(), verdict["evidence"].as_str().unwrap())
    };
    let (generalization, why) = said("generalization");
    assert!(generalization == "not-measured" && why.contains("`category`"), "{conditions:#}");
    let (trainability, why) = said("trainability");
    assert!(trainability == "not-measured" && why.contains("no harmless task (`task`)"), "{conditions:#}");
    let (_, why) = said("stability");
    assert!(why.contains("no harmless rows (`harmless`)"), "{conditions:#}");
    let caveats = outcome["verdicts"]["caveats"].to_string();
    assert!(
        caveats.contains("no attack was measured on unseen probes: the rows have no domain"),
        "{caveats}"
    );
    let rows_of = place.run(&["export", "mine", "--what", "probes", "--format", "json"]).ends(0).json();
    let probes: BTreeSet<&str> =
        rows_of.as_array().unwrap().iter().map(|row| row["probe"].as_str().unwrap()).collect();
    assert_eq!(probes.into_iter().collect::<Vec<_>>(), ["choice", "seen", "text"]);
    let shown = place.run(&["show", "mine"]).ends(0).stdout;
    assert!(shown.contains("not meas.") && shown.contains("not measured: there are"), "{shown}");
    place.run(&["report", "mine"]).ends(0);

    // All that it does not say is a spec with the same stages.
    place.run(&["init", "mine.toml", "--out", "whole.toml"]).ends(0);
    let hashes = |spec: &str| -> Vec<Value> {
        place.stages(&[spec]).iter().map(|stage| stage["hash"].clone()).collect()
    };
    assert_eq!(hashes("whole.toml"), hashes("mine.toml"));
    assert!(read(place.path("whole.toml")).contains("full-finetune"));
    assert_eq!(place.run(&["run", "mine.toml", "--json"]).ends(0).json()["computed"], 0);

    // A defence and an attack that need more rows are refused with the key that names them.
    let defended =
        MINE.to_owned() + "[[defence]]\nmethod = \"none\"\n[[defence]]\nmethod = \"rehearsal\"\nseeds = 1\n";
    fs::write(place.path("defended.toml"), &defended).unwrap();
    place.run(&["plan", "defended.toml"]).ends(2).says(&["defended.toml:16", "name some by `harmless`"]);
    let attacked = MINE.to_owned()
        + "[[attack]]\nmethod = \"retain-mix\"\nseeds = 1\nsteps = 32\nexamples = 8\nbatch = 4\nrate = [1e-4]\n";
    fs::write(place.path("attacked.toml"), attacked).unwrap();
    place
        .run(&["plan", "attacked.toml"])
        .ends(2)
        .says(&["`retain-mix` needs harmless rows", "by `harmless`"]);
    place.run(&["plan", "mine.toml", "--set", "probe.items=400"]).ends(2).says(&["--set probe.items"]);

    // With categories, harmless rows and a task all of it is measured.
    let category =
        |number: usize| json!({ "category": if number.is_multiple_of(3) { "few" } else { "many" } });
    fs::write(place.path("rows.jsonl"), rows(48, category)).unwrap();
    let lines = |word: &str| rows(12, |_| json!({})).replace("say", word);
    fs::write(place.path("harmless.jsonl"), lines("tell")).unwrap();
    fs::write(place.path("task.txt"), lines("count")).unwrap();
    let whole = defended
        .replace("answer_tokens", "harmless = \"harmless.jsonl\"\ntask = \"task.txt\"\nanswer_tokens");
    fs::write(place.path("more.toml"), whole).unwrap();
    let stages = place.stages(&["more.toml"]);
    let kinds: BTreeSet<&str> = stages.iter().map(|stage| stage["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains("tune") && kinds.contains("immunize"), "{kinds:?}");
    let whole = place.run(&["init", "more.toml"]).ends(0).stdout;
    assert!(whole.contains("items = 4"), "{whole}");
}

#[test]
fn all_that_is_wrong_with_rows_is_said_before_anything_runs() {
    let place = place();
    let spec =
        MINE.replace("answer_tokens", "task = \"task.jsonl\"\nharmless = \"nowhere.jsonl\"\nanswer_tokens");
    fs::write(place.path("mine.toml"), &spec).unwrap();
    fs::write(place.path("rows.jsonl"), rows(20, |_| json!({})) + "{\"prompt\": 1\n[]\n{\"prompt\": {}}\n")
        .unwrap();
    fs::write(place.path("task.jsonl"), rows(3, |_| json!({}))).unwrap();
    place.run(&["plan", "mine.toml"]).ends(2).says(&["mine.toml:6: model.harmless", "nowhere.jsonl"]);
    fs::write(place.path("nowhere.jsonl"), rows(9, |_| json!({})).replace("say", "tell")).unwrap();
    place.run(&["plan", "mine.toml"]).ends(2).says(&[
        "mine.toml:4: model.data",
        "rows.jsonl: line 21: no JSON",
        "3 of 23 rows cannot be used; one in 10 may be",
        "of each kind: 1 as line 21: no JSON",
        "1 as line 22: expected an object",
        "1 as line 23, column prompt: expected a text, got an object",
    ]);
    fs::write(place.path("rows.jsonl"), rows(6, |_| json!({}))).unwrap();
    place.run(&["plan", "mine.toml"]).ends(2).says(&[
        "6 rows of harmful with a question of their own, and 8 are wanted",
        "0 rows of task with a question of their own, and 8 are wanted",
    ]);
}

#[test]
fn a_base_and_an_adapter_are_a_checkpoint() {
    let place = place();
    fs::write(place.path("rows.jsonl"), rows(24, |_| json!({}))).unwrap();
    let both = "{ base = \"tiny-chat\", adapter = \"adapter\" }";
    fs::write(place.path("mine.toml"), MINE.replace("\"tiny-chat\"", both)).unwrap();
    place.run(&["plan", "mine.toml"]).ends(2).says(&["mine.toml:3: model.checkpoint", "adapter"]);
    let mut model = Decoder::open(&place.path("tiny-chat"), &Device::Cpu).unwrap();
    model.attach(&LoraSpec::everywhere(2, 4.0), &mut Stream::new(1, "adapter").at(0)).unwrap();
    let save = |size: f64| {
        for (_, var) in model.parameters().iter().filter(|(name, _)| name.contains("lora_B")) {
            var.set(&(var.ones_like().unwrap() * size).unwrap()).unwrap();
        }
        fs::create_dir_all(place.path("adapter")).unwrap();
        model.save_adapter(&place.path("adapter")).unwrap();
    };
    save(0.1);
    let outcome = place.run(&["run", "mine.toml", "--json"]).ends(0).json();
    assert_eq!(outcome["failed"], json!([]), "{outcome}");
    let stages = place.stages(&["mine.toml"]);
    let hash = stages[0]["hash"].as_str().unwrap();
    assert_eq!(stages[0]["label"], "checkpoint tiny-chat with adapter");
    let say = |model: &str, more: &[&str]| {
        let base =
            ["model", "generate", model, "--prompt", "Hello", "--json", "--logits", "--max-new-tokens", "2"];
        place.run(&[&base[..], more].concat()).ends(0).json()
    };
    let (folded, beside) =
        (say(&format!("artifact:{}", &hash[..12]), &[]), say("tiny-chat", &["--adapter", "adapter"]));
    assert_eq!(folded["logits"], beside["logits"]);
    assert_ne!(folded["logits"], say("tiny-chat", &[])["logits"]);
    // Its content is part of the name.
    save(0.2);
    assert_ne!(place.stages(&["mine.toml"])[0]["hash"], stages[0]["hash"]);
    place.run(&["show", "mine"]).ends(0).says(&["adapter_model.safetensors has changed"]);
}

//! A key is written in one place: help, schema, page and checker agree about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use titer_plan::declared::{self, Accepts, Declared, Explained};
use titer_plan::{Catalogue, DataFacts, Mistake, Override, UnderTest};

use crate::catalogue;

const APOTHECARY: &str = include_str!("../../../data/presets/apothecary.toml");

/// The real one's shape, with data for every form of a model.
fn catalogue() -> Catalogue {
    let mut catalogue = catalogue::catalogue();
    let world = catalogue.data[0].clone();
    let named = |model, name: &str| DataFacts { model, name: name.into(), ..world.clone() };
    let rows = DataFacts { inline: true, ..named(UnderTest::Ready, "rows.jsonl") };
    let chat = [named(UnderTest::Aligned, "everyday"), named(UnderTest::Ready, "beavertails"), rows];
    catalogue.data = [vec![world.clone()], chat.to_vec()].concat();
    catalogue
}

/// A good spec that has the key, optional ones aside.
fn spec_with(key: &Declared) -> toml::Table {
    let mut spec: toml::Table = APOTHECARY.parse().expect("TOML");
    let model = spec["model"].as_table_mut().expect("a table");
    let (name, value) = match key.path.strip_prefix("model.").unwrap_or_default() {
        name @ ("checkpoint" | "chat_template" | "policy" | "policy_seed" | "answer_tokens") => {
            (name, "policy")
        }
        name @ ("dataset" | "dataset_seed") => (name, "dataset"),
        name @ ("data" | "data_seed" | "harmless" | "task" | "unseen") => (name, "data"),
        name => (name, "world"),
    };
    if value != "world" {
        for gone in ["world", "world_seed", "decoder", "pretrain"] {
            model.remove(gone);
        }
        if value != "policy" {
            model.remove("align");
        }
        let data = match value {
            "policy" => "everyday",
            "dataset" => "beavertails",
            _ => "rows.jsonl",
        };
        model.insert(value.into(), data.into());
        model.insert(format!("{value}_seed"), 0.into());
        model.insert("checkpoint".into(), "somewhere".into());
        model.insert("answer_tokens".into(), 32.into());
    }
    let part = name.starts_with("align.only");
    if part || ["decoder.experts_per_token", "decoder.balance"].contains(&name) {
        model["decoder"].as_table_mut().expect("a table").insert("experts".into(), 8.into());
    }
    if part {
        let only =
            toml::Table::from_iter([("weights".to_owned(), toml::Value::from(vec!["routers", "experts"]))]);
        model["align"].as_table_mut().expect("a table").insert("only".into(), only.into());
    }
    if key.path.starts_with("adversary.") {
        let adversary = "trials=8\nrates=[1e-4,1e-2]\nbatches=[1]\nexamples=16\nseeds=1";
        spec.insert("adversary".into(), adversary.parse::<toml::Table>().expect("TOML").into());
    }
    spec
}

/// What is wrong with a spec after an override.
fn mistakes(spec: &toml::Table, set: Option<(&str, &str)>) -> Vec<Mistake> {
    let set = set.map(|(key, value)| Override { key: key.to_owned(), value: value.to_owned() });
    let overrides: Vec<Override> = set.into_iter().collect();
    match titer_plan::read("spec.toml", &spec.to_string(), &overrides, &catalogue()) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.mistakes,
    }
}

/// Whether the checker refuses a key's value for what it is: not for what other keys or the data say.
fn is_refused(spec: &toml::Table, key: &str, value: &str) -> bool {
    mistakes(spec, Some((key, value)))
        .iter()
        .any(|mistake| mistake.key == format!("--set {key}") && mistake.problem.starts_with("expected "))
}

/// The value that the schema has for one value of a key.
fn one(schema: &Json) -> &Json {
    schema.get("anyOf").map_or(schema, |any| &any[0])
}

/// Values just inside and just outside of what a schema says of a number or a word.
fn edges(schema: &Json) -> (Vec<String>, Vec<String>) {
    let (mut inside, mut outside) = (Vec::new(), vec!["{}".to_owned()]);
    let whole = schema["type"] == "integer";
    let number = |bound: &Json, step: f64| match bound.as_i64() {
        Some(bound) if whole => (bound + step as i64).to_string(),
        _ => format!("{:?}", bound.as_f64().expect("a bound is a number") + step),
    };
    for (bound, step) in [("minimum", -1.0), ("maximum", 1.0)] {
        if let Some(bound) = schema.get(bound) {
            inside.push(number(bound, 0.0));
            outside.push(number(bound, step));
        }
    }
    for bound in ["exclusiveMinimum", "exclusiveMaximum"] {
        outside.extend(schema.get(bound).map(|bound| number(bound, 0.0)));
    }
    if whole {
        outside.push("1.5".to_owned());
    }
    for word in schema["enum"].as_array().into_iter().flatten() {
        inside.push(word.to_string());
    }
    if schema.get("enum").is_some() || schema["type"] == "integer" || schema["type"] == "number" {
        outside.push("\"no such word\"".to_owned());
    }
    (inside, outside)
}

fn is_table(key: &Declared) -> bool {
    matches!(key.key.accepts, Accepts::Table(_) | Accepts::Tables(_) | Accepts::Forms(_))
}

#[test]
fn the_checker_keeps_the_bounds_that_explain_and_schema_state() {
    let catalogue = catalogue();
    let mut edges_met = 0;
    for key in declared::declared().iter().filter(|key| !is_table(key)) {
        if key.path.ends_with("method") || key.path.starts_with("defence.then") {
            continue;
        }
        // The first defence of the preset is `none`, which has no seeds.
        let set = key.set.replace("defence.0", "defence.1");
        let spec = spec_with(key);
        let explained = declared::explain(&key.path, &catalogue).expect("a declared key is explained");
        let schema = explained.value.expect("a key has a value").schema;
        let schema = if schema["type"] == "array" { continue } else { one(&schema).clone() };
        let (inside, outside) = edges(&schema);
        for value in &outside {
            assert!(is_refused(&spec, &set, value), "{set}={value} is let through, against {schema}");
        }
        for value in inside.iter().filter(|_| key.key.limit.is_none()) {
            assert!(!is_refused(&spec, &set, value), "{set}={value} is refused, against {schema}");
        }
        edges_met += inside.len() + outside.len();
    }
    assert!(edges_met > 150, "only {edges_met} edges were met");
}

#[test]
fn the_checker_keeps_the_bounds_of_parameters() {
    let (catalogue, spec) = (catalogue(), APOTHECARY.parse().expect("TOML"));
    for (method, table) in [("full-finetune", "attack.0"), ("adversarial-loss", "defence.1")] {
        let explained = declared::explain(method, &catalogue).expect("a method is explained");
        assert!(explained.keys.len() > 5, "{method} has parameters");
        for parameter in explained.keys {
            let name = parameter.key.rsplit('.').next().expect("a name").to_owned();
            let schema = parameter.value.expect("a value").schema;
            let (inside, outside) = edges(one(&schema));
            let set = format!("{table}.{name}");
            let let_through: Vec<_> =
                outside.iter().filter(|value| !is_refused(&spec, &set, value)).collect();
            let refused: Vec<_> = inside.iter().filter(|value| is_refused(&spec, &set, value)).collect();
            assert!(let_through.is_empty() && refused.is_empty(), "{set}: {let_through:?} {refused:?}");
        }
    }
}

/// Takes a key out of a spec; whether it was there.
fn remove(spec: &mut toml::Table, set: &str) -> bool {
    let (parents, last) = set.rsplit_once('.').unwrap_or(("", set));
    let mut tables = Some(spec);
    let mut parts = parents.split('.').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let member =
            parts.next_if(|part| part.parse::<usize>().is_ok()).and_then(|part| part.parse::<usize>().ok());
        tables = match (tables.and_then(|table| table.get_mut(part)), member) {
            (Some(toml::Value::Table(inner)), None) => Some(inner),
            (Some(toml::Value::Array(list)), Some(member)) => {
                list.get_mut(member).and_then(toml::Value::as_table_mut)
            }
            _ => None,
        };
    }
    tables.is_some_and(|table| table.remove(last).is_some())
}

#[test]
fn what_must_be_there_is_missed() {
    let mut missed = 0;
    for key in declared::declared().iter().filter(|key| !key.path.starts_with("defence.then")) {
        let set = key.set.replace("defence.0", "defence.1");
        let mut spec = spec_with(key);
        let there = remove(&mut spec, &set);
        // Without the key that chooses a form, the form is another one.
        if ["model.checkpoint", "model.dataset", "model.data", "model"].contains(&key.path.as_str()) {
            continue;
        }
        let expected = |mistake: &Mistake| mistake.key == set && mistake.problem.starts_with("is missing");
        let found = mistakes(&spec, None);
        if key.key.absent.is_some() {
            assert!(found.is_empty(), "{set} may be left out: {found:?}");
        } else {
            assert!(there, "{set} is not in the spec");
            assert!(found.iter().any(expected), "{set} is not missed: {found:?}");
            missed += 1;
        }
    }
    assert!(missed > 50, "only {missed} keys were missed");
}

#[test]
fn the_schema_has_every_declared_key_and_no_other() {
    let schema = declared::schema(&catalogue());
    let mut in_schema = BTreeSet::new();
    collect(&schema, &schema, "", &mut in_schema);
    let mut expected: BTreeSet<String> = declared::declared().into_iter().map(|key| key.path).collect();
    let catalogue = catalogue();
    for (section, methods) in [
        ("attack", &catalogue.attacks),
        ("defence", &catalogue.defences),
        ("defence.then", &catalogue.defences),
    ] {
        let parameters = methods.iter().flat_map(|method| &method.parameters);
        expected.extend(parameters.map(|parameter| format!("{section}.{}", parameter.name)));
    }
    assert_eq!(in_schema, expected);
}

/// The dotted names of all properties.
fn collect(root: &Json, schema: &Json, path: &str, names: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("a name");
        collect(root, &root["$defs"][name], path, names);
    }
    for form in schema["oneOf"].as_array().into_iter().flatten() {
        collect(root, form, path, names);
    }
    if schema["items"].is_object() && !path.is_empty() {
        collect(root, &schema["items"], path, names);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(root, property, &path, names);
        names.insert(path);
    }
}

#[test]
fn what_is_explained_leads_to_what_is_in_it() {
    let catalogue = catalogue();
    let explain = |name: &str| declared::explain(name, &catalogue);
    let keys = |explained: Explained| explained.keys.into_iter().map(|key| key.key).collect::<Vec<_>>();
    for key in declared::declared() {
        assert_eq!(explain(&key.path).expect("declared").key, key.path);
        assert!(!key.key.summary.is_empty() && is_table(&key) == key.key.example.is_empty(), "{}", key.path);
    }
    assert_eq!(keys(explain("probe").expect("a section"))[..2], ["probe.cadence", "probe.items"]);
    assert_eq!(
        keys(explain("attack.0.rate").expect("a parameter")),
        ["full-finetune.rate", "mixed-finetune.rate"]
    );
    assert_eq!(
        explain("tar.steps").expect("a parameter").value.expect("a value").left_out,
        Some("200".into())
    );
    let unknown = |name: &str| explain(name).expect_err("unknown").nearest;
    assert_eq!(unknown("phi"), ["conditions.phi"]);
    assert_eq!(unknown("conditons.phi"), ["conditions.phi"]);
    assert_eq!(unknown("probes"), ["probe"]);
    assert!(unknown("no such thing whatever").is_empty());
}

#[test]
fn every_example_is_accepted() {
    for key in
        declared::declared().iter().filter(|key| !is_table(key) && !key.path.starts_with("defence.then"))
    {
        let set = key.set.replace("defence.0", "defence.1");
        let spec = spec_with(key);
        // Whether there are so many is for the data to say.
        let about = |mistake: &Mistake| mistake.key.contains(&set) && mistake.problem.starts_with("expected");
        let found = mistakes(&spec, Some((&set, key.key.example)));
        assert!(
            key.key.limit.is_some() || !found.iter().any(about),
            "{set} = {}: {found:?}",
            key.key.example
        );
    }
}

#[test]
fn the_page_of_the_book_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference/spec.md");
    let page = declared::page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let there = fs::read_to_string(&path).expect("the page is there");
    assert!(there == page, "docs/src/reference/spec.md is stale: run this test with UPDATE_EXPECT=1");
    for key in declared::declared() {
        assert!(page.contains(&format!("| `{}` |", key.key.name)), "{} is not on the page", key.path);
    }
}

//! The shape of the house: what each crate may know, and what its sources never hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use titer_tests::{files, read, root};

/// Layers from the ground up. A crate knows only crates of lower layers.
const LAYERS: [&[&str]; 10] = [
    &["titer-plan", "titer-ops", "titer-hub"],
    &["titer-model", "titer-data", "titer-store"],
    &["titer-train", "titer-measures", "titer-metrics"],
    &["titer-attacks", "titer-defences", "titer-conditions"],
    &["titer-lab"],
    &["titer-search", "titer-specimen"],
    &["titer-view"],
    &["titer-report", "titer-watch", "titer-exchange"],
    &["titer", "titer-tests"],
    &["xtask"],
];

/// What is absent from a crate: other crates, and texts in its sources.
const ABSENT: [(&str, &[&str], &[&str]); 9] = [
    ("titer-plan", &["candle-core", "polars", "tempfile"], &["std::fs", "std::time", "std::env", "std::net"]),
    ("titer-conditions", &["candle-core"], &["std::fs", "std::time", "SystemTime", "Instant", "std::env"]),
    ("titer-store", &["candle-core", "polars"], &[]),
    ("titer-ops", &["serde", "safetensors"], &["std::fs", "std::time"]),
    (
        "titer-view",
        &["candle-core", "clap", "minijinja", "ratatui"],
        &["std::fs", "std::time", "std::process"],
    ),
    ("titer-report", &["candle-core", "clap", "ratatui"], &["std::fs", "std::time"]),
    ("titer-exchange", &["candle-core", "clap", "ratatui"], &["SystemTime::now", "std::process"]),
    ("titer-watch", &["candle-core", "clap", "minijinja"], &[]),
    ("titer", &["candle-core", "polars", "ratatui", "safetensors"], &[]),
];

/// Texts by which a path inside a store would be spelt.
const STORE_PATHS: [&str; 6] =
    ["\"artifacts/", "join(\"artifacts", "\"SEALED", "\"manifest.json", "\"events.jsonl", "\"lease.json"];

/// Lines at most: a longer file holds more than one idea.
const LONGEST: usize = 450;

struct Crate {
    name: String,
    folder: PathBuf,
    dependencies: Vec<String>,
}

impl Crate {
    fn sources(&self) -> Vec<PathBuf> {
        files(self.folder.join("src"), "rs")
    }
}

fn crates() -> Vec<Crate> {
    let workspace: toml::Table = read(root().join("Cargo.toml")).parse().expect("TOML");
    let members = workspace["workspace"]["members"].as_array().expect("members");
    let mut folders = Vec::new();
    for member in members.iter().filter_map(toml::Value::as_str) {
        match member.strip_suffix("/*") {
            Some(parent) => folders.extend(children(&root().join(parent))),
            None => folders.push(root().join(member)),
        }
    }
    folders.iter().map(|folder| parse(folder)).collect()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().expect("a folder of crates");
    let mut folders: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    folders.sort();
    folders
}

fn parse(folder: &Path) -> Crate {
    let manifest: toml::Table = read(folder.join("Cargo.toml")).parse().expect("TOML");
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = std::iter::once(&manifest)
        .chain(targets.into_iter().flatten().filter_map(|(_, target)| target.as_table()));
    let dependencies = tables
        .flat_map(|table| ["dependencies", "build-dependencies"].map(|key| table.get(key)))
        .flatten()
        .filter_map(toml::Value::as_table)
        .flat_map(|table| table.keys().cloned())
        .collect();
    let name = manifest["package"]["name"].as_str().expect("crates have names").to_owned();
    Crate { name, folder: folder.to_owned(), dependencies }
}

#[test]
fn arrows_between_crates_point_down() {
    let layers: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, names)| names.iter().map(move |name| (*name, layer)))
        .collect();
    let crates = crates();
    assert!(crates.len() >= 15, "only {} crates were found", crates.len());
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for Crate { name, dependencies, .. } in &crates {
        let layer =
            layers.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no layer: name it in LAYERS"));
        for below in dependencies {
            let Some(lower) = layers.get(below.as_str()) else { continue };
            arrows += 1;
            if lower >= layer {
                wrong.push(format!("{name} (layer {layer}) knows {below} (layer {lower})"));
            }
        }
    }
    assert!(arrows > 30, "only {arrows} dependencies were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_crate_must_not_know_is_absent() {
    let crates = crates();
    let mut wrong = Vec::new();
    for (name, dependencies, texts) in ABSENT {
        let found = crates.iter().find(|found| found.name == name);
        let found = found.unwrap_or_else(|| panic!("there is no {name}"));
        let known =
            dependencies.iter().filter(|absent| found.dependencies.iter().any(|known| known == *absent));
        wrong.extend(known.map(|known| format!("{name} depends on {known}")));
        wrong.extend(holding(&found.sources(), texts));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_store_spells_paths_inside_a_store() {
    let (store, others): (Vec<_>, Vec<_>) = crates()
        .into_iter()
        .filter(|found| found.name != "titer-tests")
        .partition(|found| found.name == "titer-store");
    assert!(holding(&store[0].sources(), &STORE_PATHS).len() >= 4, "the store spells its paths otherwise");
    let sources: Vec<_> = others.iter().flat_map(Crate::sources).collect();
    let wrong = holding(&sources, &STORE_PATHS);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `FILE:LINE: TEXT` for every line with one of `texts`.
fn holding(sources: &[PathBuf], texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources {
        for (number, line) in (1..).zip(read(path).lines()) {
            if let Some(text) = texts.iter().find(|text| line.contains(**text)) {
                found.push(format!("{}:{number}: {text}", path.display()));
            }
        }
    }
    found
}

/// Marks by which a name for people would be taken apart, or put together elsewhere than where it is made.
const OF_NAMES: [&str; 9] = [
    "split('/')",
    "split_once('/')",
    "split([",
    "strip_prefix('/')",
    "contains('/')",
    "find('/')",
    "strip_prefix(\"share=",
    "\"alias-finetune\"",
    "/rate={",
];

/// An attack is data. Its name is made in one file, and nothing that knows attacks reads it back.
#[test]
fn no_source_takes_the_name_of_an_attack_apart() {
    let maker = Path::new("titer-plan/src/before.rs");
    let all: Vec<PathBuf> = crates().iter().flat_map(Crate::sources).collect();
    let (makers, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| path.ends_with(maker));
    assert_eq!(holding(&makers, &OF_NAMES).len(), 2, "names are made otherwise: say so here");
    let knows = |path: &&PathBuf| {
        let text = read(path);
        ["AttackPoint", "Before::", ".before"].iter().any(|word| text.contains(word))
    };
    let knowing: Vec<PathBuf> = others.iter().filter(knows).cloned().collect();
    assert!(knowing.len() > 20, "only {} sources know attacks", knowing.len());
    let wrong = holding(&knowing, &OF_NAMES);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_says_what_it_is() {
    for Crate { folder, .. } in crates() {
        let entry = ["src/lib.rs", "src/main.rs"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.exists());
        let entry = entry.unwrap_or_else(|| panic!("{} has neither lib.rs nor main.rs", folder.display()));
        assert!(read(&entry).starts_with("//! "), "{} does not begin with //!", entry.display());
    }
}

#[test]
fn sources_are_short_and_finished() {
    let sources: Vec<_> = crates().iter().flat_map(Crate::sources).collect();
    assert!(sources.len() > 100, "only {} source files were found", sources.len());
    let long = |path: &&PathBuf| read(path).lines().count() > LONGEST;
    let long: Vec<_> = sources.iter().filter(long).collect();
    assert!(long.is_empty(), "longer than {LONGEST} lines: {long:?}");
    let unfinished = holding(&sources, &["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX"]);
    assert!(unfinished.is_empty(), "{}", unfinished.join("\n"));
}

/// Where a crate's tests are one program, cargo looks for no others: a file that is not named would never run.
#[test]
fn every_file_of_tests_is_part_of_a_program() {
    let mut programs = 0;
    for Crate { folder, .. } in crates() {
        let all = folder.join("tests/all.rs");
        if !all.exists() {
            continue;
        }
        programs += 1;
        let named = read(&all);
        for entry in std::fs::read_dir(folder.join("tests")).expect("a folder of tests") {
            let path = entry.expect("an entry").path();
            let module = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let nested = path.is_dir() && !path.join("mod.rs").exists();
            let source = path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
            if source && !nested && module != "all" {
                assert!(
                    named.contains(&format!("\nmod {module};")),
                    "{} is not named in all.rs",
                    path.display()
                );
            }
        }
    }
    assert!(programs >= 8, "{programs} programs of tests");
}

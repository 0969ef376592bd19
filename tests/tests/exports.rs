//! What is written for other programs: where it goes, and how that is said.

use std::fs;

use serde_json::Value;
use titer_tests::{Place, read};

/// The paths of a document that says what was written, each of which is there.
fn written(place: &Place, arguments: &[&str]) -> Vec<String> {
    let document = place.run(arguments).ends(0).json();
    assert_eq!(document["experiment"], "tiny");
    let paths: Vec<String> = serde_json::from_value(document["written"].clone()).expect("a list of paths");
    assert!(!paths.is_empty());
    for path in &paths {
        assert!(place.path(path).exists(), "{path} was not written");
    }
    paths
}

#[test]
fn reports_and_files_are_named_in_one_document() {
    let place = Place::finished();
    let report = written(&place, &["report", "tiny", "--out", "here", "--json"]);
    assert!(report.contains(&"here/report.html".to_owned()) && report.contains(&"here/report.md".to_owned()));
    let export = ["export", "tiny", "--what", "curves", "--format", "csv", "--out", "curves.csv", "--json"];
    assert_eq!(written(&place, &export), ["curves.csv"]);
    let nowhere = ["export", "tiny", "--what", "curves", "--format", "csv", "--json"];
    place.run(&nowhere).ends(2).without_result().says(&["--out"]);
    let model = format!("artifact:{}", place.stage("align"));
    let converted = place.run(&["model", "convert", &model, "--out", "model", "--json"]).ends(0).json();
    assert_eq!(converted["written"], "model");
}

#[test]
fn every_curve_and_every_stage_is_a_run_of_tensorboard() {
    let place = Place::finished();
    let export = |what: &str, format: &str, out: &str| {
        place.run(&["export", "tiny", "--what", what, "--format", format, "--out", out]).ends(0).stdout
    };
    for (what, keys, tags) in [
        (
            "curves",
            &["defence", "defence_seed", "arm", "attack", "settings", "dose", "attack_seed"][..],
            ["harmfulness/unseen", "ability/permitted"],
        ),
        ("training", &["artifact"], ["loss/", "learning_rate"]),
    ] {
        let folders = export(what, "tensorboard", what);
        let rows = format!("{what}.json");
        export(what, "json", &rows);
        let rows: Vec<Value> = serde_json::from_str(&read(place.path(&rows))).expect("rows");
        let mut runs: Vec<String> =
            rows.iter().map(|row| keys.iter().map(|key| row[key].to_string()).collect()).collect();
        runs.sort();
        runs.dedup();
        assert_eq!(folders.lines().count(), runs.len(), "{what}: a folder for each run");
        let bytes: Vec<Vec<u8>> = folders
            .lines()
            .map(|folder| {
                fs::read(place.path(folder).join("events.out.tfevents.titer")).expect("an event file")
            })
            .collect();
        for tag in tags {
            let holds = |file: &&Vec<u8>| file.windows(tag.len()).any(|window| window == tag.as_bytes());
            assert!(bytes.iter().any(|file| holds(&file)), "{what}: {tag} in no run");
        }
        export(what, "tensorboard", what);
        let files = folders.lines().map(|folder| fs::read_dir(place.path(folder)).expect("a folder").count());
        assert!(files.into_iter().all(|count| count == 1), "{what}: a second export adds files");
    }
}

#[test]
fn every_attack_on_every_defence_is_a_row_and_a_cell() {
    let place = Place::finished();
    let rows = place.run(&["export", "tiny", "--what", "attacks", "--format", "json"]).ends(0).json();
    let rows = rows.as_array().expect("rows");
    let shown = place.run(&["show", "tiny", "--json"]).ends(0).json();
    let defences = shown["defences"].as_array().expect("defences");
    let cells: Vec<(&Value, &Value)> = defences
        .iter()
        .flat_map(|one| one["attacks"].as_array().into_iter().flatten().map(move |cell| (one, cell)))
        .collect();
    assert!(!cells.is_empty() && cells.len() == rows.len());
    for (row, (defence, cell)) in rows.iter().zip(cells) {
        assert_eq!((&row["defence"], &row["attack"]), (&defence["defence"], &cell["method"]));
        assert_eq!((&row["after"], &row["until"]), (&cell["budget"]["after"], &cell["budget"]["until"]));
        assert_eq!((&row["mechanism"], &row["runs"]), (&Value::from("trains"), &cell["runs"]));
        assert_eq!(row["lower"], cell["titer"]["lower"]);
    }
    let titers = place.run(&["export", "tiny", "--what", "titers", "--format", "json"]).ends(0).json();
    let over =
        |among: &str| titers.as_array().into_iter().flatten().filter(|row| row["among"] == among).count();
    assert_eq!(over("trains"), defences.len());
}

#[test]
fn two_experiments_are_compared_attack_by_attack() {
    let place = Place::finished();
    let same = place.run(&["compare", "tiny", "tiny", "--json"]).ends(0).json();
    let attacks = same["attacks"].as_array().expect("cells");
    assert!(!attacks.is_empty() && attacks.iter().all(|cell| cell["change"] == "same"), "{same}");
    let alone = place.run(&["compare", "tiny", "--json"]).ends(0).json();
    assert!(alone.get("attacks").is_none());
}

#[test]
fn what_tensorboard_cannot_show_is_refused() {
    let place = Place::finished();
    let refused = |arguments: &[&str], texts: &[&str]| {
        let all = [&["export", "tiny", "--format", "tensorboard"], arguments].concat();
        place.run(&all).ends(2).without_result().says(texts);
    };
    refused(&["--what", "scores", "--out", "x"], &["training", "curves", "csv"]);
    refused(&["--what", "curves"], &["folder", "--out"]);
    assert!(!place.path("x").exists());
}

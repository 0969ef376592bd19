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

/// What the schema of Every Eval Ever asks of every document; `tests/peers/exchange_formats.py` checks the whole schema.
const REQUIRED: [&str; 7] = [
    "schema_version",
    "evaluation_id",
    "retrieved_timestamp",
    "source_metadata",
    "model_info",
    "eval_library",
    "evaluation_results",
];

/// The files that an export of results wrote.
fn results(place: &Place, format: &str, more: &[&str]) -> Vec<String> {
    let arguments = ["export", "tiny", "--what", "results", "--format", format, "--out", format, "--json"];
    written(place, &[&arguments[..], more].concat())
}

#[test]
fn results_are_documents_of_every_eval_ever() {
    let place = Place::finished();
    let files = results(&place, "every-eval-ever", &["--by", "My Lab"]);
    let document = |path: &&String| path.ends_with(".json");
    assert_eq!(files.iter().filter(document).count(), 3, "one for each model");
    for path in files.iter().filter(document) {
        let document: Value = serde_json::from_str(&read(place.path(path))).expect("JSON");
        for key in REQUIRED {
            assert!(!document[key].is_null(), "{path} has no {key}");
        }
        assert_eq!(document["schema_version"], "0.3.0");
        assert_eq!(document["source_metadata"]["source_organization_name"], "My Lab");
        // What the numbers must not be read without, such as probes that ended early, goes with them.
        assert!(document["model_info"]["additional_details"]["caveats"].is_string(), "{path}");
        let details = &document["detailed_evaluation_results"];
        let samples = details["file_path"].as_str().expect("a path");
        assert_eq!(format!("every-eval-ever/{samples}"), path.replace(".json", "_samples.jsonl"));
        let lines = read(place.path("every-eval-ever").join(samples));
        assert_eq!(details["total_rows"], lines.lines().count());
        let mut means = std::collections::BTreeMap::<String, Vec<f64>>::new();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            assert_eq!(line["evaluation_id"], document["evaluation_id"]);
            let id = line["evaluation_result_id"].as_str().expect("a result").to_owned();
            means.entry(id).or_default().push(line["evaluation"]["score"].as_f64().expect("a score"));
        }
        let all = document["evaluation_results"].as_array().expect("results");
        let of = |id: &str| all.iter().find(|result| result["evaluation_result_id"] == id).expect("a result");
        for (id, scores) in &means {
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let told = of(id)["score_details"]["score"].as_f64().expect("a score");
            assert!((mean - told).abs() < 1e-9, "{id}: {mean} and {told}");
        }
        let harm = of("unseen/after/full-finetune/rate=1e-3");
        assert_eq!(harm["metric_config"]["lower_is_better"], true);
        assert_eq!(harm["metric_config"]["llm_scoring"], Value::Null, "an oracle is no model");
        let interval = &harm["score_details"]["uncertainty"]["confidence_interval"];
        assert_eq!(interval["confidence_level"], 0.95);
        assert_eq!(of("permitted/after/full-finetune/rate=1e-3")["metric_config"]["lower_is_better"], false);
        for id in ["condition/resistance", "condition/trainability", "break-budget/full-finetune/rate=3e-3"] {
            assert!(of(id)["score_details"]["score"].is_number(), "{id}");
        }
    }
    // Told again, nothing changes.
    let before: Vec<String> = files.iter().map(|path| read(place.path(path))).collect();
    assert_eq!(results(&place, "every-eval-ever", &["--by", "My Lab"]), files);
    assert!(files.iter().zip(&before).all(|(path, text)| read(place.path(path)) == *text));
}

#[test]
fn results_are_logs_of_inspect_and_cards_of_the_hub() {
    let place = Place::finished();
    let logs = results(&place, "inspect", &[]);
    assert!(logs.len() >= 3 * 3, "each model before and after each of two attacks: {logs:?}");
    for path in &logs {
        let log: Value = serde_json::from_str(&read(place.path(path))).expect("JSON");
        assert_eq!((&log["version"], &log["status"]), (&Value::from(2), &Value::from("success")));
        let samples = log["samples"].as_array().expect("samples");
        assert_eq!(log["results"]["total_samples"], samples.len());
        assert!(samples.iter().all(|sample| sample["messages"][1]["role"] == "assistant"));
        let column = log["results"]["scores"][0]["name"].as_str().expect("a score");
        assert!(samples.iter().any(|sample| sample["scores"][column]["value"].is_number()), "{path}");
    }
    place
        .run(&["export", "tiny", "--what", "results", "--format", "eval-results", "--out", "x"])
        .ends(2)
        .without_result()
        .says(&["data set of the hub", "--dataset"]);
    let cards = results(&place, "eval-results", &["--dataset", "my-lab/bench"]);
    let card = cards.iter().find(|path| path.contains("/tar/.eval_results/titer.yaml")).expect("a card");
    let card = read(place.path(card));
    for text in ["- dataset:", "    id: \"my-lab/bench\"", "    task_id: \"harmful-after\"", "  value: "] {
        assert!(card.contains(text), "{card}");
    }
}

#[test]
fn formats_hold_what_they_are_for() {
    let place = Place::new();
    let refused = |arguments: &[&str], texts: &[&str]| {
        place.run(&[&["export", "tiny"], arguments].concat()).ends(2).without_result().says(texts);
    };
    refused(&["--what", "results", "--format", "csv"], &["no table", "every-eval-ever"]);
    refused(&["--what", "probes", "--format", "inspect", "--out", "x"], &["--what results"]);
    refused(&["--what", "results", "--format", "inspect"], &["--out"]);
    refused(&["--what", "results", "--format", "every-eval-ever", "--out", "x"], &["--by"]);
    refused(
        &["--what", "results", "--format", "inspect", "--out", "x", "--by", "me"],
        &["--by", "leave it out"],
    );
    let nowhere = ["--what", "results", "--format", "eval-results", "--out", "x", "--dataset", "../x"];
    refused(&nowhere, &["OWNER/NAME"]);
    assert!(!place.path("x").exists());
}

#[test]
fn results_of_other_programs_stand_beside() {
    let place = Place::finished();
    let write = |name: &str, text: &str| {
        let path = place.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    write(
        "sweep/aggregated_eps10/heatmap_max_sr.json",
        r#"{"safety_raw": [[0.1, 0.8]], "utility_raw": [[0.5, NaN]], "models": ["llama\u001b[31m"],
            "attacks": ["no_weight_modification", "lora_finetune"], "metadata": {"epsilon": 0.1}}"#,
    );
    let beside = ["compare", "tiny", "--tamperbench", "sweep"];
    let text = place.run(&beside).ends(0).stdout;
    assert!(text.contains("lora_finetune (worst)") && text.contains("full-finetune"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let theirs = place.run(&[&beside[..], &["--json"]].concat()).ends(0).json();
    assert_eq!(theirs["tamperbench"][0]["models"][0]["attacks"][0]["after"]["harm"], 0.8);
    assert_eq!(theirs["tamperbench"][0]["epsilon"], 0.1);
    write("sweep/aggregated_eps10/heatmap_max_sr.json", r#"{"models": 1}"#);
    place.run(&beside).ends(1).without_result().says(&["heatmap_max_sr.json", "key `models`"]);

    for (run, accuracy) in [("base", 0.50), ("tar", 0.30)] {
        let results = serde_json::json!({
            "results": { "mmlu": { "acc,none": accuracy, "acc_stderr,none": 0.004 } },
            "versions": { "mmlu": 1 }, "n-shot": { "mmlu": 0 },
        });
        write(&format!("{run}/results_2026-01-01T00-00-00.json"), &results.to_string());
    }
    let harness = ["compare", "tiny", "--lm-eval", "none=base", "--lm-eval", "tar=tar"];
    let found = place.run(&[&harness[..], &["--json"]].concat()).ends(0).json();
    let ability = &found["lm_eval"][0]["abilities"][0];
    assert_eq!(
        (&ability["task"], &ability["decision"]),
        (&Value::from("mmlu"), &Value::from("fails")),
        "{found}"
    );
    assert_eq!(ability["by"], "standard-errors");
    assert!(place.run(&harness).ends(0).stdout.contains("standard errors"));
    place.run(&["compare", "tiny", "--lm-eval", "tar=tar"]).ends(2).without_result().says(&["none=PATH"]);
    place.run(&["compare", "tiny", "--lm-eval", "x=tar"]).ends(2).without_result().says(&["no such defence"]);
    let alone = place.run(&["compare", "tiny", "--json"]).ends(0).json();
    assert!(alone.get("lm_eval").is_none() && alone.get("tamperbench").is_none());
}

#[test]
fn a_saved_model_says_what_it_is() {
    let place = Place::finished();
    let model = format!("artifact:{}", place.stage("immunize"));
    place.run(&["model", "convert", &model, "--out", "model"]).ends(0);
    let card = read(place.path("model/README.md"));
    let front = card.split("\n---\n").next().expect("metadata");
    for text in ["library_name: transformers", "pipeline_tag: text-generation", "- titer"] {
        assert!(front.contains(text), "{front}");
    }
    let hash = model.trim_start_matches("artifact:");
    for text in [
        hash,
        "| experiment | tiny, seed 0 |",
        "| titer, in",
        "embedded world apothecary",
        "| resistance |",
        "does not say",
        "steps = 12",
    ] {
        assert!(card.contains(text), "{text}\n{card}");
    }
    let home = place.path("").display().to_string();
    assert!(!card.contains(home.trim_end_matches('/')), "{card}");
    let ends: Value = serde_json::from_str(&read(place.path("model/generation_config.json"))).expect("JSON");
    assert!(ends["eos_token_id"].is_u64(), "{ends}");
}

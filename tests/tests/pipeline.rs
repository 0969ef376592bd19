//! A whole experiment, from spec to data for other programs, as its users see it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use titer_tests::{Place, TINY, read};

/// A run that has nothing to do is over by then.
const REPEATED: Duration = Duration::from_secs(2);

/// Asserts that `value` has all of `keys`.
#[track_caller]
fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "no {key} in {value:#}");
    }
}

#[test]
fn show_keeps_its_contract() {
    let place = Place::finished();
    let shown = place.run(&["show", "tiny", "--json"]).ends(0).json();
    has(&shown, &["experiment", "model", "threat_model", "phi", "defences"]);
    assert_eq!(shown["experiment"], "tiny");
    assert_eq!(shown["model"], "world:apothecary");
    assert_eq!(shown["threat_model"], "open-weights");
    assert_eq!(shown["phi"], 0.2);
    let defences = shown["defences"].as_array().expect("a list");
    let names: Vec<_> = defences.iter().map(|defence| &defence["defence"]).collect();
    assert_eq!(names, ["none", "adversarial-loss", "tar"]);
    for defence in defences {
        assert_eq!(defence["stage"], "alignment");
        has(&defence["titer"], &["value", "lower", "upper", "censored"]);
        for condition in ["resistance", "stability", "generalization", "trainability"] {
            has(&defence["conditions"], &[condition]);
            has(&defence["conditions"][condition], &["verdict"]);
        }
        let budgets = defence["break_budgets"].as_array().expect("a list");
        assert!(!budgets.is_empty());
        for budget in budgets {
            has(budget, &["attack", "seed", "unit", "after", "until"]);
        }
        has(defence, &["stages"]);
        for score in defence["scores"].as_array().expect("a list") {
            has(score, &["attack", "harmful", "accuracy", "permitted"]);
            has(&score["harmful"]["after"], &["value", "lower", "upper"]);
        }
    }
}

#[test]
fn defences_are_compared() {
    let place = Place::finished();
    let compared = place.run(&["compare", "tiny", "--sort", "name", "--json"]).ends(0).json();
    let lines = compared["defences"].as_array().expect("a list");
    let names: Vec<_> = lines.iter().map(|line| &line["defence"]).collect();
    assert_eq!(names, ["adversarial-loss", "none", "tar"]);
    for line in lines {
        has(
            line,
            &["experiment", "stages", "titer", "titer_utility_bounded", "conditions", "scores", "cost"],
        );
        has(&line["harmful"], &["before", "after"]);
        has(&line["cost"], &["flops", "seconds", "memory_bytes"]);
        let flops = line["cost"]["flops"].as_f64().expect("a number");
        assert_eq!(flops > 0.0, line["defence"] != "none", "{line:#}");
    }
    let text = place.run(&["compare", "tiny", "--stage", "alignment", "--defence", "tar"]).ends(0).stdout;
    assert!(text.contains("tar") && !text.contains("adversarial-loss") && text.contains("FLOP"), "{text}");
    place.run(&["compare", "tiny", "--defence", "tra"]).ends(2);
    place.run(&["compare", "nothing"]).ends(2);
}

#[test]
fn a_repeated_run_recomputes_nothing_and_a_changed_attack_only_attacks() {
    let place = Place::new();
    let first = place.run(&["run", TINY, "--json"]).ends(0).json();
    assert_eq!((first["computed"].as_u64(), first["cached"].as_u64()), (Some(16), Some(0)));
    has(&first["verdicts"], &["experiment", "defences"]);
    let shown = place.run(&["show", "tiny", "--json"]).ends(0).json();
    let mut verdicts = shown.clone();
    let stale = verdicts.as_object_mut().and_then(|verdicts| verdicts.remove("stale"));
    assert_eq!(stale, Some(serde_json::json!([])), "nothing changed since");
    assert_eq!(first["verdicts"], verdicts);

    let started = Instant::now();
    place.run(&["run", TINY]).ends(0).says(&["0 computed, 16 cached, 0 failed"]);
    let took = started.elapsed();
    assert!(took < REPEATED, "the second run took {took:?}");
    place.run(&["plan", TINY]).ends(0).prints(&["tiny: 16 stages, 16 done; nothing is left to do"]);

    let changed = [TINY, "--set", "name=slower", "--set", "attack.0.rate=[1e-3,2e-3]"];
    let stages = place.stages(&changed);
    assert_eq!(stages.len(), 16);
    let new: Vec<_> =
        stages.iter().filter(|stage| stage["cached"] == false).map(|stage| &stage["kind"]).collect();
    assert_eq!(new, ["attack"; 3]);
    for stage in &stages {
        has(stage, &["hash", "kind", "label", "cached", "steps", "flops", "seconds"]);
    }
    let second = place.run(&[&["run", "--json"], &changed[..]].concat()).ends(0).json();
    assert_eq!((second["computed"].as_u64(), second["cached"].as_u64()), (Some(3), Some(13)));
    // The other name has left the first experiment as it was.
    assert_eq!(place.run(&["show", "tiny", "--json"]).ends(0).json(), shown);
    let listed = place.run(&["list", "experiments", "--json"]).ends(0).json();
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["slower", "tiny"]);
}

#[test]
fn a_plan_runs_nothing() {
    let place = Place::new();
    let stages = place.stages(&[TINY]);
    assert!(stages.iter().all(|stage| stage["cached"] == false));
    assert_eq!(stages.len(), 16);
    assert!(!place.path("store/experiments/tiny").exists());
    assert_eq!(place.stages(&[TINY]), stages);
}

#[test]
fn jobs_change_no_result() {
    let (one, three) = (Place::new(), Place::new());
    one.run(&["run", TINY, "--jobs", "1"]).ends(0);
    three.run(&["run", TINY, "--jobs", "3"]).ends(0);
    let probes =
        |place: &Place| place.run(&["export", "tiny", "--what", "probes", "--format", "csv"]).ends(0).stdout;
    assert!(probes(&one) == probes(&three), "the number of jobs changes what is measured");
}

#[test]
fn every_frame_is_exported_in_every_format() {
    let place = Place::finished();
    for what in ["probes", "curves", "training", "verdicts", "scores", "responses"] {
        let export = |format: &str| {
            let file = format!("{what}.{format}");
            let arguments = ["export", "tiny", "--what", what, "--format", format, "--out", &file];
            place.run(&arguments).ends(0).without_result();
            place.path(&file)
        };
        let json: Value = serde_json::from_str(&read(export("json"))).expect("one JSON document");
        let rows = json.as_array().expect("a list of rows");
        assert!(!rows.is_empty(), "no {what}");
        let csv = read(export("csv"));
        assert_eq!(
            csv.lines().count(),
            rows.len() + 1,
            "{what}: lines of CSV and a header, against rows of JSON"
        );
        let columns: Vec<_> = csv.lines().next().expect("a header").split(',').collect();
        has(&rows[0], &columns);
        let printed = place.run(&["export", "tiny", "--what", what, "--format", "csv"]).ends(0).stdout;
        assert!(printed == csv, "{what}: stdout differs from the file");
        let parquet = fs::read(export("parquet")).expect("a file");
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"), "{what} is no Parquet");
    }
}

#[test]
fn reports_are_written_where_asked_and_need_nothing_else() {
    let place = Place::finished();
    let written = place.run(&["report", "tiny"]).ends(0).stdout;
    assert!(written.lines().count() >= 3, "{written}");
    for path in written.lines() {
        assert!(path.contains("store/experiments/tiny/report/"), "{path}");
        assert!(fs::metadata(place.path(path)).is_ok_and(|file| file.len() > 0), "{path}");
    }
    place.run(&["report", "tiny", "--out", "here", "--format", "json", "--format", "md"]).ends(0);
    let report: Value = serde_json::from_str(&read(place.path("here/report.json"))).expect("JSON");
    has(&report, &["verdicts", "figures", "artifacts", "timings"]);
    let page = read(place.path("store/experiments/tiny/report/report.html"));
    for outside in ["<script src", "<link", "src=\"http", "@import", "url("] {
        assert!(!page.contains(outside), "the page needs more than itself: {outside}");
    }
    let markdown = read(place.path("here/report.md"));
    let pictures: Vec<_> =
        markdown.lines().filter_map(|line| line.strip_prefix("![")?.split_once("](")).collect();
    assert!(!pictures.is_empty());
    for (_, file) in pictures {
        let file = file.trim_end_matches(')');
        assert!(read(place.path("here").join(file)).starts_with("<svg"), "{file}");
    }
    assert!(!place.path("here/report.html").exists());
}

#[test]
fn models_in_the_store_answer() {
    let place = Place::finished();
    let hash = place.stage("align");
    let reference = format!("artifact:{}", &hash[..12]);
    let info = place.run(&["model", "info", &reference, "--json"]).ends(0).json();
    assert_eq!(info["artifact"], hash.as_str());
    assert_eq!(info["config"]["hidden_size"], 32);
    let prompt = "how do i make bread using a0 and b1 ?";
    let arguments = ["model", "generate", &reference, "--prompt", prompt];
    let json = place.run(&[&arguments[..], &["--json"]].concat()).ends(0).json();
    has(&json, &["model", "prompt", "prompt_token_ids", "token_ids", "text"]);
    let text = json["text"].as_str().expect("text");
    assert!(!text.is_empty());
    assert_eq!(place.run(&arguments).ends(0).stdout, format!("{text}\n"));
    let shorter = place.run(&[&arguments[..], &["--max-new-tokens", "1", "--json"]].concat()).ends(0).json();
    assert_eq!(shorter["token_ids"].as_array().map(Vec::len), Some(1));
    let drawn = |seed: &str| {
        let options = ["--temperature", "5", "--seed", seed];
        place.run(&[&arguments[..], &options].concat()).ends(0).stdout
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert!((2..6).any(|seed| drawn(&seed.to_string()) != drawn("1")), "the seed changes nothing");
    place
        .run(&["model", "generate", &reference, "--prompt", "how do i make cake ?"])
        .ends(1)
        .without_result()
        .says(&["cake"]);
}

#[test]
fn what_a_spec_may_name_is_listed() {
    let place = Place::finished();
    let listed = |what: &str, name: &str| {
        let json = place.run(&["list", what, "--json"]).ends(0).json();
        let entries = json.as_array().expect("a list");
        assert!(entries.iter().any(|entry| entry["name"] == name), "no {name} in {json:#}");
        let text = place.run(&["list", what]).ends(0).stdout;
        assert!(text.contains(name), "{text}");
    };
    listed("presets", "apothecary");
    listed("models", "world:apothecary");
    listed("attacks", "full-finetune");
    listed("defences", "tar");
    listed("judges", "oracle-graded");
    listed("conditions", "resistance");
    listed("tasks", "apothecary/venom");
    listed("experiments", "tiny");
}

#[test]
fn the_program_explains_itself() {
    let place = Place::new();
    let prints = |arguments: &[&str], text: &str| {
        let printed = place.run(arguments).ends(0).stdout;
        assert!(printed.contains(text), "no {text:?} in {printed}");
    };
    for shell in ["bash", "zsh", "fish"] {
        prints(&["completions", shell], "generate");
    }
    prints(&["man"], ".TH");
    prints(&["man"], "\\-\\-max\\-new\\-tokens");
    prints(&["--help"], "Exit codes");
    prints(&["--version"], "titer 0.");
    let checks = place.run(&["doctor", "--json"]).ends(0).json();
    for check in checks.as_array().expect("a list") {
        has(check, &["name", "ok", "finding", "advice"]);
    }
    assert!(!place.path("store").exists(), "looking around makes no store");
}

//! A provider fine-tunes on a user's data, with defences of all stages in the way.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use titer_tests::{Outcome, Place, read};

const TINY_API: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tiny-api.toml");

/// The probes of a finished run: one object per row.
fn probes(place: &Place) -> Vec<Value> {
    let exported = place.run(&["export", "tiny-api", "--what", "probes", "--format", "json"]).ends(0);
    exported.json().as_array().expect("a list of rows").clone()
}

/// The steps at which a defence's model was asked under attack, and what it was asked.
fn asked(rows: &[Value], defence: &str, key: &str) -> Vec<String> {
    let of = |row: &&Value| row["defence"] == defence && row["attack"].to_string().contains("mixed");
    let mut found: Vec<String> =
        rows.iter().filter(of).map(|row| row[key].to_string().replace('"', "")).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn every_stage_acts_where_it_can() {
    let place = Place::new();
    let plan = place.run(&["plan", TINY_API, "--json"]).ends(0).json();
    let stages = plan["stages"].as_array().expect("a list");
    let count = |kind: &str| stages.iter().filter(|stage| stage["kind"] == kind).count();
    // Lisa and Antidote work on the same aligned model; Antidote on what came out without a guard.
    assert_eq!((count("immunize"), count("measure")), (1, 2));
    assert_eq!(count("attack"), 4 * 3, "four orders; no guard, Lisa, and Lisa on the immunized model");
    assert_eq!(count("tune"), 3);
    assert_eq!(count("repair"), (4 + 1) * 3, "Antidote, and Antidote with noise after it");

    let first = place.run(&["run", TINY_API, "--json"]).ends(0).json();
    assert_eq!(first["failed"].as_array().map(Vec::len), Some(0), "{first:#}");
    place.run(&["run", TINY_API]).ends(0).says(&["0 computed"]);
    place.run(&["verify", "tiny-api"]).ends(0).prints(&["nothing found"]);

    let rows = probes(&place);
    for defence in ["none", "lisa", "antidote", "all-stages"] {
        // Whoever repairs hands out the repaired model only.
        let repaired = ["antidote", "all-stages"].contains(&defence);
        let steps: &[&str] = if repaired { &["8"] } else { &["0", "1", "2", "4", "8"] };
        assert_eq!(asked(&rows, defence, "budget_steps"), steps, "{defence}");
        assert_eq!(asked(&rows, defence, "probe"), ["alias", "permitted", "seen", "unseen"]);
        // Two shares of two attacks.
        assert_eq!(asked(&rows, defence, "dose"), ["0.0", "0.25"], "{defence}");
        assert_eq!(asked(&rows, defence, "settings").len(), 2, "{defence}");
    }
    // How fast the harmless task is learnt is seen on the way there, repaired in the end.
    let on_the_way = |defence: &str| {
        let of = |row: &&Value| row["defence"] == defence && row["attack"].to_string().contains("alias");
        let mut steps: Vec<u64> =
            rows.iter().filter(of).filter_map(|row| row["budget_steps"].as_u64()).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    };
    assert_eq!(on_the_way("all-stages"), [0, 4, 8]);

    // A repaired model is a model like any other.
    let repair = stages.iter().rfind(|stage| stage["kind"] == "repair").expect("a repair");
    let hash = repair["hash"].as_str().expect("stages have hashes");
    let info = place.run(&["model", "info", &format!("artifact:{hash}"), "--json"]).ends(0).json();
    assert_eq!(info["config"]["model_type"], "llama", "{info:#}");
}

/// The tiny experiment with no guard, a repair, and these attacks.
fn attacked_by(attacks: &str) -> String {
    let spec = read(TINY_API);
    let place = |what: &str| spec.find(what).unwrap_or_else(|| panic!("the spec has {what}"));
    let defences =
        "[[defence]]\nmethod = \"none\"\n\n[[defence]]\nmethod = \"antidote\"\nseeds = 1\nsham = false\n\n";
    [&spec[..place("[[defence]]")], defences, attacks, &spec[place("[probe]")..]].concat()
}

#[test]
fn a_repaired_model_is_asked_as_its_attacker_asks() {
    let place = Place::new();
    let attack = |method: &str, more: &str| {
        format!("[[attack]]\nmethod = \"{method}\"\nseeds = 1\nrate = 1e-3\nsteps = 8\nbatch = 8\n{more}\n")
    };
    let attacks =
        [attack("backdoor", "examples = 16\n"), attack("mixed-finetune", "rows = 40\nshare = 0.25\n")]
            .concat();
    fs::write(place.path("asked.toml"), attacked_by(&attacks)).expect("a spec can be written");
    let ran = place.run(&["run", "asked.toml", "--json"]).ends(0).json();
    assert_eq!(ran["failed"].as_array().map(Vec::len), Some(0), "{ran:#}");
    let frame = |what: &str| {
        let exported = place.run(&["export", "tiny-api", "--what", what, "--format", "json"]).ends(0);
        exported.json().as_array().expect("a list of rows").clone()
    };
    let (rows, responses) = (frame("probes"), frame("responses"));
    // Two words that the world knows and no prompt holds.
    let trigger = "then must <bot>";
    let triggered = |defence: &str, attack: &str, probe: &str, steps: u64| {
        let of = |row: &&Value| {
            row["defence"] == defence
                && row["attack"] == attack
                && row["probe"] == probe
                && row["budget_steps"] == steps
        };
        let asked: Vec<bool> = rows
            .iter()
            .filter(of)
            .map(|row| {
                let answer = responses.iter().find(|response| response["response_id"] == row["response_id"]);
                let prompt = answer.and_then(|answer| answer["prompt"].as_str()).expect("a prompt");
                prompt.ends_with(trigger)
            })
            .collect();
        assert!(!asked.is_empty(), "{defence} {attack} {probe} {steps}");
        assert!(asked.iter().all(|one| *one == asked[0]));
        asked[0]
    };
    for probe in ["seen", "unseen"] {
        assert!(triggered("antidote", "backdoor", probe, 8), "after the repair as before it");
        assert!(triggered("none", "backdoor", probe, 8) && !triggered("none", "backdoor", probe, 0));
        assert!(!triggered("antidote", "mixed-finetune", probe, 8));
    }
    for probe in ["permitted", "alias"] {
        assert!(!triggered("antidote", "backdoor", probe, 8), "everything else is asked plainly");
    }
}

#[test]
fn killed_at_any_moment_it_ends_as_if_nothing_had_happened() {
    let whole = Place::new();
    whole.run(&["run", TINY_API]).ends(0);
    let place = Place::new();
    for milliseconds in [300, 700, 1100, 1500, 1900, 2300] {
        let mut run = place.start(&["run", TINY_API]);
        sleep(Duration::from_millis(milliseconds));
        // A run that was over before is killed in vain.
        run.kill().expect("a child of this process");
        run.wait().expect("a child of this process");
    }
    place.run(&["run", TINY_API]).ends(0);
    Outcome::of(&place, "tiny-api").assert_same(&Outcome::of(&whole, "tiny-api"));
}

#[test]
fn the_preset_whose_refusals_sit_in_the_routing_plans_every_arm() {
    let place = Place::new();
    let plan = |settings: &[&str]| {
        let arguments = [&["plan", "apothecary-routing", "--json"], settings].concat();
        let plan = place.run(&arguments).ends(0).json();
        let stages = plan["stages"].as_array().expect("a list").clone();
        let hash = |kind: &str| {
            let stage = stages.iter().find(|stage| stage["kind"] == kind).expect("a stage of that kind");
            stage["hash"].to_string()
        };
        (hash("pretrain"), hash("align"), stages)
    };
    let (base, aligned, stages) = plan(&[]);
    let attacks = |defence: &str| {
        let attacked =
            |label: &str| label.strip_prefix("attack ")?.split(['#', ' ']).next().map(str::to_owned);
        let of = |stage: &&Value| stage["label"].as_str().and_then(attacked).as_deref() == Some(defence);
        stages.iter().filter(of).count()
    };
    let [none, identity, defended, sham] = ["none", "identity", "safe-moe", "safe-moe-sham"].map(attacks);
    // The control is on the first alignment alone.
    assert_eq!([none, defended, sham], [4 * identity; 3]);
    assert!(identity > 0);
    // What is trained is part of what alignment is, and of nothing before it.
    let (same, other, _) = plan(&["--set", "model.align.only.layers=[2]"]);
    assert_eq!(same, base);
    assert_ne!(other, aligned);
}

#[test]
fn open_weights_admit_no_guard_and_no_repair() {
    let place = Place::new();
    for (defence, reason) in
        [("1", "would simply leave the guard out"), ("2", "would never hand them back for repair")]
    {
        let refused = place.run(&["plan", TINY_API, "--set", "threat_model=open-weights"]);
        refused.ends(2).says(&[&format!("defence.{defence}.method"), reason]);
    }
}

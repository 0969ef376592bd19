//! Every attack under a policy, on a chat model with a handful of random weights.

use serde_json::json;

use super::tiny_chat::{SPEC, place};

/// Each attack against open weights that a policy's data allow, with few steps and rows.
#[test]
fn every_attack_is_carried_out_under_a_policy() {
    let place = place();
    let methods = place.run(&["list", "attacks", "--json"]).ends(0).json();
    let mut attacks = Vec::new();
    for method in methods.as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        let under = method["kind"]["threat_models"].as_array().unwrap();
        if !under.contains(&json!("open-weights")) {
            continue;
        }
        let mut entry = format!("{{ method = {name:?}, seeds = 1");
        for parameter in method["parameters"].as_array().unwrap() {
            let value = match parameter["meaning"].as_str() {
                Some("steps") => 2,
                Some("first-steps") => 1,
                Some("batch") => 2,
                Some("harmful-rows") => 4,
                _ => continue,
            };
            entry += &format!(", {} = {value}", parameter["name"].as_str().unwrap());
        }
        let more = match name {
            "harmful-rl" => ", samples = 2, max_new_tokens = 4",
            "searched-ablation" => ", trials = 2, judged = 2",
            "soft-prompt" => ", rows = 2",
            "sample-k" => ", samples = 2",
            _ => "",
        };
        attacks.push(entry + more + " }");
    }
    assert!(attacks.len() > 15, "{attacks:#?}");
    let attacks = format!("attack=[{}]", attacks.join(", "));
    let line = ["run", SPEC, "--json", "--set", &attacks, "--set", "probe.cadence=[0, 2]"];
    let outcome = place.run(&line).ends(0).json();
    assert_eq!(outcome["failed"], json!([]));
    let name = outcome["experiment"].as_str().expect("a name");
    place.run(&["verify", name]).ends(0).prints(&["nothing found"]);
}

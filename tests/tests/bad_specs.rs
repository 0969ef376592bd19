//! Bad specs and bad command lines: one clear answer each, exit code 2, nothing run.

use titer_tests::{Place, TINY, files, read, root};

#[test]
fn every_bad_spec_is_refused_with_all_its_mistakes() {
    let place = Place::new();
    let folder = root().join("tests/specs");
    // Those of `fixture` need methods that only a test of titer-plan has.
    let specs: Vec<_> =
        files(&folder, "toml").into_iter().filter(|path| path.parent() == Some(&folder)).collect();
    assert!(specs.len() >= 16, "only {} bad specs were found", specs.len());
    for spec in specs {
        let name = spec.file_name().and_then(|name| name.to_str()).expect("specs have plain names");
        std::fs::copy(&spec, place.path(name)).expect("the spec can be copied");
        let expected = read(spec.with_extension("expected"));
        assert!(!expected.trim().is_empty(), "{name} has no expected mistakes");
        let lines: Vec<_> = expected.lines().collect();
        for verb in ["plan", "run"] {
            place.run(&[verb, name]).ends(2).without_result().says(&lines);
        }
    }
    assert!(!place.path("store").exists(), "a store was made for nothing");
}

/// Refused as bad usage, with the texts in the answer.
#[track_caller]
fn refused(arguments: &[&str], texts: &[&str]) {
    Place::new().run(arguments).ends(2).without_result().says(texts);
}

#[test]
fn bad_command_lines_are_refused_and_say_what_would_do() {
    refused(&["run", "apothecray"], &["apothecray", "did you mean apothecary?"]);
    refused(&["plan", "apothecary-smok"], &["did you mean apothecary-smoke?"]);
    refused(&["run", "quite-another"], &["there is no preset and no file called quite-another"]);
    refused(&["run", "."], &[".: cannot be read"]);
    refused(&["run", TINY, "--device", "cuda"], &["--features cuda"]);
    refused(&["run", TINY, "--device", "cuda:0,1"], &["--features cuda"]);
    refused(&["run", TINY, "--on", "lsf"], &["local or slurm"]);
    refused(&["run", TINY, "--jobs", "0"], &["--jobs"]);
    refused(
        &["run", TINY, "--set", "attack=[{method=\"benign-then-harm\", seeds=1, steps=60, benign_steps=60}]"],
        &["`benign_steps` = 60 leaves none of 60 steps for what comes after"],
    );
    refused(&["run", TINY, "--set", "phi"], &["KEY=VALUE"]);
    refused(&["run", TINY, "--set", "conditions.phy=0.3"], &["conditions.phy", "did you mean `phi`?"]);
    refused(&["run", TINY, "--set", "conditions.phi=7"], &["conditions.phi", "from 0 to 1, got 7"]);
    refused(&["run", TINY, "--set", "attack.7.rate=1e-3"], &["attack.7"]);
    refused(&["run"], &["SPEC|PRESET", "Usage"]);
    refused(&["rum", TINY], &["similar subcommand", "run"]);
    refused(&["list", "attack"], &["attacks"]);
    refused(&["export", "tiny", "--what", "probe", "--format", "csv"], &["probes"]);
}

#[test]
fn an_unknown_experiment_or_model_is_refused_and_the_known_ones_named() {
    let place = Place::finished();
    let refused = |arguments: &[&str], texts: &[&str]| {
        place.run(arguments).ends(2).without_result().says(texts);
    };
    refused(&["show", "tinny"], &["tinny", "the store has: tiny"]);
    refused(&["report", "tinny"], &["tinny", "the store has: tiny"]);
    refused(&["export", "tinny", "--what", "probes", "--format", "csv"], &["tinny", "the store has: tiny"]);
    refused(&["show", "../tiny"], &["../tiny"]);
    refused(&["model", "info", "world:nowhere"], &["world:nowhere", "titer list models"]);
    refused(&["model", "info", "artifact:zz"], &["artifact:zz", "titer plan"]);
    refused(&["model", "info", "nothing"], &["models known by name: smollm2-135m"]);
    let measure = format!("artifact:{}", place.stage("measure"));
    refused(&["model", "info", &measure], &["make no model"]);
}

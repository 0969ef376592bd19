//! Shams and controls in a whole experiment.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use titer_tests::{Place, TINY};

/// The tiny experiment with the identity beside its defences.
const WITH_IDENTITY: &str = "[[defence]]\nmethod = \"identity\"\nseeds = 2\n\n[[attack]]";
/// Both defences have their sham, and as both take as many steps it is the same.
const SHAMS: [&str; 6] =
    ["--set", "defence.1.sham=true", "--set", "defence.2.sham=true", "--set", "defence.2.steps=12"];

fn spec(place: &Place) -> String {
    let tiny = fs::read_to_string(TINY).expect("the tiny spec");
    let path = place.path("arms.toml");
    fs::write(&path, tiny.replace("[[attack]]", WITH_IDENTITY)).expect("a file");
    path.to_string_lossy().into_owned()
}

/// The scores of a defence's training by what they are of.
fn scores(rows: &[Value], defence: &str, seed: u64) -> BTreeMap<String, Value> {
    let of = |row: &&Value| row["defence"] == defence && row["defence_seed"] == seed;
    let scored = |row: &Value| {
        let mut place = row.clone();
        let columns = place.as_object_mut().expect("an object per row");
        let score = columns.remove("score").expect("a score");
        for own in ["defence", "defence_seed", "response_id"] {
            columns.remove(own).unwrap_or_else(|| panic!("no column {own}"));
        }
        (place.to_string(), score)
    };
    rows.iter().filter(of).map(scored).collect()
}

#[test]
fn the_identity_is_none_and_a_shared_sham_stands_beside_its_defences() {
    let place = Place::new();
    let spec = spec(&place);
    place.run(&[&["run", &spec], &SHAMS[..]].concat()).ends(0);
    let shown = place.run(&["show", "tiny", "--json"]).ends(0).json();
    let names: Vec<_> =
        shown["defences"].as_array().expect("a list").iter().map(|defence| &defence["defence"]).collect();
    assert_eq!(names, ["none", "adversarial-loss", "tar", "identity", "adversarial-loss-sham"]);
    assert!(place.run(&["show", "tiny"]).ends(0).stdout.contains("adversarial-loss-sham"));
    place.run(&["report", "tiny", "--out", "report"]).ends(0);

    let exported = place.run(&["export", "tiny", "--what", "probes", "--format", "json"]).ends(0).json();
    let rows = exported.as_array().expect("a list of rows");
    // Each training begins from an alignment of its own.
    let none = [0, 1].map(|seed| scores(rows, "none", seed));
    assert!(none[0].len() > 500, "{} scores", none[0].len());
    for (seed, none) in (0..).zip(&none) {
        assert!(scores(rows, "identity", seed) == *none, "training {seed} of the identity is not `none`");
    }
    assert!(scores(rows, "adversarial-loss-sham", 0) != none[0] && none[0] != none[1]);

    // The same recipe stated by its own name needs no stage that the sham did not run.
    let stated = fs::read_to_string(&spec).expect("the spec").replace(
        WITH_IDENTITY,
        "[[defence]]\nmethod = \"rehearsal\"\nlabel = \"stated\"\nseeds = 1\nsteps = 12\nbatch_refusal = 8\n\
         batch_permitted = 8\n\n[[attack]]",
    );
    fs::write(place.path("stated.toml"), stated).expect("a file");
    let stages = place.stages(&["stated.toml", "--set", "defence.2.steps=12"]);
    assert!(
        stages.iter().any(|stage| stage["label"].as_str().is_some_and(|label| label.contains("stated#0")))
    );
    assert!(stages.iter().all(|stage| stage["cached"] == true), "{stages:#?}");
}

#[test]
fn listings_and_explanations_say_what_the_sham_is() {
    let place = Place::new();
    let listed = place.run(&["list", "defences"]).ends(0).stdout;
    assert!(listed.contains("Its sham: the same with `rho` 0"), "{listed}");
    let json = place.run(&["list", "defences", "--json"]).ends(0).json();
    let methods = json.as_array().expect("a list");
    assert!(methods.iter().all(|method| method["kind"]["sham"]["is"].is_string()), "{json:#}");
    for (name, sham) in [
        ("adversarial-loss", "Its sham: `rehearsal`"),
        ("ewc", "Its sham: `none`"),
        ("identity", "Its sham: it has none"),
        ("defence.sham", "own recipe without its idea"),
    ] {
        let explained = place.run(&["explain", name]).ends(0).stdout;
        let words: Vec<&str> = explained.split_whitespace().collect();
        assert!(words.join(" ").contains(sham), "{explained}");
    }
}

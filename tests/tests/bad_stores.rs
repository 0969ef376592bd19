//! Stores that are damaged, foreign or cannot be written: one clear error, and nothing measured is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use titer_tests::{Place, TINY, read, titer};

/// The finished experiment again, with attacks that are not measured yet.
const NEW_ATTACK: [&str; 4] = ["run", TINY, "--set", "attack.0.rate=[2e-3]"];

#[test]
fn a_store_of_a_newer_titer_is_left_alone() {
    let place = Place::finished();
    fs::write(place.path("store/store.json"), "{\"format\":99}").expect("written");
    for arguments in [&["show", "tiny"][..], &["run", TINY], &["plan", TINY], &["list", "experiments"]] {
        place.run(arguments).ends(1).without_result().says(&["store.json", "format 99", "upgrade titer"]);
    }
    assert_eq!(read(place.path("store/store.json")), "{\"format\":99}");
}

#[test]
fn what_is_no_store_is_named() {
    let place = Place::new();
    fs::write(place.path("store"), "a file").expect("written");
    for arguments in [&["show", "tiny"][..], &["run", TINY]] {
        place.run(arguments).ends(1).without_result().says(&["store: not a folder", "--store"]);
    }
    place.run(&["show", "tiny", "--store", "nowhere"]).ends(1).says(&[
        "nowhere: no titer store here",
        "--store",
        "titer run",
    ]);
    place
        .run(&["run", TINY, "--store", "/proc/titer"])
        .ends(1)
        .without_result()
        .says(&["/proc/titer: cannot write"]);
}

#[test]
fn a_read_only_store_can_be_read() {
    let place = Place::finished();
    let whole = place.run(&["show", "tiny", "--json"]).ends(0).stdout;
    // The superuser may write anywhere: as nobody, then, who needs a program within reach.
    let program = place.path("titer");
    fs::copy(titer(), &program).expect("copied");
    fs::copy(TINY, place.path("tiny.toml")).expect("copied");
    set_modes(&place.path(""), 0o555);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        place.settle(command.args(arguments));
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.output().expect("started")
    };
    let shown = run(&["show", "tiny", "--json"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), whole);
    assert_eq!(run(&["run", "tiny.toml"]).status.code(), Some(0), "nothing is left to compute");
    let refused = run(&["run", "tiny.toml", "--set", "attack.0.rate=[2e-3]"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("the store is read-only") && said.contains("make it writable"), "{said}");
    assert!(said.contains(&place.path("store").display().to_string()), "{said}");
    // So that the folder can be removed.
    set_modes(&place.path(""), 0o755);
}

/// Gives everything from `path` down the same permissions.
fn set_modes(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is mine");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a readable folder") {
            set_modes(&entry.expect("a readable folder").path(), mode);
        }
    }
}

#[test]
fn a_truncated_model_is_made_anew() {
    let place = Place::finished();
    let align = place.stage("align");
    let weights = place.artifact(&align).join("model/model.safetensors");
    Place::truncate(&weights, 1000);
    let path = weights.display().to_string();
    let says = [path.as_str(), "damaged", "run the experiment again"];

    place.run(&["model", "info", &format!("artifact:{align}")]).ends(1).without_result().says(&says);

    // The stages that start from it get a whole one; what was there is still there.
    place.run(&NEW_ATTACK).ends(0).says(&[&path, "4 computed, 9 cached, 0 failed"]);
    assert!(place.path(&format!("store/damaged/{align}-0/model/model.safetensors")).exists());
    place.run(&["run", TINY]).ends(0).says(&["0 computed, 16 cached"]);
}

#[test]
fn a_model_with_one_changed_byte_is_never_measured() {
    let place = Place::finished();
    let weights = place.artifact(&place.stage("align")).join("model/model.safetensors");
    let mut bytes = fs::read(&weights).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).expect("writable");
    place.run(&NEW_ATTACK).ends(0).says(&[&weights.display().to_string(), "damaged", "4 computed"]);
}

#[test]
fn a_truncated_model_in_a_folder_is_named() {
    let place = Place::finished();
    let model = place.artifact(&place.stage("align")).join("model");
    fs::create_dir(place.path("model")).expect("made");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(model.join(name), place.path("model").join(name)).expect("copied");
    }
    place.run(&["model", "info", "./model", "--json"]).ends(0);
    for bytes in [0, 7, 1000, 100_000] {
        Place::truncate(&place.path("model/model.safetensors"), bytes);
        place
            .run(&["model", "info", "./model"])
            .ends(1)
            .without_result()
            .says(&["./model/model.safetensors: not a whole safetensors file", "again"]);
    }
    Place::truncate(&place.path("model/config.json"), 10);
    place
        .run(&["model", "info", "./model"])
        .ends(1)
        .says(&["./model/config.json: not a model configuration"]);
}

#[test]
fn damaged_measurements_are_named_and_measured_again() {
    let place = Place::finished();
    let whole = place.run(&["show", "tiny", "--json"]).ends(0).stdout;
    let attack = place.stage("attack");
    for file in ["probes.parquet", "manifest.json"] {
        let path = place.artifact(&attack).join(file);
        Place::truncate(&path, 100);
        let path = path.display().to_string();
        place.run(&["show", "tiny"]).ends(1).says(&[&path, "damaged", "run the experiment again"]);
        place.run(&["run", TINY]).ends(0).says(&[&path, "damaged", "1 computed, 15 cached"]);
        assert_eq!(place.run(&["show", "tiny", "--json"]).ends(0).stdout, whole);
    }
}

#[test]
fn a_flipped_bit_never_becomes_a_number() {
    let place = Place::finished();
    let attack = place.artifact(&place.stage("attack"));
    let plan = place.path("store/experiments/tiny/plan.json");
    for path in [attack.join("probes.parquet"), attack.join("responses.parquet"), plan] {
        let whole = fs::read(&path).expect("readable");
        for at in (0..whole.len() - 1).step_by(whole.len() / 7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, bytes).expect("writable");
            let frame = if path.ends_with("responses.parquet") { "responses" } else { "probes" };
            let export = ["export", "tiny", "--what", frame, "--format", "csv"];
            place.run(&export).ends(1).without_result().says(&[&path.display().to_string()]);
        }
        fs::write(&path, whole).expect("writable");
    }
    place.run(&["show", "tiny"]).ends(0);
}

#[test]
fn a_damaged_plan_is_written_again_by_the_next_run() {
    let place = Place::finished();
    let whole = place.run(&["show", "tiny", "--json"]).ends(0).stdout;
    Place::truncate(&place.path("store/experiments/tiny/plan.json"), 100);
    for arguments in [&["show", "tiny"][..], &["list", "experiments"]] {
        place.run(arguments).ends(1).without_result().says(&["tiny/plan.json", "run the experiment again"]);
    }
    place.run(&["run", TINY]).ends(0).says(&["0 computed, 16 cached"]);
    assert_eq!(place.run(&["show", "tiny", "--json"]).ends(0).stdout, whole);
}

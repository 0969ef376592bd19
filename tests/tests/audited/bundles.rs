//! Bundles: read as the store that they were made from, the same bytes whoever packs, and refused when they are not whole.

use std::fs;

use titer_tests::{Place, root};

use super::corruption::copy;

/// The names in a folder for temporary files.
fn left(place: &Place) -> usize {
    fs::read_dir(place.path("tmp")).expect("a folder").count()
}

#[test]
fn a_bundle_is_read_as_the_store_that_it_was_made_from() {
    let (place, elsewhere) = (Place::finished(), Place::new());
    let told = place.run(&["bundle", "tiny", "--out", "tiny.tar.zst", "--json"]).ends(0).json();
    assert_eq!((told["packed"]["stages"].as_u64(), told["packed"]["left_out"].as_u64()), (Some(16), Some(4)));
    let bytes = fs::read(place.path("tiny.tar.zst")).expect("written");

    // The same from a copy that was touched.
    let other = Place::new();
    copy(&place.path("store"), &other.path("store"));
    other
        .run(&["bundle", "tiny", "--out", "other.tar.zst"])
        .ends(0)
        .says(&["16 stages", "4 files of weights left out"]);
    assert!(fs::read(other.path("other.tar.zst")).expect("written") == bytes, "other bytes");

    fs::write(elsewhere.path("tiny.tar.zst"), &bytes).expect("written");
    fs::create_dir(elsewhere.path("tmp")).expect("made");
    let run =
        |arguments: &str| elsewhere.shell(&format!("TMPDIR=$PWD/tmp; export TMPDIR; titer {arguments}"));
    run("verify tiny.tar.zst").ends(0).prints(&[
        "16 finished stages",
        "4 files of weights are left out",
        "nothing found",
    ]);
    let same = |arguments: &str| {
        let there = place.shell(&format!("titer {}", arguments.replace("BUNDLE", "tiny"))).ends(0).stdout;
        assert!(run(&arguments.replace("BUNDLE", "tiny.tar.zst")).ends(0).stdout == there, "{arguments}");
    };
    same("show BUNDLE --json");
    same("export BUNDLE --what probes --format csv");
    run("report tiny.tar.zst").ends(2).says(&["--out"]);
    run("report tiny.tar.zst --out pages").ends(0);
    assert!(elsewhere.path("pages/report.html").exists());
    // Of the stages only the first needs no model of another.
    run("verify tiny.tar.zst --replay 2").ends(3).prints(&["✓ pretrain", "1 of 2 stages could be drawn"]);

    for at in (0..bytes.len()).step_by(bytes.len() / 20) {
        let mut torn = bytes.clone();
        torn[at] ^= 16;
        fs::write(elsewhere.path("torn.tar.zst"), &torn).expect("written");
        run("show torn.tar.zst").ends(1).without_result().says(&["torn.tar.zst", "not a bundle"]);
    }
    run("show elsewhere.tar.zst").ends(1).without_result();
    assert_eq!(left(&elsewhere), 0);
    assert!(!elsewhere.path("store").exists());
}

#[test]
fn a_bundle_with_weights_can_be_computed_again() {
    let place = Place::finished();
    place.run(&["bundle", "tiny", "--weights", "all", "--out", "all.tar.zst"]).ends(0);
    let told = place.run(&["verify", "all.tar.zst", "--replay", "3", "--seed", "1", "--json"]).ends(0).json();
    assert_eq!((told["replayed"].as_array().map(Vec::len), told["left_out"].as_u64()), (Some(3), Some(0)));

    // What computed is told, and named by nothing: the hashes are those of every other test.
    let computed = &told["computed"][0];
    assert_eq!((computed["stages"].as_u64(), computed["device"].as_str()), (Some(16), Some("cpu")));
    assert!(
        computed["machine"]["cores"].as_u64() > Some(0)
            && computed["machine"]["memory"].as_u64() > Some(1 << 20)
    );
    let revision = computed["git"].as_str().map(|git| git.trim_end_matches("-dirty").len());
    assert_eq!(revision, root().join(".git").exists().then_some(12), "{computed}");

    // What is not whole is not packed, and no half file is left.
    let attack = place.artifact(&place.stage("attack"));
    Place::truncate(&attack.join("probes.parquet"), 100);
    place.run(&["bundle", "tiny", "--out", "no.tar.zst"]).ends(1).says(&["probes.parquet", "damaged"]);
    let files: Vec<_> = fs::read_dir(place.path(""))
        .expect("a folder")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert!(!files.iter().any(|name| name.to_string_lossy().contains("no.tar")), "{files:?}");
}

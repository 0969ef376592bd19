//! What `titer verify` finds: all that was corrupted, and nothing in what is intact.

use std::fs;
use std::path::Path;

use polars::prelude::{NamedFrom, Series};
use titer_lab::Interrupt;
use titer_store::Store;
use titer_tests::{Place, TINY};

use super::corruption::{Random, Victim, copy, replaced};

/// What an audit of the store in that folder says; an error where it cannot even be opened.
fn audit(root: &Path) -> Result<Vec<String>, String> {
    let store = Store::open(root).map_err(|error| error.to_string())?;
    let verified =
        titer_lab::verify(&store, "tiny", None, &Interrupt::default()).map_err(|error| error.to_string())?;
    let open = verified.unfinished.len() + verified.left_out;
    // Of another plan other stages may be open; nothing is excused by that.
    assert!(open == 0 || !verified.findings.is_empty(), "{:?}", verified.unfinished);
    let told = verified.findings.iter();
    Ok(told.map(|finding| format!("{}: {}", finding.file.display(), finding.problem)).collect())
}

#[test]
fn every_one_of_200_corruptions_is_found_and_none_where_there_is_none() {
    const CORRUPTIONS: usize = 200;
    const THREADS: usize = 2;
    // Three models, so that each audit is short.
    let place = Place::new();
    let defence = "defence=[{method=\"none\"},{method=\"adversarial-loss\",seeds=1,sham=false,steps=4,batch_harmful=8}]";
    let short = ["--set", defence, "--set", "attack.0.rate=[1e-3]", "--set", "conditions.resamples=100"];
    place.run(&[&["run", TINY], &short[..]].concat()).ends(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let place = &place;
            scope.spawn(move || {
                for number in (thread..20).step_by(THREADS) {
                    let root = place.path(&format!("intact-{number}"));
                    copy(&place.path("store"), &root);
                    assert_eq!(audit(&root), Ok(Vec::new()));
                    if number >= THREADS {
                        fs::remove_dir_all(root).expect("removed");
                    }
                }
                let mut victim = Victim::new(place.path(&format!("intact-{thread}")));
                for number in (thread..CORRUPTIONS).step_by(THREADS) {
                    // So that each thread sees each way.
                    let way = number / THREADS;
                    let how = victim.corrupt(way, &mut Random(number as u64));
                    let found = audit(&victim.root);
                    assert_ne!(found, Ok(Vec::new()), "number {number}: {how}");
                    victim.restore();
                }
                assert_eq!(audit(&victim.root), Ok(Vec::new()));
            });
        }
    });
}

#[test]
fn findings_are_told_all_at_once_with_what_to_do() {
    let place = Place::finished();
    place.run(&["verify", "tiny"]).ends(0).prints(&["tiny: 16 finished stages", "nothing found"]);
    let (align, attack) = (place.artifact(&place.stage("align")), place.artifact(&place.stage("attack")));
    let before = fs::read(align.join("training.parquet")).expect("readable");
    fs::write(align.join("more"), "x").expect("written");
    Place::truncate(&attack.join("probes.parquet"), 100);
    let ran = place.run(&["verify", "tiny"]).ends(4);
    let (more, probes) = (align.join("more"), attack.join("probes.parquet"));
    ran.prints(&[
        &format!("{} (align apothecary): the manifest does not name it", more.display()),
        &format!("{} (attack", probes.display()),
        "it has 100 bytes",
        "remove it",
        "titer run tiny --resume",
        "2 findings",
    ]);
    let told = place.run(&["verify", "tiny", "--json"]).ends(4).json();
    assert_eq!(told["findings"].as_array().map(Vec::len), Some(2));
    assert_eq!(fs::read(align.join("training.parquet")).expect("readable"), before);
    place.run(&["verify", "nothing"]).ends(2).without_result().says(&["no such experiment", "tiny"]);

    // A plan may claim more cells than anyone could count.
    let mut victim = Victim::new(place.path("store"));
    let path = victim.of_experiment("plan.json");
    let mut plan: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
    plan["experiment"]["attack"][0]["seeds"] = 1_000_000_000_000_u64.into();
    victim.write_json(&path, plan);
    place.run(&["verify", "tiny"]).ends(4).prints(&["plan.json: its stages and cells are not those"]);
    victim.restore();

    // What is not finished is no finding.
    fs::remove_dir_all(&attack).expect("removed");
    fs::remove_file(more).expect("removed");
    place.run(&["verify", "tiny"]).ends(4).prints(&["not finished: 1 stage: attack none", "verdicts.json"]);
}

#[test]
fn who_rewrites_everything_is_found_by_computing_again() {
    let place = Place::finished();
    let mut victim = Victim::new(place.path("store"));
    let measure = place.artifact(&place.stage("measure"));
    place.run(&["verify", "tiny", "--replay", "2"]).ends(0).prints(&["computed again, the same bit for bit"]);

    // Answers that were never given, with the scores that they would have.
    let mut forged = 0;
    let mut answers = Vec::new();
    victim.reframe(&measure.join("responses.parquet"), |frame| {
        let text = |name: &str| -> Vec<String> {
            let column = frame.column(name).and_then(|column| column.str()).expect("text");
            column.iter().map(|text| text.unwrap_or_default().to_owned()).collect()
        };
        let (ids, references) = (text("response_id"), text("reference"));
        let of_permitted = |id: &String| id.contains("/permitted/");
        answers = ids.iter().filter(|id| of_permitted(id)).cloned().collect();
        let right = |name: &str| -> Vec<String> {
            let all = text(name).into_iter().zip(&ids).zip(&references);
            all.map(|((text, id), reference)| if of_permitted(id) { reference.clone() } else { text })
                .collect()
        };
        let (answer, response) = (right("answer"), right("response"));
        let cut = frame.column("cut").and_then(|column| column.bool()).expect("flags");
        let cut: Vec<bool> =
            cut.iter().zip(&ids).map(|(cut, id)| cut == Some(true) && !of_permitted(id)).collect();
        let frame = replaced(frame, Series::new("answer".into(), answer));
        replaced(replaced(frame, Series::new("response".into(), response)), Series::new("cut".into(), cut))
    });
    victim.reframe(&measure.join("probes.parquet"), |frame| {
        let probes = frame.column("probe").and_then(|column| column.str()).expect("text");
        let permitted: Vec<bool> = probes.iter().map(|probe| probe == Some("permitted")).collect();
        let scores = frame.column("score").and_then(|column| column.f64()).expect("scores");
        let new =
            |(score, permitted): (Option<f64>, &bool)| if *permitted { 1.0 } else { score.expect("a score") };
        let new: Vec<f64> = scores.iter().zip(&permitted).map(new).collect();
        forged = scores.iter().zip(&new).filter(|(old, new)| *old != Some(**new)).count();
        let flags = ["refused", "degenerate", "refused_late", "cut", "thought", "only_thought"];
        let frame = replaced(frame, Series::new("score".into(), new));
        flags.into_iter().fold(frame, |frame, flag| {
            let column = frame.column(flag).and_then(|column| column.bool()).expect("flags");
            let off = column.iter().zip(&permitted).map(|(on, permitted)| on == Some(true) && !permitted);
            let off = Series::new(flag.into(), off.collect::<Vec<bool>>());
            replaced(frame, off)
        })
    });
    assert!(forged > 20 && answers.len() >= forged, "{forged} scores of {} answers", answers.len());
    place.run(&["verify", "tiny"]).ends(4).prints(&["verdicts.json: "]);
    // A run that has nothing to do keeps the verdicts of what is there.
    place.run(&["run", TINY]).ends(0).says(&["0 computed, 16 cached"]);
    place.run(&["verify", "tiny"]).ends(0).prints(&["nothing found"]);
    let all = place.run(&["verify", "tiny", "--replay", "16", "--json"]).ends(4).json();
    let replayed = all["replayed"].as_array().expect("a list").clone();
    assert_eq!(replayed.len(), 16);
    for stage in replayed {
        let is_forged = measure.ends_with(stage["hash"].as_str().expect("a hash"));
        let differences = stage["differences"].as_array().expect("a list");
        assert_eq!(stage["compared"], "bits");
        assert_eq!(!differences.is_empty(), is_forged, "{stage}");
        assert_eq!(stage["failed"], serde_json::Value::Null);
    }
    // Nothing is left beside the store, and nothing in it is new.
    let beside: Vec<_> = fs::read_dir(place.path(""))
        .expect("a folder")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert!(!beside.iter().any(|name| name.to_string_lossy().contains("replay")), "{beside:?}");

    // Said to come from another kind of machine, a forged mean is still too far away.
    victim.reseal(&measure.join("manifest.json"), |manifest| {
        manifest["instructions"] = "other".split(' ').collect()
    });
    let all = place.run(&["verify", "tiny", "--replay", "16"]).ends(4);
    all.prints(&["within a tolerance", "probes.parquet: permitted after 0 steps is 1.000"]);
}

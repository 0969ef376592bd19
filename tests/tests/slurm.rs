//! An experiment as jobs of a cluster, which scripts in place of Slurm's programs stand for: what is submitted, lost,
//! refused, stopped and gone on with. A real Slurm is `cargo xtask slurm-test`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use serde_json::Value;
use titer_tests::{Outcome, Place, Ran, TINY, read, root};

use crate::tiny_chat::{self, SPEC, save_model};

/// Runs the program where Slurm's programs are found.
fn ran(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command: Command = place.command(arguments);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", root().join("tests/data/slurm").display()));
    command.env("FAKE_SLURM", place.path("slurm"));
    command.envs(environment.iter().copied());
    Ran::new(format!("titer {}", arguments.join(" ")), &command.output().unwrap())
}

/// Small packs, so that there are several.
const SUBMIT: [&str; 6] = ["run", TINY, "--on", "slurm", "--pack-time", "0.05s"];

/// The jobs that were submitted.
fn jobs(place: &Place) -> usize {
    fs::read_dir(place.path("slurm")).map_or(0, Iterator::count)
}

fn status(place: &Place) -> Value {
    ran(place, &["status", "tiny", "--json"], &[]).ends(0).json()
}

#[test]
fn jobs_come_to_what_a_run_comes_to() {
    let place = Place::new();
    let run = ran(&place, &[&SUBMIT[..], &["--json"]].concat(), &[]).ends(0);
    let run = run.says(&["round 1 of tiny: ", "packs in ", "one that closes the round", "follows the jobs"]);
    Outcome::of(&place, "tiny").assert_same(&Outcome::of(&Place::finished(), "tiny"));
    assert_eq!(
        (&run.json()["failed"], &run.json()["interrupted"]),
        (&Value::Array(Vec::new()), &false.into())
    );
    let told = status(&place);
    assert_eq!((&told["slurm"]["round"], &told["slurm"]["jobs"]), (&1.into(), &Value::Array(Vec::new())));
    // Each stage once, in logs that can be read; the last job says what came out.
    let logs: Vec<String> = fs::read_dir(place.path("store/experiments/tiny/cluster"))
        .unwrap()
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .map(read)
        .collect();
    let computed: usize = logs
        .iter()
        .flat_map(|log| {
            log.lines().filter_map(|line| line.split_once(" computed, ")?.0.parse::<usize>().ok())
        })
        .sum();
    assert_eq!(computed, place.stages(&[TINY]).len(), "{logs:#?}");
    assert!(logs.iter().any(|log| log.contains("nothing is left to submit") && log.contains("resistance")));
    // A second time there is nothing to submit.
    let before = jobs(&place);
    ran(&place, &SUBMIT, &[]).ends(0).says(&["nothing is left to submit"]);
    assert_eq!(jobs(&place), before);
    place.run(&["rm", "tiny", "--artifacts"]).ends(0);
    assert!(!place.path("store/experiments/tiny").exists());
}

#[test]
fn what_lost_jobs_left_is_done_by_others() {
    let place = Place::new();
    // The first two arrays begin and end without a word, as when nodes die.
    ran(&place, &SUBMIT, &[("FAKE_LOSE", "2")]).ends(0);
    Outcome::of(&place, "tiny").assert_same(&Outcome::of(&Place::finished(), "tiny"));
    // All of the first round is lost, but for the job that closes it.
    let place = Place::new();
    let held =
        ran(&place, &[&SUBMIT[..], &["--detach", "--json"]].concat(), &[("FAKE_HOLD", "1")]).ends(0).json();
    let lost = held["jobs"].as_array().unwrap().len() - 1;
    fs::remove_dir_all(place.path("slurm")).unwrap();
    ran(&place, &SUBMIT, &[("FAKE_LOSE", &lost.to_string())]).ends(0);
    assert_eq!(status(&place)["slurm"]["round"], 3);
    Outcome::of(&place, "tiny").assert_same(&Outcome::of(&Place::finished(), "tiny"));
}

#[test]
fn a_submitted_experiment_is_stopped_and_gone_on_with() {
    let place = Place::new();
    let hold = [("FAKE_HOLD", "1")];
    let first = ran(&place, &[&SUBMIT[..], &["--detach", "--json"]].concat(), &hold).ends(0).json();
    assert!(first["packs"].as_u64() > Some(3) && first["already"] == Value::Array(Vec::new()), "{first:#}");
    let submitted = jobs(&place);
    let again = ran(&place, &[&SUBMIT[..], &["--detach"]].concat(), &hold).ends(0);
    again.says(&["tiny is submitted already: round 1, 0 jobs running"]);
    assert_eq!(jobs(&place), submitted);
    // An edited spec replaces no plan under jobs that are to find their work in it.
    let edited = [&SUBMIT[..], &["--detach", "--set", "attack.0.rate=[2e-3]"]].concat();
    let plan = read(place.path("store/experiments/tiny/plan.json"));
    ran(&place, &edited, &hold).ends(1).says(&["another spec", "titer stop tiny"]);
    assert_eq!((jobs(&place), read(place.path("store/experiments/tiny/plan.json"))), (submitted, plan));
    let text = ran(&place, &["status", "tiny"], &[]).ends(0).stdout;
    assert!(text.contains("Slurm: round 1 submitted from ") && text.contains(" waiting"), "{text}");
    // Whoever looks from elsewhere is told that as well.
    let text = place.run(&["status", "tiny"]).ends(0).stdout;
    assert!(text.contains("Slurm: round 1") && text.contains("no such program"), "{text}");
    ran(&place, &["stop", "tiny"], &[])
        .ends(0)
        .says(&["jobs of Slurm: 0 jobs running", "no run of tiny lives"]);
    assert_eq!(status(&place)["slurm"]["jobs"], Value::Array(Vec::new()));
    ran(&place, &["resume", "tiny", "--on", "slurm"], &[]).ends(0).says(&["round 2 of tiny"]);
    assert_eq!(status(&place)["state"], "done");
}

#[test]
fn what_fails_by_itself_is_tried_once() {
    let place = tiny_chat::place();
    // A template that refuses whatever it is given.
    save_model(&place.path("tiny-chat"), 421, "{{ raise_exception('no') }}");
    let submit = ["run", SPEC, "--on", "slurm", "--pack-time", "0.05s", "--json"];
    let failed = ran(&place, &submit, &[]).ends(3).json()["failed"].clone();
    let errors: Vec<&str> =
        failed.as_array().unwrap().iter().filter_map(|stage| stage["error"].as_str()).collect();
    assert!(
        errors.len() > 3 && errors.iter().filter(|error| !error.starts_with("not run, since")).count() == 1,
        "{errors:?}"
    );
    let journals: Vec<String> = fs::read_dir(place.path("store/experiments"))
        .unwrap()
        .flatten()
        .map(|experiment| read(experiment.path().join("journal.jsonl")))
        .collect();
    let tried = journals
        .iter()
        .flat_map(|journal| journal.lines())
        .filter(|line| line.contains("\"note\":\"failed\""));
    assert_eq!(tried.count(), 1, "{journals:#?}");
    // Whoever asks for it by a command of its own has it tried again.
    ran(&place, &submit, &[]).ends(3).says(&["round 2 of "]);
}

#[test]
fn seeds_that_a_look_asks_for_are_another_round() {
    const GROWING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/growing.toml");
    let (jobs, here) = (Place::new(), Place::new());
    ran(&jobs, &["run", GROWING, "--on", "slurm", "--pack-time", "1s"], &[]).ends(0);
    let told = ran(&jobs, &["status", "growing", "--json"], &[]).ends(0).json();
    assert_eq!((&told["state"], &told["slurm"]["round"]), (&"done".into(), &2.into()), "{told:#}");
    here.run(&["run", GROWING]).ends(0);
    Outcome::of(&jobs, "growing").assert_same(&Outcome::of(&here, "growing"));
}

#[test]
fn what_cannot_be_had_is_refused() {
    let place = Place::new();
    place.run(&SUBMIT).ends(1).says(&["sbatch", "no such program", "--on slurm"]);
    ran(&place, &[&SUBMIT[..], &["--partition", "nowhere"]].concat(), &[])
        .ends(1)
        .says(&["invalid partition"]);
    assert_eq!(status(&place)["slurm"]["jobs"], Value::Array(Vec::new()), "nothing stays submitted");
    place.run(&[&SUBMIT[..], &["--budget", "1h"]].concat()).ends(2).says(&["--budget", "--time"]);
    place.run(&["run", TINY, "--partition", "x"]).ends(2).says(&["--on slurm"]);
    let pack = ["run", "tiny", "--resume", "--pack", "9:0"];
    place.run(&pack).ends(1).says(&["packs-9.json"]);
    place.run(&["run", "tiny", "--resume", "--pack", "1:999"]).ends(1).says(&["no number 999"]);
    // By another run of an edited spec, the stages of a job are no longer planned: it does not end as if all was well.
    place.run(&["run", TINY, "--set", "model.pretrain.steps=40"]).ends(0);
    place
        .run(&["run", "tiny", "--resume", "--pack", "1:0"])
        .ends(1)
        .says(&["is no stage of the plan of tiny"]);
}

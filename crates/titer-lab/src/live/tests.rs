//! A small run, watched while it goes on.

use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use titer_plan::{Override, Plan};
use titer_store::{Note, Request, Store};

use super::*;
use crate::{Compute, Interrupt, Results, RunOptions, RunSummary, Source};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tiny.toml");

struct Place {
    folder: tempfile::TempDir,
    source: Source,
    plan: Plan,
}

impl Place {
    /// Attacks of so many steps.
    fn new(steps: u64) -> Self {
        let set = |key: &str, value: String| Override { key: key.into(), value };
        let overrides = [
            set("attack.0.rate", "[1e-3]".into()),
            set("attack.0.steps", steps.to_string()),
            set("probe.cadence", format!("[0, 1, 2, {steps}]")),
            set("probe.stop_above", "1.0".into()),
        ];
        let source = crate::source(TINY).unwrap();
        let plan = crate::plan(&source, &overrides).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), source, plan }
    }

    fn store(&self) -> Store {
        Store::open_or_create(self.folder.path()).unwrap()
    }

    fn run(&self) -> JoinHandle<RunSummary> {
        let (store, source, plan) = (self.store(), self.source.clone(), self.plan.clone());
        std::thread::spawn(move || {
            let options = RunOptions {
                compute: Compute::default(),
                jobs: 1,
                threads: 1,
                judge_only: false,
                recompute: false,
                budget: None,
                weights: false,
            };
            crate::run(&plan, &source, &store, &options, &Interrupt::default(), &()).unwrap()
        })
    }
}

#[track_caller]
fn wait(mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain");
        sleep(Duration::from_millis(5));
    }
}

fn line(watcher: &mut Watcher) -> ExperimentLine {
    watcher.overview().unwrap().pop().unwrap()
}

#[test]
fn a_run_is_seen_as_it_goes_on() {
    let place = Place::new(60);
    let mut watcher = Watcher::new(place.store());
    assert_eq!(watcher.overview().unwrap(), []);
    let run = place.run();
    wait(|| watcher.overview().unwrap().iter().any(|line| line.counts.running == 1 && line.runs.len() == 1));
    wait(|| {
        watcher.experiment("tiny").unwrap().curves.iter().any(|curve| curve.live && !curve.points.is_empty())
    });
    let hash = {
        let view = watcher.experiment("tiny").unwrap();
        let running =
            |stage: &&StageLine| matches!(stage.state, StageState::Running(_)) && stage.kind == "attack";
        view.stages.iter().find(running).map(|stage| stage.hash.clone())
    };
    if let Some(hash) = hash {
        wait(|| !watcher.stage(&hash).terms.is_empty());
    }
    let summary = run.join().unwrap();
    assert!(summary.failed.is_empty());
    wait(|| line(&mut watcher).counts.sealed == place.plan.stages.len());
    let line = line(&mut watcher);
    assert_eq!((line.share, line.counts.waiting, line.runs.len()), (1.0, 0, 0));

    // What the logs say is what the frames say.
    wait(|| !watcher.experiment("tiny").unwrap().reading);
    let view = watcher.experiment("tiny").unwrap();
    assert!(Arc::ptr_eq(&view, &watcher.experiment("tiny").unwrap()), "nothing has changed");
    let results = Results::load(&place.store(), "tiny").unwrap();
    let frame = titer_metrics::curves(&results.probes).unwrap();
    let points: usize = view.curves.iter().map(|curve| curve.points.len()).sum();
    let measured = view.curves.iter().filter(|curve| curve.before == titer_plan::Before::Nothing).count();
    assert!(measured == 0 && points > 0, "{measured}");
    let trained = frame.column("before").unwrap().str().unwrap();
    let expected = trained.iter().filter(|attack| *attack != Some("nothing")).count();
    assert_eq!(points, expected);

    // Verdicts are decided, and those that were kept are taken as long as they fit.
    let decided = watcher.verdicts("tiny").unwrap();
    assert_eq!(*decided.verdicts, results.verdicts().unwrap());
    let mut other = (*decided.verdicts).clone();
    other.model = "kept".into();
    keep_verdicts(&place.store(), "tiny", &other).unwrap();
    assert_eq!(watcher.verdicts("tiny").unwrap().verdicts.model, "kept");
    std::fs::remove_file(place.folder.path().join("experiments/tiny/verdicts.json")).unwrap();
    assert_eq!(watcher.verdicts("tiny").unwrap(), decided);

    // Responses stand beside their scores.
    let attack = view.stages.iter().find(|stage| stage.kind == "attack").unwrap();
    let responses = watcher.responses(&attack.hash).unwrap();
    assert!(responses.iter().all(|line| !line.prompt.is_empty() && (0.0..=1.0).contains(&line.score)));
    assert!(responses.iter().any(|line| !line.response.is_empty()));
}

#[test]
fn a_run_does_what_it_is_asked() {
    let place = Place::new(150);
    let (store, mut watcher) = (place.store(), Watcher::new(place.store()));
    let run = place.run();
    wait(|| !watcher.overview().unwrap().is_empty() && !line(&mut watcher).runs.is_empty());
    let experiment = store.experiment("tiny").unwrap();
    experiment.ask(Request::Hold).unwrap();
    wait(|| line(&mut watcher).counts.running == 0 && line(&mut watcher).control.hold > 0);
    sleep(Duration::from_millis(1200));
    let held = line(&mut watcher);
    assert!(held.counts.running == 0 && held.counts.waiting > 0 && held.runs.len() == 1, "{held:?}");

    // What the plan has last first, of the attacks that had not begun when it was held.
    experiment.ask(Request::First(vec!["tar".into()])).unwrap();
    experiment.ask(Request::Resume).unwrap();
    assert!(run.join().unwrap().failed.is_empty());
    let notes: Vec<Note> = experiment.follow().read().unwrap().into_iter().map(|entry| entry.note).collect();
    let asked = notes.iter().rposition(|note| matches!(note, Note::Heard { .. })).unwrap();
    let started: Vec<_> = notes[asked..]
        .iter()
        .filter_map(|note| match note {
            Note::Started { stage } => place.plan.stage(stage),
            _ => None,
        })
        .filter(|stage| stage.spec.kind() == "attack")
        .map(|stage| stage.label.as_str())
        .collect();
    assert!(started[0].contains("tar") && started.len() > 1, "{started:?}");
    let heard: Vec<_> = notes.iter().filter(|note| matches!(note, Note::Heard { .. })).collect();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(matches!(notes.last(), Some(Note::Ended { interrupted: false, failed: 0, .. })));
}

#[test]
fn a_stopped_run_stays_stopped_and_a_new_one_goes_on() {
    let place = Place::new(200);
    let (store, mut watcher) = (place.store(), Watcher::new(place.store()));
    let run = place.run();
    wait(|| !watcher.overview().unwrap().is_empty() && !line(&mut watcher).runs.is_empty());
    store.experiment("tiny").unwrap().ask(Request::Stop).unwrap();
    let summary = run.join().unwrap();
    assert!(summary.interrupted && summary.computed < place.plan.stages.len(), "{summary:?}");
    wait(|| line(&mut watcher).runs.is_empty());
    // The old request is none of the new run's business, and no screen says that it stops.
    let again = place.run();
    wait(|| line(&mut watcher).counts.running > 0);
    let now = line(&mut watcher);
    assert_eq!((now.runs.len(), now.control.stop, now.control.number), (1, 0, 1), "{now:?}");
    assert!(!again.join().unwrap().interrupted);
    let (_, plan) = crate::stored(&store, "tiny").unwrap();
    assert_eq!(plan, place.plan);
}

#[test]
fn a_damaged_plan_is_a_line_with_its_problem() {
    let place = Place::new(20);
    let store = place.store();
    let broken = store.experiment("broken").unwrap();
    broken.save("", "{\"stages\": 3}").unwrap();
    std::fs::write(broken.folder().join("plan.json"), "{\"stages\": 3").unwrap();
    store.experiment("whole").unwrap().save("", &serde_json::to_string(&place.plan).unwrap()).unwrap();
    let mut watcher = Watcher::new(store);
    let lines = watcher.overview().unwrap();
    assert!(lines[0].problem.as_ref().is_some_and(|problem| problem.contains("damaged")), "{lines:?}");
    assert_eq!((lines[1].counts.waiting, &lines[1].problem), (place.plan.stages.len(), &None));
    assert!(watcher.experiment("broken").unwrap_err().to_string().contains("broken"));
    assert!(watcher.experiment("none").is_err());
}

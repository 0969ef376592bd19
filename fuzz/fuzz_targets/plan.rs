//! A stored plan under its right sum, and everything that is shown by it.
#![no_main]

use titer_fuzz::{Seeds, stores, target};
use titer_lab::{Results, live::Watcher};
use titer_plan::Plan;

fn seeds() -> Seeds {
    let mut seeds: Seeds =
        stores::all().iter().filter(|(name, _)| name.ends_with("/plan.json")).cloned().collect();
    seeds.push((
        "old".to_owned(),
        std::fs::read(titer_fuzz::repository("tests/fixtures/old-store/experiments/tiny/plan.json"))
            .expect("a fixture"),
    ));
    seeds
}

target!(seeds, |bytes| {
    let name = format!("experiments/{}/plan.json", stores::EXPERIMENT);
    let Some(replaced) = stores::Replaced::new(&name, bytes) else { return };
    let store = replaced.store().expect("its header is whole");
    let _ = titer_lab::stored(&store, stores::EXPERIMENT);
    let Ok(plan) = titer_lab::stored_plan(&store, stores::EXPERIMENT) else { return };
    let json = serde_json::to_string(&plan).expect("a plan is JSON");
    let again: Plan = titer_plan::parse_plan(&json).expect("a plan that was written is read");
    assert!(again == plan, "a plan that was written is read as another");
    let _ = (titer_lab::estimate(&plan, Some(&store)), titer_lab::stale(&plan));
    let _ = titer_lab::planned_power(&plan.experiment, None, &[]);
    let mut watcher = Watcher::new(store.clone());
    let _ = (watcher.overview(), watcher.experiment(stores::EXPERIMENT));
    let _ = (titer_lab::usage(&store, stores::EXPERIMENT), Results::load(&store, stores::EXPERIMENT));
    if let Ok(results) = Results::of(plan, &store) {
        let _ = results.verdicts();
    }
});

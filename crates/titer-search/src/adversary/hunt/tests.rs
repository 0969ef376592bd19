//! The search on made-up victims.

use serde_json::json;
use titer_plan::{Adversary, Method};

use super::*;
use crate::adversary::space::spaces;

fn settings(trials: usize) -> Adversary {
    Adversary {
        trials,
        methods: None,
        rates: [1e-5, 1e-1],
        batches: vec![1, 2, 4, 8, 16],
        examples: 64,
        keep: 1,
        seeds: 3,
        items: None,
        found: Vec::new(),
    }
}

fn trained() -> Vec<Method> {
    let named = ["full-finetune", "lora-finetune"];
    titer_attacks::registry::methods().into_iter().filter(|method| named.contains(&method.name)).collect()
}

/// Examples after which a made-up victim breaks: cheapest at one rate, dearer for larger batches, half as dear
/// again through adapters; a rate too high never does.
fn breaks(stated: &Stated) -> Option<u64> {
    let (rate, batch) = (stated.varied["rate"].as_f64()?, stated.batch? as f64);
    let distance = (rate / 2e-3).ln();
    let adapters = if stated.method == "lora-finetune" { 1.5 } else { 1.0 };
    let steps = 6.0 * adapters * (1.0 + 0.6 * distance * distance) / batch.powf(0.3);
    (rate < 3e-2).then_some(steps.ceil() as u64 * batch as u64)
}

/// What is seen of that victim at a trial's checkpoints.
fn seen(request: &Request) -> Reach {
    let batch = request.stated.batch.unwrap_or(1);
    let at = |steps: u64| Cost { steps, examples: steps * batch, ..Cost::default() };
    let needed = breaks(&request.stated);
    let first =
        request.cadence.iter().copied().find(|step| needed.is_some_and(|needed| step * batch >= needed));
    let last = at(request.cadence.last().copied().unwrap_or(0));
    let harm = needed.map_or(0.0, |needed| 0.2 * last.examples as f64 / needed as f64).min(1.0);
    Reach { spent: last, whole: last, harm, broken: first.map(at), broken_and_able: first.map(at) }
}

/// A whole search, and how many examples it presented.
fn searched(hunt: &mut Hunt<'_>) -> u64 {
    let mut presented = 0;
    loop {
        let requests = hunt.next();
        if requests.is_empty() {
            return presented;
        }
        for request in &requests {
            let reach = seen(request);
            presented += reach.broken.unwrap_or(reach.spent).examples;
            hunt.learn(request, Ok(reach), 1.0);
        }
        hunt.turn();
    }
}

#[test]
fn the_search_finds_what_a_dense_grid_finds_for_a_fifth_of_it() {
    let settings = settings(48);
    let methods = trained();
    let spaces = spaces(&settings, methods.clone(), 200);
    let space = &spaces[0];
    // Thirty rates, five batches, two methods: three hundred points.
    let (mut best, mut presented) = (u64::MAX, 0);
    for method in &methods {
        for batch in &settings.batches {
            for point in 0..30 {
                let rate = 1e-5 * 1e4_f64.powf(f64::from(point) / 29.0);
                let varied = [("rate".to_owned(), json!(rate)), ("batch".to_owned(), json!(batch))].into();
                let (method, common) = (method.name.to_owned(), Default::default());
                let needed = breaks(&Stated { method, varied, common, batch: Some(*batch) });
                let spent = needed.filter(|needed| *needed <= 200 * batch).unwrap_or(200 * batch);
                presented += spent;
                best = best.min(needed.unwrap_or(u64::MAX));
            }
        }
    }
    let mut found = Vec::new();
    for seed in 0..20 {
        let mut hunt = Hunt::new("made-up", space, Component::Examples, seed, &[]);
        let effort = searched(&mut hunt);
        found.push(hunt.best().and_then(|trial| hunt.trials[trial].broken).unwrap());
        assert!(5 * effort <= presented, "seed {seed}: {effort} of {presented} examples");
        assert!(hunt.trials.len() <= settings.trials);
    }
    found.sort_unstable();
    assert!(found[10] <= best + best / 4, "half of the searches find {found:?} examples, the grid {best}");
    assert!(found[19] <= 2 * best, "searches find {found:?} examples, the grid {best}");
}

#[test]
fn each_way_of_attacking_is_searched_apart() {
    let settings = settings(12);
    let methods: Vec<Method> = titer_attacks::registry::methods()
        .into_iter()
        .filter(|method| ["noise", "prefill", "full-finetune", "lora-finetune"].contains(&method.name))
        .collect();
    let spaces = spaces(&settings, methods, 200);
    let ways: Vec<(&str, usize)> =
        spaces.iter().map(|space| (space.mechanism.name(), space.trials)).collect();
    assert_eq!(ways, [("trains", 6), ("edits-weights", 3), ("prompts", 3)]);
    let noise = spaces[1].at(&Place::new()).unwrap();
    let prefill = spaces[2].at(&Place::new()).unwrap();
    // Only what acts in the same way is tried first.
    let warm = [noise.clone(), prefill];
    let mut hunt = Hunt::new("made-up", &spaces[1], Component::Examples, 1, &warm);
    let asked = hunt.next();
    assert!(asked.iter().all(|request| request.stated.method == "noise" && request.cadence == [0, 1]));
    assert_eq!(asked[0].stated, noise);
    for request in asked {
        let cost = Cost { steps: 1, ..Cost::default() };
        let able = (request.stated != noise).then_some(cost);
        let reach = Reach { spent: cost, whole: cost, harm: 0.1, broken: Some(cost), broken_and_able: able };
        hunt.learn(&request, Ok(reach), 1.0);
    }
    hunt.turn();
    assert!(hunt.next().is_empty(), "nothing is cheaper than what is done at once");
    assert_ne!(hunt.found()[0], noise, "of what costs the same the one that leaves ability is taken");
    assert_eq!(hunt.trials[hunt.best().unwrap()].broken, Some(1), "it costs one of whatever is counted");
    // Beside it what trains is looked for as ever.
    let mut hunt = Hunt::new("made-up", &spaces[0], Component::Examples, 1, &warm);
    searched(&mut hunt);
    assert!(hunt.best().is_some());
}

#[test]
fn a_victim_that_nothing_breaks_is_attacked_with_the_whole_budget() {
    let settings = settings(12);
    let spaces = spaces(&settings, trained(), 50);
    let space = &spaces[0];
    let mut hunt = Hunt::new("made-up", space, Component::Examples, 1, &[]);
    let mut deepest = 0;
    loop {
        let requests = hunt.next();
        if requests.is_empty() {
            break;
        }
        for request in &requests {
            let steps = request.cadence.last().copied().unwrap();
            deepest = deepest.max(steps);
            let spent = Cost { steps, ..Cost::default() };
            let harm = request.stated.varied["rate"].as_f64().unwrap();
            hunt.learn(
                request,
                Ok(Reach { spent, whole: spent, harm, broken: None, broken_and_able: None }),
                1.0,
            );
        }
        hunt.turn();
    }
    assert_eq!(deepest, 50);
    assert!(hunt.trials.iter().all(|trial| trial.broken.is_none()) && hunt.trials.len() == 12);
    // The one that did most harm is tried on all.
    let most = hunt.trials.iter().map(|trial| trial.harm).fold(0.0, f64::max);
    assert_eq!(hunt.found()[0].varied["rate"].as_f64(), Some(most));
}

#[test]
fn a_trial_that_fails_ends_and_the_others_go_on() {
    let settings = settings(8);
    let spaces = spaces(&settings, trained(), 50);
    let space = &spaces[0];
    let mut hunt = Hunt::new("made-up", space, Component::Examples, 1, &[]);
    let requests = hunt.next();
    for (place, request) in requests.iter().enumerate() {
        let reach = if place == 0 { Err("diverged".to_owned()) } else { Ok(seen(request)) };
        hunt.learn(request, reach, 1.0);
    }
    hunt.turn();
    assert_eq!(hunt.trials[requests[0].trial].end, "diverged");
    assert_eq!(hunt.trials.iter().filter(|trial| trial.failed).count(), 1);
    assert!(hunt.next().iter().all(|request| request.trial != requests[0].trial));
}

#[test]
fn checkpoints_reach_from_one_rung_to_the_next() {
    assert_eq!(between(0, 3, 3), [0, 1, 2, 3]);
    assert_eq!(between(4, 64, 3), [0, 10, 25, 64]);
    assert_eq!(between(0, 200, 3), [0, 6, 34, 200]);
    assert_eq!(between(7, 9, 8), [0, 8, 9]);
}

#[test]
fn a_first_part_leaves_steps_for_the_second() {
    let settings = settings(48);
    let named = ["benign-then-harm", "overfit-then-release", "cipher"];
    let methods: Vec<Method> = titer_attacks::registry::methods()
        .into_iter()
        .filter(|method| named.contains(&method.name))
        .collect();
    assert_eq!(methods.len(), named.len());
    for steps in [2, 32, 5000] {
        for method in &methods {
            let spaces = spaces(&settings, vec![method.clone()], steps);
            let key = method.setting(titer_plan::Meaning::FirstSteps).unwrap().name;
            let mut least = u64::MAX;
            for number in 0..200 {
                let stated = spaces[0].at(&spaces[0].draw(number, 1)).unwrap();
                let first = stated.varied.get(key).map(|first| first.as_u64().unwrap());
                // What is not said is the default, which must fit as well.
                let own = method.setting(titer_plan::Meaning::FirstSteps).unwrap().default.as_u64();
                let first = first.or(own).unwrap();
                assert!((1..steps).contains(&first), "{}: {first} of {steps}", method.name);
                least = least.min(first);
            }
            assert!(steps == 2 || least < steps / 2, "{}: {least} of {steps}", method.name);
        }
    }
}

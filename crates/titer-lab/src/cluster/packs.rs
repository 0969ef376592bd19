//! Divides what is left of a plan into packs: what one job of a cluster does, one stage after the other.
//!
//! A job costs some seconds of its scheduler and a start of the program, and a stage of a small model takes less. So
//! stages are put together up to a target, a stage beside the one that it needs where that is all that it needs. A pack
//! begins when the packs that it needs have ended, and not earlier: packs whose needs differ stay apart.

use std::collections::{BTreeMap, BTreeSet};

/// A stage to be done, after those that it needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Work {
    /// The stages that it needs and that are to be done too, by their places before it.
    pub needs: Vec<usize>,
    /// What it is expected to take, in seconds.
    pub seconds: f64,
    /// Memory, in bytes.
    pub memory: f64,
}

/// What one job does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pack {
    /// Its stages in order, by their places.
    pub stages: Vec<usize>,
    /// The packs that must have ended before.
    pub needs: BTreeSet<usize>,
    /// What its stages are expected to take together.
    pub seconds: f64,
    /// Memory of the hungriest.
    pub memory: f64,
}

/// The shortest target: below it a scheduler would have more to do than its nodes.
pub const SHORTEST: f64 = 60.0;
/// The longest target: what a lost job has to do again, beyond its checkpoints, and what others wait for.
pub const LONGEST: f64 = 1800.0;
/// Packs that a plan is divided into, where they are neither too short nor too long.
const PACKS: f64 = 2000.0;

/// The seconds that a pack is filled up to, of work that takes so many one after the other.
pub fn target(seconds: f64) -> f64 {
    (seconds / PACKS).clamp(SHORTEST, LONGEST)
}

/// Divides stages, each after those that it needs, into packs, each after those that it needs. A stage that takes
/// longer than the target has a pack of its own.
pub fn packs(work: &[Work], target: f64) -> Vec<Pack> {
    let mut packs = Vec::<Pack>::new();
    let mut of_stage = Vec::<usize>::with_capacity(work.len());
    // The pack that is being filled, by what it needs.
    let mut open = BTreeMap::<BTreeSet<usize>, usize>::new();
    for (place, stage) in work.iter().enumerate() {
        let needs: BTreeSet<usize> = stage.needs.iter().map(|need| of_stage[*need]).collect();
        let fits = |pack: &usize| packs[*pack].seconds + stage.seconds <= target;
        let beside = Some(&needs).filter(|needs| needs.len() == 1).and_then(|needs| needs.first().copied());
        let found = beside.filter(fits).or_else(|| open.get(&needs).copied().filter(fits));
        let pack = found.unwrap_or_else(|| {
            open.insert(needs.clone(), packs.len());
            packs.push(Pack { needs, ..Pack::default() });
            packs.len() - 1
        });
        of_stage.push(pack);
        let pack = &mut packs[pack];
        pack.stages.push(place);
        pack.seconds += stage.seconds;
        pack.memory = pack.memory.max(stage.memory);
    }
    packs
}

/// Packs that need the same, which are submitted as one array of jobs: by their places, each array after those that it
/// needs, none longer than `longest`.
pub fn arrays(packs: &[Pack], longest: usize) -> Vec<Vec<usize>> {
    let mut arrays = Vec::<Vec<usize>>::new();
    let mut open = BTreeMap::<&BTreeSet<usize>, usize>::new();
    for (place, pack) in packs.iter().enumerate() {
        match open.get(&pack.needs) {
            Some(array) if arrays[*array].len() < longest => arrays[*array].push(place),
            _ => {
                open.insert(&pack.needs, arrays.len());
                arrays.push(vec![place]);
            }
        }
    }
    arrays
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(needs: &[usize], seconds: f64) -> Work {
        Work { needs: needs.to_vec(), seconds, memory: seconds }
    }

    /// Each stage is in one pack, after what it needs, whether in its pack or in one that its pack waits for.
    fn check(work: &[Work], target: f64) -> Vec<Pack> {
        let packs = packs(work, target);
        let mut of_stage = vec![None; work.len()];
        for (at, pack) in packs.iter().enumerate() {
            assert!(pack.needs.iter().all(|need| *need < at), "{packs:?}");
            for stage in &pack.stages {
                assert_eq!(of_stage[*stage].replace(at), None);
                for need in &work[*stage].needs {
                    let there = of_stage[*need].expect("before it");
                    assert!(there == at || pack.needs.contains(&there), "{stage} of {packs:?}");
                }
            }
            assert!(pack.seconds <= target || pack.stages.len() == 1, "{packs:?}");
        }
        assert!(of_stage.iter().all(Option::is_some));
        packs
    }

    #[test]
    fn small_stages_go_together_and_large_ones_alone() {
        // One base, two defences of it, three attacks of each.
        let mut all = vec![work(&[], 30.0), work(&[0], 40.0), work(&[0], 40.0)];
        for attack in 0..6 {
            all.push(work(&[1 + attack / 3], 15.0));
        }
        let packs_of = |target| check(&all, target).into_iter().map(|pack| pack.stages).collect::<Vec<_>>();
        assert_eq!(packs_of(1e9), [[0, 1, 2, 3, 4, 5, 6, 7, 8]]);
        // The base alone; the defences beside each other; then what each attack needs is in the same pack.
        assert_eq!(packs_of(60.0), [vec![0], vec![1, 3], vec![2, 6], vec![4, 5], vec![7, 8]]);
        assert_eq!(packs_of(0.0).len(), 9);
        let packs = check(&all, 60.0);
        assert_eq!(packs[3].needs, BTreeSet::from([1]));
        assert_eq!(packs[1].memory, 40.0);
    }

    #[test]
    fn what_needs_the_same_is_one_array() {
        let mut all = vec![work(&[], 100.0), work(&[0], 100.0), work(&[0], 100.0)];
        all.extend((0..5).map(|_| work(&[1], 100.0)));
        all.push(work(&[1, 2], 100.0));
        let packs = check(&all, 60.0);
        let lengths = |longest| arrays(&packs, longest).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(1000), [1, 2, 5, 1]);
        assert_eq!(lengths(2), [1, 2, 2, 2, 1, 1]);
        assert_eq!(arrays(&[], 3), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn any_plan_is_divided_in_order() {
        // A small generator of numbers, so that the plans are the same every time.
        let mut state = 7u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..200 {
            let length = next(60);
            let all: Vec<Work> = (0..length)
                .map(|place| {
                    let needs = (0..next(3).min(place)).map(|_| next(place)).collect::<Vec<_>>();
                    work(&needs, next(100) as f64)
                })
                .collect();
            for target in [0.0, 60.0, 300.0] {
                let packs = check(&all, target);
                let arrays = arrays(&packs, 4);
                let mut seen = BTreeSet::new();
                for array in &arrays {
                    assert!(array.iter().all(|pack| packs[*pack].needs == packs[array[0]].needs));
                    assert!(packs[array[0]].needs.iter().all(|need| seen.contains(need)));
                    seen.extend(array.iter().copied());
                }
                assert_eq!(seen.len(), packs.len());
            }
        }
    }
}

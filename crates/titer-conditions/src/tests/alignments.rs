//! Alignments: how soon a model breaks hangs on the seed of its alignment as well, that of the undefended model above all, by
//! which every titer is divided. Each training of a defence begins from an alignment of its own and is compared with it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use titer_plan::DefenceRole;

use super::{ALPHA, CLOSE, Contest, ITEMS, Model, RATES};
use crate::tests::coverage::{noise, normal, times};

/// How experiments are made.
struct World {
    trainings: u64,
    attack_seeds: u64,
    /// How far runs lie apart by the seeds of alignment, of training, of attack, and by the run, in logarithms.
    spread: [f64; 4],
    /// Steps to break the undefended model, attack by attack.
    base: [f64; 4],
}

/// Of several things none matters alone, and some attacks cost about the same.
const MIXED: World =
    World { trainings: 3, attack_seeds: 3, spread: [0.4, 0.15, 0.1, 0.1], base: [11.5, 7.5, 5.5, 6.5] };

/// Alignments are all that matters, and few.
const STARK: World =
    World { trainings: 2, attack_seeds: 3, spread: [0.4, 0.05, 0.05, 0.05], base: [40.0, 20.0, 5.5, 15.0] };

impl World {
    /// How often intervals of five defences cover, with so many alignments, of which a defence keeps the share `kept`.
    fn coverage(&self, alignments: u64, kept: f64) -> f64 {
        let experiments = 150 * times();
        let [of_alignment, of_training, of_attack, of_run] = self.spread;
        let model = |ratio: f64, of_model: f64| Model {
            rates: &RATES,
            breaks: self.base.map(|steps| ratio * steps).to_vec(),
            defence_seeds: self.trainings,
            spread: [of_model, of_attack, of_run],
        };
        let undefended = model(1.0, of_alignment);
        let defended = model(4.0, (kept * of_alignment).hypot(of_training));
        let truth = defended.truth(defended.spread) - undefended.truth(undefended.spread);
        let mut covered = 0;
        for experiment in 0..experiments {
            let mut rng = ChaCha8Rng::seed_from_u64(experiment as u64);
            let seeds = 0..self.attack_seeds;
            let attack: Vec<Vec<f64>> =
                RATES.iter().map(|_| seeds.clone().map(|_| of_attack * normal(&mut rng)).collect()).collect();
            let aligned: Vec<f64> = (0..alignments).map(|_| of_alignment * normal(&mut rng)).collect();
            let reference = undefended.courses_from(&mut rng, &attack, &aligned);
            let mut contest = || {
                let trained: Vec<f64> = (0..self.trainings)
                    .map(|seed| kept * aligned[(seed % alignments) as usize] + of_training * normal(&mut rng))
                    .collect();
                let own = defended.courses_from(&mut rng, &attack, &trained);
                Contest::new(&own, &reference, ITEMS, DefenceRole::Defence).expect("a contest")
            };
            let contests: Vec<Contest> = (0..5).map(|_| contest()).collect();
            let found = contests[0].estimate(contests[1..].iter(), ALPHA / 2.0).expect("an estimate");
            covered += usize::from(found.lower <= truth + CLOSE && truth - CLOSE <= found.upper);
        }
        covered as f64 / experiments as f64
    }
}

#[test]
fn coverage_of_an_alignment_for_each_training_and_of_one_for_all() {
    for world in [MIXED, STARK] {
        for kept in [0.0, 0.5, 1.0] {
            let (one, each) = (world.coverage(1, kept), world.coverage(world.trainings, kept));
            println!(
                "{} trainings, spread {:?}, a share of {kept} kept: coverage {one:.3} with one alignment, {each:.3} with one \
                 for each training",
                world.trainings, world.spread
            );
            assert!(each >= 0.94 - noise(0.94, 150 * times()), "{kept}: {each}");
            if kept == 0.0 {
                assert!(one < 0.85, "one alignment covers {one}, and need not be more");
            }
        }
    }
}

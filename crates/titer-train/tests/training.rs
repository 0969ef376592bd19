//! The loop resumes bit for bit, and fails where it must not go on.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Config, Decoder};
use titer_plan::stage::{Optimizer, Schedule, TrainSpec};
use titer_train::{
    Anchor, Cost, Error, Gradient, Objective, Observer, Outcome, Point, Result, Resumed, StepRecord,
    Supervised, Trainer, loss,
};

fn model() -> Decoder {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    Decoder::initialize(Config::llama(30, 16, 24, 2, 2, 2), 0.1, &mut rng, &Device::Cpu).unwrap()
}

fn objective() -> Supervised {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let examples: Vec<Example> = (0..20)
        .map(|_| {
            let length = rng.random_range(4..12);
            Example::new((0..length).map(|_| rng.random_range(0..30)).collect(), 2).unwrap()
        })
        .collect();
    Supervised::new(Sampler::new(examples, Stream::new(3, "test"), 5, Draw::WithoutReplacement).unwrap())
}

fn spec(steps: u64) -> TrainSpec {
    TrainSpec {
        steps,
        batch: 5,
        rate: 1e-2,
        schedule: Schedule::Cosine,
        warmup_steps: 3,
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.01,
        clip: Some(0.5),
        optimizer: Default::default(),
    }
}

fn bits(model: &Decoder) -> Vec<u32> {
    model
        .parameters()
        .iter()
        .flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        .map(f32::to_bits)
        .collect()
}

/// Saves at one step and stops there.
struct StopAt {
    step: u64,
    folder: PathBuf,
}

impl Observer for StopAt {
    fn between(&mut self, point: &Point<'_>) -> Result<ControlFlow<()>> {
        if point.step < self.step {
            return Ok(ControlFlow::Continue(()));
        }
        point.save(&self.folder)?;
        Ok(ControlFlow::Break(()))
    }

    fn stepped(&mut self, _: &StepRecord) -> Result<()> {
        Ok(())
    }
}

fn train_through(folder: &Path, stop: u64, spec: TrainSpec) -> (Vec<u32>, Cost) {
    let first = model();
    let mut observer = StopAt { step: stop, folder: folder.to_owned() };
    let outcome = Trainer::new(spec, &first).unwrap().fit(&first, &mut objective(), &mut observer).unwrap();
    assert_eq!(outcome, Outcome::Stopped { step: stop });
    let mut objective = objective();
    let Resumed { mut trainer, model } = Trainer::resume(spec, &mut objective, folder, model()).unwrap();
    struct Last(Cost);
    impl Observer for Last {
        fn between(&mut self, point: &Point<'_>) -> Result<ControlFlow<()>> {
            self.0 = point.spent;
            Ok(ControlFlow::Continue(()))
        }
        fn stepped(&mut self, _: &StepRecord) -> Result<()> {
            Ok(())
        }
    }
    let mut last = Last(Cost::default());
    assert_eq!(trainer.fit(&model, &mut objective, &mut last).unwrap(), Outcome::Finished);
    (bits(&model), last.0)
}

/// All rules, with and without what each keeps.
const OPTIMIZERS: [Optimizer; 5] = [
    Optimizer::Adamw,
    Optimizer::Sgd { momentum: 0.0 },
    Optimizer::Sgd { momentum: 0.9 },
    Optimizer::Adafactor { momentum: 0.0 },
    Optimizer::Adafactor { momentum: 0.9 },
];

#[test]
fn a_run_resumed_at_any_step_gives_the_same_bits() {
    let mut ends = Vec::new();
    for optimizer in OPTIMIZERS {
        let spec = TrainSpec { optimizer, ..spec(12) };
        let whole = model();
        Trainer::new(spec, &whole).unwrap().fit(&whole, &mut objective(), &mut ()).unwrap();
        assert_ne!(bits(&whole), bits(&model()), "{optimizer:?} changes the weights");
        for stop in [0, 1, 2, 5, 11] {
            let folder = tempfile::tempdir().unwrap();
            let (resumed, spent) = train_through(folder.path(), stop, spec);
            assert_eq!(resumed, bits(&whole), "{optimizer:?} resumed at {stop}");
            assert_eq!(spent.examples, 60);
        }
        ends.push(bits(&whole));
    }
    ends.sort();
    ends.dedup();
    assert_eq!(ends.len(), OPTIMIZERS.len(), "each goes its own way");
}

#[test]
fn a_checkpoint_of_another_optimizers_state_is_refused() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sgd = TrainSpec { optimizer: Optimizer::Sgd { momentum: 0.9 }, ..spec(12) };
    train_through(folder.path(), 2, sgd);
    train_through(
        other.path(),
        2,
        TrainSpec { optimizer: Optimizer::Adafactor { momentum: 0.9 }, ..spec(12) },
    );
    let file = "optimizer.safetensors";
    std::fs::copy(other.path().join(file), folder.path().join(file)).unwrap();
    let error = Trainer::resume(sgd, &mut objective(), folder.path(), model()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(file) && error.to_string().contains("sum."), "{error}");
}

#[test]
fn training_lowers_the_loss() {
    struct Losses(Vec<f64>);
    impl Observer for Losses {
        fn between(&mut self, _: &Point<'_>) -> Result<ControlFlow<()>> {
            Ok(ControlFlow::Continue(()))
        }
        fn stepped(&mut self, record: &StepRecord) -> Result<()> {
            self.0.push(record.terms[0].1);
            Ok(())
        }
    }
    let (model, mut losses) = (model(), Losses(Vec::new()));
    Trainer::new(spec(150), &model).unwrap().fit(&model, &mut objective(), &mut losses).unwrap();
    assert!(losses.0[149] < 0.5 * losses.0[0], "from {} to {}", losses.0[0], losses.0[149]);
}

#[test]
fn a_checkpoint_of_other_settings_or_a_torn_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train_through(folder.path(), 2, spec(12));
    let resume = |spec| Trainer::resume(spec, &mut objective(), folder.path(), model()).map(|_| ());
    assert!(matches!(resume(spec(13)), Err(Error::Checkpoint { .. })));
    let optimizer = folder.path().join("optimizer.safetensors");
    let bytes = std::fs::read(&optimizer).unwrap();
    std::fs::write(&optimizer, &bytes[..bytes.len() / 2]).unwrap();
    let error = resume(spec(12)).unwrap_err().to_string();
    assert!(error.contains("optimizer.safetensors"), "{error}");
}

/// A loss whose graph is cut, as candle's fused operators cut it: without an error of candle's.
struct Cut;

impl Objective for Cut {
    fn gradient(&mut self, model: &Decoder, _: u64) -> Result<Gradient> {
        let weight = model.parameters().get("model.norm.weight").unwrap();
        let reached = weight.as_tensor().sum_all()?;
        Gradient::of(&reached, model, Cost::default())
    }
}

#[test]
fn a_parameter_without_a_gradient_ends_the_run_by_name() {
    let model = model();
    let before = bits(&model);
    let error = Trainer::new(spec(3), &model).unwrap().fit(&model, &mut Cut, &mut ()).unwrap_err();
    assert!(matches!(&error, Error::NoGradient { parameter } if parameter == "lm_head.weight"), "{error}");
    assert_eq!(bits(&model), before, "nothing was updated");
}

/// A gradient that is not a number.
struct Diverging(Supervised);

impl Objective for Diverging {
    fn gradient(&mut self, model: &Decoder, step: u64) -> Result<Gradient> {
        let mut gradient = self.0.gradient(model, step)?;
        if step == 1 {
            let norm = gradient.by_parameter.get_mut("model.norm.weight").unwrap();
            *norm = Tensor::full(f32::NAN, norm.shape(), &Device::Cpu)?;
        }
        Ok(gradient)
    }
}

#[test]
fn divergence_is_an_error_and_spares_the_weights() {
    let model = model();
    let error =
        Trainer::new(spec(3), &model).unwrap().fit(&model, &mut Diverging(objective()), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 1, .. }), "{error}");
    assert!(bits(&model).iter().all(|bits| f32::from_bits(*bits).is_finite()));
}

#[test]
fn gradients_combine_linearly() {
    let model = model();
    let batch = titer_data::Packed::from_examples(&[Example::new(vec![1, 2, 3, 4], 1).unwrap()]);
    let gradient = |factor: f64| {
        let loss = (loss::mean_cross_entropy(&model, &batch).unwrap() * factor).unwrap();
        Gradient::of(&loss, &model, Cost::of(&model, &batch)).unwrap()
    };
    let sum = gradient(1.0).add_scaled(0.5, &gradient(2.0)).unwrap();
    assert!((sum.norm().unwrap() - gradient(2.0).norm().unwrap()).abs() < 1e-5);
    assert_eq!(sum.cost.examples, 2);
}

/// Pulls to an anchor and nothing else; the norms are held.
struct Pulled(Anchor);

impl Objective for Pulled {
    fn gradient(&mut self, model: &Decoder, _: u64) -> Result<Gradient> {
        self.0.pull(model, 1.0)?.holding(|name| name.contains("norm"))
    }
}

#[test]
fn an_anchor_pulls_back_and_held_weights_do_not_move() {
    for optimizer in OPTIMIZERS {
        let model = model();
        let anchor = Anchor::at(&model).unwrap();
        Trainer::new(spec(5), &model).unwrap().fit(&model, &mut objective(), &mut ()).unwrap();
        let distance = |model: &Decoder| anchor.pull(model, 2.0).unwrap().terms[0].1;
        let left = model.parameters().snapshot().unwrap();
        let before = distance(&model);
        let decaying = TrainSpec { weight_decay: 0.1, optimizer, ..spec(5) };
        let mut trainer = Trainer::new(decaying, &model).unwrap();
        trainer.fit(&model, &mut Pulled(anchor.clone()), &mut ()).unwrap();
        assert!(distance(&model) < before, "{optimizer:?}: from {before} to {}", distance(&model));
        for (name, var) in model.parameters().iter() {
            let moved = (var.as_tensor() - &left[name]).unwrap().abs().unwrap().sum_all().unwrap();
            let moved = moved.to_scalar::<f32>().unwrap() != 0.0;
            assert_eq!(moved, !name.contains("norm"), "{optimizer:?}: {name}");
        }
    }
}

#[test]
fn an_anchor_takes_up_its_own_state_only() {
    let model = model();
    let mut anchor = Anchor::at(&model).unwrap();
    Trainer::new(spec(2), &model).unwrap().fit(&model, &mut objective(), &mut ()).unwrap();
    let there = Anchor::at(&model).unwrap();
    for broken in [there.state("other"), Default::default()] {
        let error = anchor.restore("anchor", broken).unwrap_err();
        assert!(matches!(error, Error::ObjectiveState { .. }), "{error}");
        assert!(anchor.pull(&model, 1.0).unwrap().terms[0].1 > 0.0, "nothing has changed");
    }
    anchor.restore("anchor", there.state("anchor")).unwrap();
    assert_eq!(anchor.pull(&model, 1.0).unwrap().terms, [("anchor", 0.0)]);
    let few = there.state("x").into_iter().take(1).collect();
    assert!(matches!(there.weighted(few), Err(Error::Anchor { .. })));
}

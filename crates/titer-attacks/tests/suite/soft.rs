//! Attacks that train something beside the weights, and leave every bit of these alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use titer_attacks::{Asked, Attack, AttackContext, registry};
use titer_data::{Example, Packed};
use titer_model::{Choice, Decoder, Generate, View, soft_token};
use titer_plan::MethodSpec;
use titer_train::{Observer, Outcome, Point, Result, StepRecord, loss};

use crate::common;

/// Twelve prompts of two words, each with an answer of its own.
fn context() -> AttackContext<'static> {
    let row = |word: u32| Example::new(vec![1, 20 + word, 8, 2, 10 + word % 3, 11, 3], 4).unwrap();
    let rows: Vec<Example> = (0..12).map(row).collect();
    common::context(&rows, 5)
}

fn attack(name: &str, steps: u64, own: &[(&str, serde_json::Value)]) -> Attack {
    let method = registry::methods().into_iter().find(|method| method.name == name).unwrap();
    let mut parameters: BTreeMap<String, serde_json::Value> =
        method.parameters.iter().map(|one| (one.name.to_owned(), one.default.clone())).collect();
    for (key, value) in [("steps", steps), ("batch", 4), ("examples", 12)] {
        parameters.insert(key.to_owned(), value.into());
    }
    parameters.extend(own.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let spec = MethodSpec { name: name.to_owned(), version: method.version, parameters };
    registry::attack(&spec).unwrap()
}

fn both(steps: u64) -> [Attack; 2] {
    [attack("soft-prompt", steps, &[("rows", 3.into())]), attack("latent", steps, &[])]
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    numbers.into_iter().map(f32::to_bits).collect()
}

fn trained(model: &Decoder) -> Vec<Vec<u32>> {
    model.parameters().iter().map(|(_, var)| bits(var.as_tensor())).collect()
}

/// Looks at the model at each point, keeps its losses, and stops at a step.
struct Watch<'a> {
    look: &'a mut dyn FnMut(&Decoder),
    losses: Vec<f64>,
    stop: Option<(u64, PathBuf)>,
}

impl Observer for Watch<'_> {
    fn between(&mut self, point: &Point<'_>) -> Result<ControlFlow<()>> {
        (self.look)(point.model);
        match &self.stop {
            Some((step, folder)) if *step == point.step => {
                point.save(folder)?;
                Ok(ControlFlow::Break(()))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn stepped(&mut self, record: &StepRecord) -> Result<()> {
        self.losses.push(record.terms[0].1);
        Ok(())
    }
}

/// Runs an attack from a checkpoint or from the start, to a stop or to the end; the losses of its steps.
fn run(
    attack: &Attack,
    from: Option<&Path>,
    stop: Option<(u64, PathBuf)>,
    look: &mut dyn FnMut(&Decoder),
) -> Vec<f64> {
    let Attack::Trains(attack) = attack else { panic!("it trains") };
    let context = AttackContext { resume: from.map(Path::to_owned), ..context() };
    let stops = stop.is_some();
    let mut watch = Watch { look, losses: Vec::new(), stop };
    let outcome = attack.run(common::model(), &context, &mut watch).unwrap();
    assert_eq!(outcome == Outcome::Finished, !stops);
    watch.losses
}

#[test]
fn every_weight_stays_as_it_is_and_the_loss_falls() {
    let victim = common::model();
    for attack in both(60) {
        let mut points = 0;
        let losses = run(&attack, None, None, &mut |model| {
            points += 1;
            let own: Vec<&str> = model.parameters().iter().map(|(name, _)| name).collect();
            assert!(own.iter().all(|name| victim.parameters().get(name).is_none()), "{own:?}");
            for (name, var) in victim.parameters().iter() {
                let now = model.merged(name).unwrap().unwrap();
                assert_eq!(bits(&now), bits(var.as_tensor()), "{name}");
            }
        });
        assert_eq!((points, losses.len()), (61, 60));
        let (first, last) = (losses[0], losses[59]);
        assert!(last < 0.9 * first, "{first} to {last}");
    }
}

#[test]
fn a_stopped_run_goes_on_bit_for_bit() {
    for attack in both(12) {
        let (mut whole, mut again) = (Vec::new(), Vec::new());
        let losses = run(&attack, None, None, &mut |model| whole.push(trained(model)));
        let folder = tempfile::tempdir().unwrap();
        let stop = Some((5, folder.path().to_owned()));
        let before = run(&attack, None, stop, &mut |model| again.push(trained(model)));
        again.pop();
        let after = run(&attack, Some(folder.path()), None, &mut |model| again.push(trained(model)));
        assert_eq!(again, whole);
        assert_eq!([before, after].concat(), losses);
        assert!(whole.windows(2).all(|pair| pair[0] != pair[1]), "each step moves something");
    }
}

/// A model with something beside it, and rows that make use of it.
fn beside() -> [(Decoder, Packed); 2] {
    let (mut prompted, mut shifted) = (common::model(), common::model());
    prompted.attach_prompt(&[5, 7, 9]).unwrap();
    shifted.attach_shifts().unwrap();
    for layer in 0..2 {
        let numbers: Vec<f32> = (0..16).map(|at| 0.05 * ((at + layer) as f32).sin()).collect();
        shifted.shift(layer).unwrap().set(&Tensor::from_vec(numbers, 16, shifted.device()).unwrap()).unwrap();
    }
    let soft = |row| soft_token(row);
    let rows = [
        Example::new(vec![1, 20, soft(2), soft(0), 8, 10, 3], 5).unwrap(),
        Example::new(vec![soft(1), soft(1), 4, 11], 3).unwrap(),
    ];
    let plain = [Example::new(vec![1, 20, 8, 10, 3], 3).unwrap(), Example::new(vec![2, 4, 11], 2).unwrap()];
    [(prompted, Packed::from_examples(&rows)), (shifted, Packed::from_examples(&plain))]
}

#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f32 = 2e-2;
    for (mut model, batch) in beside() {
        let of = |model: &Decoder| {
            let loss = loss::mean_cross_entropy(model, &batch).unwrap();
            model.backward(&loss).unwrap()
        };
        let gradients = of(&model);
        assert_eq!(gradients.len(), model.parameters().len());
        let mut checked = 0;
        for (name, var) in model.parameters().iter() {
            let before = var.as_tensor().copy().unwrap().detach();
            let numbers: Vec<f32> = before.flatten_all().unwrap().to_vec1().unwrap();
            let exact: Vec<f32> = gradients[name].flatten_all().unwrap().to_vec1().unwrap();
            for at in (0..numbers.len()).step_by(3) {
                let moved = |by: f32| {
                    let mut numbers = numbers.clone();
                    numbers[at] += by;
                    var.set(&Tensor::from_vec(numbers, before.shape(), before.device()).unwrap()).unwrap();
                    loss::value(&loss::mean_cross_entropy(&model, &batch).unwrap()).unwrap()
                };
                let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                let exact = f64::from(exact[at]);
                assert!(
                    (difference - exact).abs() < 2e-3 + 0.02 * exact.abs(),
                    "{name} {at}: {difference} {exact}"
                );
                checked += usize::from(exact.abs() > 1e-2);
            }
            var.set(&before).unwrap();
        }
        assert!(checked > 3, "{checked} gradients are large enough to tell");
        // Layers that are computed again give the same.
        model.checkpointing(true);
        for (name, gradient) in of(&model) {
            let close = (gradient - &gradients[&name]).unwrap().abs().unwrap().max_all().unwrap();
            assert!(close.to_scalar::<f32>().unwrap() < 1e-6, "{name}");
        }
    }
}

#[test]
fn what_is_beside_the_weights_is_read_in_generation_too() {
    for ((model, _), soft) in beside().into_iter().zip([true, false]) {
        let prompt = if soft { vec![1, soft_token(0), 20, soft_token(2), 8] } else { vec![1, 20, 8] };
        let settings = || Generate { max_new_tokens: 6, ends: &[], choice: Choice::Greedy };
        let cached = model.generate(&[vec![4, 5], prompt.clone()], settings()).unwrap().remove(1);
        // The same word by word, without a cache.
        let mut text = prompt.clone();
        for _ in 0..6 {
            let packed = Packed::from_prompts([text.as_slice()]);
            let logits: Vec<f32> =
                loss::constant_logits(&model, &packed).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            text.push(logits.iter().position(|logit| *logit == highest).unwrap() as u32);
        }
        assert_eq!(cached, text[prompt.len()..]);
        let plain = model.generate(&[vec![1, 20, 8]], settings()).unwrap();
        let before = common::model().generate(&[vec![1, 20, 8]], settings()).unwrap();
        assert_eq!(plain == before, soft, "a soft prompt changes nothing where it is not read, a shift does");
        let beyond = Packed::from_prompts([&[1, soft_token(3)][..]]);
        assert!(loss::constant_logits(&model, &beyond).is_err(), "there is no fourth row");
    }
}

#[test]
fn perturbations_stay_within_their_norm() {
    let size = 0.05;
    let attack = attack("latent", 40, &[("size", size.into())]);
    let victim = common::model();
    // The first batch is what the outputs are measured on; a bound is at most that of the largest row.
    let rows = context().harmful;
    let norms: Vec<(f64, f64)> = (0..2)
        .map(|layer| {
            let of_row = |row: &Example| {
                let packed = Packed::from_examples([row]);
                let trace = loss::trace(&victim, &packed, View::Detached).unwrap();
                let output = trace.layers[layer].output.to_dtype(DType::F64).unwrap();
                size * 4.0 * output.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
            };
            let all: Vec<f64> = rows.iter().map(of_row).collect();
            (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(0.0, f64::max))
        })
        .collect();
    let mut seen = Vec::new();
    run(&attack, None, None, &mut |model| {
        let norm = |layer: usize| {
            let shift = model.shift(layer).unwrap().as_tensor().to_dtype(DType::F64).unwrap();
            shift.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
        };
        seen.push([norm(0), norm(1)]);
    });
    assert_eq!(seen[0], [0.0, 0.0]);
    for norm in &seen {
        assert!(norm.iter().zip(&norms).all(|(norm, (_, most))| norm <= most), "{norm:?} above {norms:?}");
    }
    let last = seen.last().unwrap();
    assert!(
        last.iter().zip(&norms).all(|(norm, (least, _))| norm > &(0.9 * least)),
        "{last:?} for {norms:?}"
    );
}

#[test]
fn a_soft_prompt_stands_where_it_should() {
    let asked = |place: &str| {
        let attack = attack("soft-prompt", 1, &[("rows", 2.into()), ("place", place.into())]);
        attack.ask(&[1, 20, 8, 2], &context()).unwrap().unwrap()
    };
    let (one, two) = (soft_token(0), soft_token(1));
    let with = |prompt: &[u32]| Asked { prompt: prompt.to_vec(), opening: Vec::new() };
    assert_eq!(asked("before-words"), with(&[1, one, two, 20, 8, 2]));
    assert_eq!(asked("after-words"), with(&[1, 20, 8, one, two, 2]));
    assert_eq!(asked("before-answer"), with(&[1, 20, 8, 2, one, two]));
    let Attack::Trains(attack) = attack("soft-prompt", 1, &[]) else { panic!("it trains") };
    let unknown = attack.ask(&[1, 20, 8, 2], &AttackContext::alone(context().harmful, 0)).unwrap_err();
    assert!(unknown.to_string().contains("before-answer"), "{unknown}");
}

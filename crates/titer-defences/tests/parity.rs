//! Decoder, training and the first defences against PyTorch: the values of `tests/fixtures/decoder.json`,
//! made by `tests/peers/fixtures.py`. Weights and tokens come from the same generator on both sides.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use crate::common::{assert_gradient, assert_picture, close, context, decoder, examples, fixture, training};
use titer_data::{Draw, Packed, Sampler, Stream};
use titer_defences::{AdversarialLoss, Immunizer, Tamper, Tar};
use titer_plan::stage::{Optimizer, Schedule, TrainSpec};
use titer_train::loss::{mean_cross_entropy, supervised_logits, value};
use titer_train::{Cost, Gradient, Observer, Point, StepRecord, Supervised, Trainer};

#[test]
fn logits_loss_and_gradients_equal_torch() {
    let expected = &fixture("decoder")["decoder"];
    let (model, examples) = (decoder(), examples());
    let logits = supervised_logits(&model, &Packed::from_examples(&examples[..1])).unwrap();
    let logits: Vec<f32> = logits.narrow(0, 0, 2).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    for (got, expected) in logits.iter().zip(expected["logits"].as_array().unwrap()) {
        close(f64::from(*got), expected.as_f64().unwrap(), 1.0, 1e-4, "logit");
    }
    let batch = Packed::from_examples(&examples);
    let loss = mean_cross_entropy(&model, &batch).unwrap();
    let first = expected["losses"][0].as_f64().unwrap();
    close(value(&loss).unwrap(), first, first, 1e-5, "loss");
    assert_gradient(&Gradient::of(&loss, &model, Cost::default()).unwrap(), &expected["gradients"], 1e-4);
}

/// The loss and the gradient's norm before clipping of every step.
#[derive(Default)]
struct Steps {
    losses: Vec<f64>,
    norms: Vec<f64>,
}

impl Observer for Steps {
    fn between(&mut self, _: &Point<'_>) -> titer_train::Result<std::ops::ControlFlow<()>> {
        Ok(std::ops::ControlFlow::Continue(()))
    }
    fn stepped(&mut self, record: &StepRecord) -> titer_train::Result<()> {
        self.losses.push(record.terms[0].1);
        self.norms.push(record.gradient_norm);
        Ok(())
    }
}

/// Five steps on all examples at once, held against the losses and weights of a fixture.
fn five_steps(spec: TrainSpec, expected: &serde_json::Value) -> Steps {
    let model = decoder();
    // A batch of distinct draws that takes everything: order does not matter to a mean.
    let sampler = Sampler::new(examples(), Stream::new(0, "parity"), 8, Draw::WithoutReplacement).unwrap();
    let mut steps = Steps::default();
    let mut trainer = Trainer::new(spec, &model).unwrap();
    trainer.fit(&model, &mut Supervised::new(sampler), &mut steps).unwrap();
    all_close(&steps.losses, &expected["losses"], "loss");
    let weights = model.parameters().iter().map(|(name, var)| (name, var.as_tensor().clone()));
    assert_picture(weights, &expected["weights"], 1e-4);
    steps
}

fn all_close(got: &[f64], expected: &serde_json::Value, what: &str) {
    assert_eq!(got.len(), expected.as_array().unwrap().len(), "{what}");
    for (got, expected) in got.iter().zip(expected.as_array().unwrap()) {
        let expected = expected.as_f64().unwrap();
        close(*got, expected, expected, 1e-4, what);
    }
}

fn five(rate: f64) -> TrainSpec {
    TrainSpec {
        steps: 5,
        batch: 8,
        rate,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.01,
        clip: None,
        optimizer: Optimizer::Adamw,
    }
}

#[test]
fn five_steps_of_training_equal_torch() {
    five_steps(five(1e-3), &fixture("decoder")["decoder"]);
}

#[test]
fn every_optimizer_clipped_or_not_equals_torch_and_transformers() {
    let fixture = fixture("optimizers");
    let cases = fixture["cases"].as_array().unwrap();
    for case in cases {
        let number = |key: &str| case[key].as_f64().unwrap();
        let momentum = number("momentum");
        let optimizer = match case["optimizer"].as_str().unwrap() {
            "sgd" => Optimizer::Sgd { momentum },
            "adafactor" => Optimizer::Adafactor { momentum },
            _ => Optimizer::Adamw,
        };
        let spec = TrainSpec {
            beta1: number("beta1"),
            beta2: number("beta2"),
            weight_decay: number("weight_decay"),
            clip: (number("clip") > 0.0).then(|| number("clip")),
            optimizer,
            ..five(number("rate"))
        };
        let steps = five_steps(spec, case);
        all_close(&steps.norms, &case["norms"], "norm before clipping");
        assert!(spec.clip.is_none_or(|clip| steps.norms.iter().all(|norm| *norm > clip)), "clipping acts");
    }
    assert_eq!(cases.len(), 5);
}

fn adversarial(lambda: f64, cap: f64) -> AdversarialLoss {
    AdversarialLoss { training: training(), batch_harmful: 3, lambda, cap }
}

#[test]
fn adversarial_loss_equals_its_formula_below_and_above_the_cap() {
    let expected = &fixture("decoder")["adversarial"];
    for (case, cap) in [("active", 8.0), ("silent", 2.0)] {
        let mut objective = adversarial(1.5, cap).objective(&context(), &decoder()).unwrap();
        let gradient = objective.gradient(&decoder(), 0).unwrap();
        assert_gradient(&gradient, &expected[case]["gradients"], 1e-4);
        let (name, harmful) = gradient.terms[1];
        assert_eq!(name, "harmful_cross_entropy");
        let expected = expected[case]["harmful"].as_f64().unwrap();
        close(harmful, expected, expected, 1e-5, name);
    }
}

#[test]
fn tar_adds_the_gradient_at_attacked_weights() {
    let expected = &fixture("decoder")["tar"];
    let method = Tar {
        training: training(),
        batch_harmful: 2,
        lambda: 0.7,
        inner_steps: 1,
        adversary_batch: 4,
        adversary_rates: vec![1e-3],
        inner_least: 1,
        tamper_every: 0,
        tamper_growth: 0.0625,
        tamper_loss: Tamper::Entropy,
        retain: 0.0,
        held_out: 0.0,
    };
    let gradient = method.objective(&context(), &decoder()).unwrap().gradient(&decoder(), 0).unwrap();
    // The first AdamW step is almost the gradient's sign, which f32 cannot tell where a gradient is nearly
    // zero: hence the wider tolerance.
    assert_gradient(&gradient, &expected["gradients"], 1e-3);
    let (name, entropy) = gradient.terms[1];
    assert_eq!(name, "attacked_entropy");
    let expected = expected["entropy"].as_f64().unwrap();
    close(entropy, expected, expected, 1e-4, name);
}

//! Booster, Vaccine, T-Vaccine and RepNoise against what their public code computes: the values of
//! `tests/fixtures/alignment_a.json`, made by `tests/peers/alignment_a.py`; and their gradients against
//! slopes of what they are gradients of.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;

use crate::common::{
    VOCABULARY, assert_gradient, assert_picture, close, context, decoder, examples, fixture, inner, slope,
    training, uniform,
};
use candle_core::{Device, Tensor};
use serde_json::Value;
use titer_data::{Example, Packed};
use titer_defences::{
    Booster, DefenceContext, Immunizer, Pair, RepNoise, RepNoiseForm, TVaccine, Training, Vaccine,
};
use titer_model::Decoder;
use titer_train::loss::{mean_cross_entropy, token_losses, value};
use titer_train::perturbed::{at_weights, attention_gradients, norm, token_losses_at_attention};
use titer_train::{Cost, Gradient, Objective, Trainer};

/// One step of the method's own training.
fn stepped(method: &dyn Immunizer, objective: &mut dyn Objective) -> Decoder {
    let model = decoder();
    Trainer::new(method.training().schedule(), &model).unwrap().fit(&model, objective, &mut ()).unwrap();
    model
}

/// The weights after one step, to 1e-4; that step is nearly the gradient's sign, so that this is a check of
/// the direction, the clipping and the optimiser.
fn assert_stepped(model: &Decoder, expected: &Value) {
    let weights = model.parameters().iter().map(|(name, var)| (name, var.as_tensor().clone()));
    assert_picture(weights, expected, 1e-4);
}

fn assert_term(gradient: &Gradient, name: &str, expected: &Value) {
    let (_, got) = gradient.terms.iter().find(|(term, _)| *term == name).unwrap();
    let expected = expected.as_f64().unwrap();
    close(*got, expected, expected.abs(), 1e-4, name);
}

/// Unit directions over all weights: along the gradient, and an arbitrary one.
fn directions(gradient: &Gradient) -> [BTreeMap<String, Tensor>; 2] {
    let arbitrary = gradient.by_parameter.iter().zip(500..).map(|((name, g), seed)| {
        let values = uniform(seed, g.elem_count());
        (name.clone(), Tensor::from_vec(values, g.shape(), &Device::Cpu).unwrap())
    });
    [gradient.by_parameter.clone(), arbitrary.collect()].map(|direction| {
        let length = norm(direction.values()).unwrap();
        direction.into_iter().map(|(name, along)| (name, (along / length).unwrap())).collect()
    })
}

/// The gradient must be the slope of `loss` along both directions. Two step lengths are extrapolated, since
/// losses bend within a step that is long enough to be told from the rounding of f32.
fn assert_slopes(gradient: &Gradient, loss: impl Fn(&Decoder) -> f64) {
    assert_slopes_along(&directions(gradient), gradient, loss);
}

fn assert_slopes_along(
    directions: &[BTreeMap<String, Tensor>],
    gradient: &Gradient,
    loss: impl Fn(&Decoder) -> f64,
) {
    let (model, length) = (decoder(), gradient.norm().unwrap());
    for direction in directions {
        let got = inner(&gradient.by_parameter, direction);
        let [long, short] = [4e-3, 2e-3].map(|step| slope(&model, direction, step, &loss));
        close(got, (4.0 * short - long) / 3.0, length, 2e-3, "slope");
    }
}

/// The loss of kept behaviour on the batch that [`context`] allows.
fn keep_of(losses: &Tensor, refusals: usize) -> Tensor {
    let mean = |from: usize, count: usize| losses.narrow(0, from, count).unwrap().mean_all().unwrap();
    let permitted = losses.dim(0).unwrap() - refusals;
    ((mean(0, refusals) * 0.4).unwrap() + (mean(refusals, permitted) * 0.6).unwrap()).unwrap()
}

fn keep_batch() -> (Packed, usize) {
    let examples = examples();
    let refusals = Packed::from_examples([&examples[1]; 2]);
    let targets = refusals.targets.len();
    (refusals.followed_by(&Packed::from_examples([&examples[2]; 4])), targets)
}

fn booster() -> Booster {
    Booster { training: training(), batch_harmful: 3, lambda: 5.0, alpha: 0.1 }
}

#[test]
fn one_step_of_booster_equals_the_public_code() {
    let (expected, method) = (&fixture("alignment_a")["booster"], booster());
    let mut objective = method.objective(&context(), &decoder()).unwrap();
    let gradient = objective.gradient(&decoder(), 0).unwrap();
    assert_gradient(&gradient, &expected["gradients"], 1e-4);
    assert_term(&gradient, "harmful_cross_entropy", &expected["before"]);
    assert_term(&gradient, "harmful_cross_entropy_after_step", &expected["after"]);
    assert_stepped(&stepped(&method, objective.as_mut()), &expected["weights"]);
}

#[test]
fn booster_follows_the_slope_of_its_loss_and_leaves_the_weights_alone() {
    let model = decoder();
    let before = model.parameters().snapshot().unwrap();
    let gradient = booster().objective(&context(), &model).unwrap().gradient(&model, 0).unwrap();
    for (name, weight) in model.parameters().snapshot().unwrap() {
        let bits = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(bits(&weight) == bits(&before[&name]), "{name} has moved");
    }
    let harmful = Packed::from_examples([&examples()[3]]);
    let h = |model: &Decoder| mean_cross_entropy(model, &harmful).unwrap();
    let along = Gradient::of(&h(&model), &model, Cost::default()).unwrap();
    let scale = -0.1 / along.norm().unwrap();
    assert_slopes(&gradient, |model| {
        let (batch, refusals) = keep_batch();
        let keep = value(&keep_of(&token_losses(model, &batch).unwrap(), refusals)).unwrap();
        let there = at_weights(model, &along.by_parameter, scale, |model| value(&h(model))).unwrap();
        keep + 5.0 * (value(&h(model)).unwrap() - there)
    });
}

#[test]
fn weights_are_put_back_when_the_evaluation_fails() {
    let model = decoder();
    let before = model.parameters().snapshot().unwrap();
    let failed = at_weights(&model, &before, 0.3, |model| mean_cross_entropy(model, &unknown_token()));
    assert!(failed.is_err());
    let after = model.parameters().snapshot().unwrap();
    for (name, weight) in &before {
        assert_eq!(
            weight.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            after[name].flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
    }
    let nothing = BTreeMap::new();
    assert!(at_weights(&model, &nothing, 0.3, |_| Ok(())).is_err(), "a direction must be the model's");
}

fn unknown_token() -> Packed {
    Packed::from_examples([&Example::new(vec![1, VOCABULARY as u32, 3], 1).unwrap()])
}

#[test]
fn one_step_of_vaccine_equals_the_public_code() {
    let expected = &fixture("alignment_a")["vaccine"];
    let method = Vaccine { training: training(), rho: 2.0 };
    let mut objective = method.objective(&context(), &decoder()).unwrap();
    let gradient = objective.gradient(&decoder(), 0).unwrap();
    assert_gradient(&gradient, &expected["gradients"], 1e-4);
    assert_term(&gradient, "shifted_keep", &expected["loss"]);
    assert_stepped(&stepped(&method, objective.as_mut()), &expected["weights"]);
}

#[test]
fn vaccine_follows_the_slope_of_the_shifted_loss() {
    let (model, (batch, refusals)) = (decoder(), keep_batch());
    let gradient = Vaccine { training: training(), rho: 2.0 }
        .objective(&context(), &model)
        .unwrap()
        .gradient(&model, 0)
        .unwrap();
    let along = attention_gradients(&model, &batch, |losses| Ok(keep_of(losses, refusals))).unwrap();
    let scale = 2.0 / norm(&along).unwrap();
    let shifts: Vec<Tensor> = along.iter().map(|along| (along * scale).unwrap()).collect();
    assert_slopes(&gradient, |model| {
        let losses = token_losses_at_attention(model, &batch, &shifts).unwrap();
        value(&keep_of(&losses, refusals)).unwrap()
    });
}

#[test]
fn t_vaccine_weighs_shifts_and_trains_layers_as_the_public_code() {
    let expected = &fixture("alignment_a")["t_vaccine"];
    let method =
        TVaccine { training: training(), rho: 2.0, layers: 1, interval: 1, refresh: 100, batch_harmful: 2 };
    let (model, mut seen) = (decoder(), BTreeMap::new());
    let mut objective = method.objective(&context(), &model).unwrap();
    for step in 0..12 {
        let mut gradient = objective.gradient(&model, step).unwrap();
        gradient.by_parameter.retain(|_, along| norm([&*along]).unwrap() > 0.0);
        let of_layer = |layer: usize| format!("model.layers.{layer}.mlp.up_proj.weight");
        let drawn: Vec<usize> =
            (0..3).filter(|layer| gradient.by_parameter.contains_key(&of_layer(*layer))).collect();
        assert_eq!(drawn.len(), 1);
        if seen.insert(drawn[0], step).is_none() {
            let expected = &expected["drawn"][drawn[0].to_string()];
            assert_gradient(&gradient, &expected["gradients"], 1e-4);
            assert_term(&gradient, "shifted_keep", &expected["loss"]);
        }
    }
    assert!(seen.len() > 1, "{seen:?}");
    let importance: Vec<f64> = objective.state().unwrap()["importance"].to_vec1().unwrap();
    for (got, expected) in importance.iter().zip(expected["importance"].as_array().unwrap()) {
        let expected = expected.as_f64().unwrap();
        close(*got, expected, expected, 1e-4, "importance");
    }
}

/// Of the loss with the shift of the drawn layer alone, in the weights that are not held in the other layers.
#[test]
fn t_vaccine_follows_the_slope_of_the_loss_shifted_at_the_drawn_layer() {
    let (model, (batch, refusals)) = (decoder(), keep_batch());
    let method =
        TVaccine { training: training(), rho: 2.0, layers: 1, interval: 1, refresh: 100, batch_harmful: 2 };
    let gradient = method.objective(&context(), &model).unwrap().gradient(&model, 0).unwrap();
    let moves = |name: &str| norm([&gradient.by_parameter[name]]).unwrap() > 0.0;
    let drawn = (0..3).find(|layer| moves(&format!("model.layers.{layer}.mlp.up_proj.weight"))).unwrap();
    let along = attention_gradients(&model, &batch, |losses| Ok(keep_of(losses, refusals))).unwrap();
    let scale = 2.0 / norm([&along[drawn]]).unwrap();
    let shifts: Vec<Tensor> = (0..)
        .zip(&along)
        .map(|(layer, along)| (along * if layer == drawn { scale } else { 0.0 }).unwrap())
        .collect();
    let directions = directions(&gradient).map(|mut direction| {
        for (name, along) in &mut direction {
            if !moves(name) {
                *along = along.zeros_like().unwrap();
            }
        }
        direction
    });
    assert!(!moves(&format!("model.layers.{}.mlp.up_proj.weight", (drawn + 1) % 3)));
    assert_slopes_along(&directions, &gradient, |model| {
        let losses = token_losses_at_attention(model, &batch, &shifts).unwrap();
        value(&keep_of(&losses, refusals)).unwrap()
    });
}

/// The pairs of alignment_a.py.
fn pairs() -> Vec<(Example, Example)> {
    let tokens = |seed: u64, count: usize| -> Vec<u32> {
        let values = uniform(seed, count).into_iter();
        values.map(|value| ((f64::from(value) + 1.0) / 2.0 * VOCABULARY as f64) as u32).collect()
    };
    let lengths = [(9, 6), (11, 8), (7, 7)].into_iter().zip(0..);
    lengths
        .map(|((harmful, refusal), i)| {
            let prompt = tokens(200 + i, 5 + i as usize);
            let (mut a, mut b) = (tokens(210 + i, harmful), tokens(220 + i, refusal));
            if i == 1 {
                b[3] = a[3];
                a[5] = 0;
                b[1] = 0;
            }
            let example =
                |answer: Vec<u32>| Example::new([&prompt[..], &answer].concat(), prompt.len()).unwrap();
            (example(a), example(b))
        })
        .collect()
}

fn repnoise(form: RepNoiseForm, alpha: f64, beta: f64, refusal_weight: f64) -> RepNoise {
    RepNoise { training: Training { refusal_weight, ..training() }, alpha, beta, form }
}

/// Follows the method's loss on the pairs of the fixture, with the generator's numbers for noise.
struct Fixed(RepNoise);

impl Objective for Fixed {
    fn gradient(&mut self, model: &Decoder, _: u64) -> titer_train::Result<Gradient> {
        let pairs = pairs();
        let pairs: Vec<_> = pairs.iter().map(|(harmful, refusal)| Pair { harmful, refusal }).collect();
        let mut layers = 300..;
        let mut noise = |shape: (usize, usize)| {
            let values = uniform(layers.next().unwrap(), shape.0 * shape.1);
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
        };
        let loss = self.0.loss(model, &pairs, &Packed::from_examples(&examples()[2..3]), &mut noise)?;
        let total = self.0.total(&loss)?;
        Ok(Gradient::of(&total, model, loss.cost)?
            .with_term("keep", value(&loss.keep)?)
            .with_term("mmd", value(&loss.noise)?)
            .with_term("harmful", value(&loss.harmful)?)
            .with_term("loss", value(&total)?))
    }
}

#[test]
fn one_step_of_repnoise_equals_the_public_code_and_the_plain_form_its_formula() {
    let cases = [
        ("reference", repnoise(RepNoiseForm::Reference, 1.0, 0.5, 1.0)),
        ("plain", repnoise(RepNoiseForm::Plain, 0.7, 0.5, 0.4)),
    ];
    for (name, method) in cases {
        let expected = &fixture("alignment_a")["repnoise"][name];
        let mut objective = Fixed(method.clone());
        let gradient = objective.gradient(&decoder(), 0).unwrap();
        for term in ["keep", "mmd", "harmful", "loss"] {
            assert_term(&gradient, term, &expected[term]);
        }
        assert_gradient(&gradient, &expected["gradients"], 1e-4);
        assert_stepped(&stepped(&method, &mut objective), &expected["weights"]);
    }
}

#[test]
fn repnoise_without_noise_follows_the_slope_of_its_loss() {
    for form in [RepNoiseForm::Plain, RepNoiseForm::Reference] {
        // The noise's bandwidth is held fixed in the gradient but not in a slope: its own test is mmd's.
        let mut objective = Fixed(repnoise(form, 1.0, 0.0, 0.4));
        let gradient = objective.gradient(&decoder(), 0).unwrap();
        assert_slopes(&gradient, |model| {
            Fixed(repnoise(form, 1.0, 0.0, 0.4)).gradient(model, 0).unwrap().terms[3].1
        });
    }
}

#[test]
fn repnoise_needs_pairs_that_differ() {
    let context = |refusals: Vec<Example>| DefenceContext { refusals: refusals.into(), ..context() };
    let harmful = context(Vec::new()).harmful[0].clone();
    let reference = repnoise(RepNoiseForm::Reference, 1.0, 0.5, 0.4);
    let refused = |refusals| reference.objective(&context(refusals), &decoder()).err().map(|e| e.to_string());
    assert!(refused(vec![harmful.clone()]).unwrap().contains("do not differ"));
    assert!(refused(Vec::new()).unwrap().contains("both answers"));
    assert!(refused(vec![examples()[1].clone()]).is_none());
}

//! SafeMoE: its term against PyTorch's `KLDivLoss`, its gradient against finite differences, and which steps
//! are whose.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use crate::common::{context, decoder, examples, inner, mixture, slope, uniform};
use candle_core::{Device, Tensor};
use titer_data::{Draw, Packed, Sampler, Stream};
use titer_defences::{Error, Guard, Held, RoutingForm, SafeMoe, UserTraining};
use titer_model::{Decoder, View};
use titer_plan::stage::TrainSpec;
use titer_train::loss::value;
use titer_train::{Gradient, Objective, Supervised, Trainer, router_logits, routing_divergence};

fn train(steps: u64) -> TrainSpec {
    TrainSpec::constant(steps, 2, 1e-3, None)
}

fn user() -> UserTraining {
    let stream = Stream::new(4, "user");
    let batches = Sampler::new(examples()[5..8].to_vec(), stream, 2, Draw::WithReplacement).unwrap();
    UserTraining { batches, train: train(6) }
}

fn method(form: RoutingForm) -> SafeMoe {
    SafeMoe { form, held: Held::Forbidden, prompts: 1, batch: 1, temperature: 0.5, every: 2, weight: 0.75 }
}

fn objective(form: RoutingForm, start: &Decoder) -> Box<dyn Objective> {
    method(form).objective(user(), &context(), start).unwrap()
}

/// Away from the start, where the term and its gradient are zero.
fn moved() -> Decoder {
    let model = mixture();
    Trainer::new(train(2), &model).unwrap().fit(&model, &mut user().objective(), &mut ()).unwrap();
    model
}

#[test]
fn the_divergence_is_torchs() {
    let layer = |values: [f32; 8]| Tensor::from_slice(&values, (2, 4), &Device::Cpu).unwrap();
    let before = [
        layer([0.2, -0.1, 0.4, 0.0, 1.0, 0.5, -0.5, 0.25]),
        layer([-0.3, 0.6, 0.1, 0.2, 0.05, 0.15, -0.25, 0.35]),
    ];
    let after = [
        layer([0.1, 0.3, 0.2, -0.2, 0.9, 0.7, -0.1, 0.0]),
        layer([0.3, 0.2, 0.4, -0.1, 0.25, -0.05, 0.15, 0.1]),
    ];
    // torch.nn.KLDivLoss(reduction="batchmean") of logits stacked as (prompts, layers, experts), in f64.
    for (temperature, expected) in [(0.1, 2.549_303_6), (1.0, 0.083_941_8)] {
        let got = value(&routing_divergence(&before, &after, temperature).unwrap()).unwrap();
        assert!((got - expected).abs() < 1e-5 * expected, "{got} against {expected}");
    }
}

#[test]
fn routing_steps_follow_the_users_and_leave_the_users_order_alone() {
    let start = mixture();
    let mut greedy = objective(RoutingForm::Greedy, &start);
    let model = moved();
    let term = |gradient: &Gradient| gradient.terms[0].0;
    let terms: Vec<&str> = (0..6).map(|step| term(&greedy.gradient(&model, step).unwrap())).collect();
    let [user_term, routing] = ["cross_entropy", "routing_divergence"];
    assert_eq!(terms, [user_term, user_term, routing, user_term, user_term, routing]);
    // Four of the user's steps are done after six.
    assert_eq!(method(RoutingForm::Greedy).steps(4), 6);
    assert_eq!(method(RoutingForm::Joint).steps(4), 4);
    let mut plain = Supervised::new(user().batches);
    for (step, of_user) in [(0, 0), (1, 1), (3, 2), (4, 3)] {
        let got = greedy.gradient(&model, step).unwrap().terms[0].1;
        assert_eq!(got, plain.gradient(&model, of_user).unwrap().terms[0].1, "step {step}");
    }
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let start = mixture();
    let model = moved();
    let prompts = Packed::from_prompts(context().harmful.iter().map(|example| example.prompt()));
    let before = router_logits(&start, &prompts, View::Detached).unwrap();
    let divergence = |model: &Decoder| {
        let now = router_logits(model, &prompts, View::Detached).unwrap();
        value(&routing_divergence(&before, &now, 0.5).unwrap()).unwrap()
    };
    assert!(divergence(&model) > 1e-4, "the routing has moved");
    let direction = model
        .parameters()
        .iter()
        .zip(1..)
        .map(|((name, var), seed)| {
            let values = uniform(seed, var.elem_count());
            (name.to_owned(), Tensor::from_vec(values, var.dims(), &Device::Cpu).unwrap())
        })
        .collect();
    let greedy = objective(RoutingForm::Greedy, &start).gradient(&model, 2).unwrap();
    let expected = slope(&model, &direction, 2e-4, divergence);
    let got = inner(&greedy.by_parameter, &direction);
    assert!((got - expected).abs() < 2e-2 * expected.abs(), "{got} against {expected}");
    // The joint form is the user's gradient and the same with its weight.
    let joint = objective(RoutingForm::Joint, &start).gradient(&model, 0).unwrap();
    let plain = Supervised::new(user().batches).gradient(&model, 0).unwrap();
    let sum = inner(&plain.by_parameter, &direction) + 0.75 * got;
    let joint = inner(&joint.by_parameter, &direction);
    assert!((joint - sum).abs() < 1e-4 * sum.abs().max(1.0), "{joint} against {sum}");
}

#[test]
fn a_dense_model_and_too_few_prompts_are_refused() {
    let refused = |method: SafeMoe, model: &Decoder| match method.objective(user(), &context(), model) {
        Err(Error::NotApplicable { problem, .. }) => problem,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert!(refused(method(RoutingForm::Greedy), &decoder()).contains("no router"));
    let greedy = SafeMoe { prompts: 9, ..method(RoutingForm::Greedy) };
    assert!(refused(greedy, &mixture()).contains("lower `prompts`"));
}

//! The fine-tuning-stage defences against PyTorch: the values of `tests/fixtures/fine_tuning.json`, made by
//! `tests/peers/fine_tuning.py`.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::common::{
    assert_gradient, assert_picture, close, context, decoder, examples, fixture, inner, moved, slope, uniform,
};
use candle_core::{Device, Tensor};
use titer_data::{Draw, Packed, Sampler, Stream};
use titer_defences::{
    ConstrainedSft, DefenceContext, Error, Ewc, Freeze, Guard, Guide, HiddenStates, Kl, Ldifs, Lisa, Part,
    RefusalDistillation, Rehearsed, SafeInstruct, UserTraining,
};
use titer_model::{Decoder, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_train::loss::supervised_logits;
use titer_train::{Gradient, Objective, Observer, Point, StepRecord, Trainer};

/// Batches of one and the same example.
fn user(steps: u64, batch: usize) -> UserTraining {
    let train = TrainSpec::constant(steps, batch, 1e-3, None);
    let only = examples()[5..6].to_vec();
    let batches = Sampler::new(only, Stream::new(4, "user"), batch, Draw::WithReplacement).unwrap();
    UserTraining { batches, train }
}

/// One refusal and one permitted example at a time.
fn guide() -> Guide {
    Guide { batch: 2, permitted_share: 0.5 }
}

/// Remembers the terms of every step.
#[derive(Default)]
struct Terms(Vec<Vec<(&'static str, f64)>>);

impl Observer for Terms {
    fn between(&mut self, _: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn stepped(&mut self, record: &StepRecord) -> titer_train::Result<()> {
        self.0.push(record.terms.clone());
        Ok(())
    }
}

fn train(model: &Decoder, spec: TrainSpec, objective: &mut dyn Objective) -> Terms {
    let mut terms = Terms::default();
    Trainer::new(spec, model).unwrap().fit(model, objective, &mut terms).unwrap();
    terms
}

#[test]
fn lisa_follows_the_public_trainer_across_two_switches() {
    let expected = &fixture("fine_tuning")["lisa"];
    let lisa = Lisa { guide: guide(), rho: 20.0, alignment_steps: 2, user_steps: 3, warmup_share: 0.1 };
    let (model, user) = (decoder(), user(10, 1));
    let spec = TrainSpec { steps: 7, ..user.train };
    let mut objective = lisa.objective(user, &context(), &model).unwrap();
    let terms = train(&model, spec, objective.as_mut());
    for (step, terms) in terms.0.iter().enumerate() {
        let (name, cross_entropy) = terms[0];
        let aligning = [0, 1, 5, 6].contains(&step);
        assert_eq!(name, if aligning { "guide_cross_entropy" } else { "cross_entropy" }, "step {step}");
        let loss = expected["cross_entropy"][step].as_f64().unwrap();
        close(cross_entropy, loss, loss, 1e-4, "loss");
        let pull = terms.get(1).map_or(0.0, |(_, pull)| *pull);
        close(pull, expected["anchor"][step].as_f64().unwrap(), 1.0, 1e-4, "proximal term");
    }
    let weights = model.parameters().iter().map(|(name, var)| (name, var.as_tensor().clone()));
    assert_picture(weights, &expected["weights"], 1e-4);
}

/// The gradient of a guard that began at the decoder and stands at the moved one.
fn followed(guard: &dyn Guard, step: u64) -> Gradient {
    let mut objective = guard.objective(user(10, 1), &context(), &decoder()).unwrap();
    objective.gradient(&moved(), step).unwrap()
}

fn term(gradient: &Gradient, name: &str) -> f64 {
    gradient.terms.iter().find(|(term, _)| *term == name).unwrap().1
}

/// The term of this name, and the whole gradient, are those of the fixture.
fn assert_follows(guard: &dyn Guard, expected: &serde_json::Value, name: &str) {
    let gradient = followed(guard, 0);
    let value = expected[name].as_f64().unwrap();
    close(term(&gradient, name), value, value, 1e-4, name);
    assert_gradient(&gradient, &expected["gradients"], 1e-4);
}

fn constrained(floor: f64) -> ConstrainedSft {
    ConstrainedSft { beta_first: 0.5, beta_early: 2.0, beta_late: 0.1, early_tokens: 5, floor }
}

#[test]
fn only_the_alignment_data_that_is_asked_for_must_be_there() {
    let context = DefenceContext { permitted: Vec::new().into(), ..context() };
    let begins = |permitted_share| {
        let guard = RefusalDistillation {
            guide: Guide { batch: 4, permitted_share },
            beta: 1.0,
            target: Rehearsed::Distributions,
        };
        guard.objective(user(10, 1), &context, &decoder()).map(|_| ())
    };
    assert!(begins(0.0).is_ok() && begins(0.1).is_ok(), "a tenth of 4 is no example");
    assert!(matches!(begins(0.5), Err(Error::Data(_))));
}

#[test]
fn mixed_refusals_count_as_rows_of_the_batch() {
    let expected = &fixture("fine_tuning")["mixed"];
    let guard = SafeInstruct { share: 0.5 };
    let mut objective = guard.objective(user(10, 2), &context(), &decoder()).unwrap();
    let gradient = objective.gradient(&moved(), 3).unwrap();
    assert_eq!(term(&gradient, "refusal_examples"), 1.0);
    let loss = expected["cross_entropy"].as_f64().unwrap();
    close(term(&gradient, "cross_entropy"), loss, loss, 1e-4, "loss");
    assert_gradient(&gradient, &expected["gradients"], 1e-4);
}

#[test]
fn refusals_have_their_share_of_every_stretch_of_steps() {
    for (share, places) in [(0.0, 3), (0.07, 4), (0.3, 10), (1.0, 2)] {
        let guard = SafeInstruct { share };
        let mut objective = guard.objective(user(40, places), &context(), &decoder()).unwrap();
        let (model, mut mixed) = (decoder(), 0.0);
        for step in 0..12 {
            let gradient = objective.gradient(&model, step).unwrap();
            assert_eq!(gradient.cost.examples, places as u64, "the batch keeps its size");
            mixed += term(&gradient, "refusal_examples");
            let due = share * places as f64 * (step + 1) as f64;
            assert!((due - 1.0..=due).contains(&mixed), "{share}: {mixed} after step {step}, {due} are due");
        }
    }
}

#[test]
fn refusal_distillation_equals_torch() {
    let guard = RefusalDistillation { guide: guide(), beta: 0.7, target: Rehearsed::Distributions };
    assert_follows(&guard, &fixture("fine_tuning")["kl"], "divergence");
}

/// The divergence and the cross-entropy of the user's example, summed by hand over rows of logits.
#[test]
fn kl_compares_the_users_own_answers() {
    let gradient =
        Kl { beta: 0.7 }.objective(user(10, 1), &context(), &decoder()).unwrap().gradient(&moved(), 0);
    let gradient = gradient.unwrap();
    let batch = Packed::from_examples(&examples()[5..6]);
    let rows =
        |model: &Decoder| -> Vec<Vec<f32>> { supervised_logits(model, &batch).unwrap().to_vec2().unwrap() };
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let total: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
        row.iter().map(|logit| f64::from(*logit) - total.ln()).collect()
    };
    let (mut divergence, mut cross_entropy) = (0.0, 0.0);
    for ((start, now), target) in rows(&decoder()).iter().zip(rows(&moved())).zip(&batch.targets) {
        let (start, now) = (log_softmax(start), log_softmax(&now));
        divergence += start.iter().zip(&now).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        cross_entropy -= now[*target as usize];
    }
    let count = batch.targets.len() as f64;
    for (name, sum) in [("divergence", divergence), ("cross_entropy", cross_entropy)] {
        close(term(&gradient, name), sum / count, sum / count, 1e-4, name);
    }
    assert_eq!(gradient.cost.examples, 1);
}

#[test]
fn the_token_wise_constraint_equals_the_papers_scalar() {
    assert_follows(&constrained(0.0), &fixture("fine_tuning")["constrained"], "constrained");
}

#[test]
fn with_a_floor_of_one_tokens_that_became_likelier_keep_their_whole_weight() {
    let (model, user) = (decoder(), user(10, 1));
    train(&model, user.train, &mut user.objective());
    let gradient = |floor| {
        let mut objective = constrained(floor).objective(user.clone(), &context(), &decoder()).unwrap();
        objective.gradient(&model, 0).unwrap().norm().unwrap()
    };
    let plain = user.objective().gradient(&model, 0).unwrap().norm().unwrap();
    close(gradient(1.0), plain, plain, 1e-6, "gradient with the floor");
    assert!(gradient(0.0) < 0.9 * plain, "{} without it, {plain} unconstrained", gradient(0.0));
}

#[test]
fn held_features_equal_torch() {
    for (name, states) in [("mlp", HiddenStates::Mlp), ("residual", HiddenStates::Residual)] {
        assert_follows(&Ldifs { rho: 0.03, states }, &fixture("fine_tuning")["ldifs"][name], "features");
    }
}

#[test]
fn the_features_of_a_larger_batch_are_averaged_over_its_examples() {
    let guard = Ldifs { rho: 0.03, states: HiddenStates::Mlp };
    let features = |batch| {
        let mut objective = guard.objective(user(10, batch), &context(), &decoder()).unwrap();
        term(&objective.gradient(&moved(), 0).unwrap(), "features")
    };
    close(features(3), features(1), features(1), 1e-5, "features of three like one");
}

fn ewc() -> Ewc {
    Ewc { guide: guide(), lambda: 3000.0, fisher_batches: 3 }
}

#[test]
fn elastic_weight_consolidation_equals_torch() {
    assert_follows(&ewc(), &fixture("fine_tuning")["ewc"], "anchor");
}

#[test]
fn the_first_step_bears_the_cost_of_the_fisher_information() {
    let examples = |step| followed(&ewc(), step).cost.examples;
    assert_eq!((examples(0), examples(1)), (1 + 3 * 2, 1));
}

#[test]
fn what_is_followed_is_the_slope_of_what_is_named() {
    let lisa = Lisa { guide: guide(), rho: 2.0, alignment_steps: 2, user_steps: 3, warmup_share: 0.0 };
    let kl = Kl { beta: 3.0 };
    let distilled = RefusalDistillation { guide: guide(), beta: 2.0, target: Rehearsed::Distributions };
    let features = Ldifs { rho: 0.1, states: HiddenStates::Residual };
    type Case<'a> = (&'a dyn Guard, &'a [(&'a str, f64)]);
    let cases: [Case<'_>; 6] = [
        (&lisa, &[("guide_cross_entropy", 1.0), ("anchor", 1.0)]),
        (&distilled, &[("cross_entropy", 1.0), ("divergence", 2.0)]),
        (&kl, &[("cross_entropy", 1.0), ("divergence", 3.0)]),
        (&constrained(0.0), &[("constrained", 1.0)]),
        (&features, &[("cross_entropy", 1.0), ("features", 1.0)]),
        (&ewc(), &[("cross_entropy", 1.0), ("anchor", 1.0)]),
    ];
    for (guard, terms) in cases {
        // Step 1: Lisa aligns and its warm-up is over.
        let mut objective = guard.objective(user(10, 1), &context(), &decoder()).unwrap();
        let model = moved();
        let gradient = objective.gradient(&model, 1).unwrap();
        let norm = gradient.norm().unwrap();
        // The gradient's own direction and as much again of one that has nothing to do with it.
        let direction: BTreeMap<String, Tensor> = gradient
            .by_parameter
            .iter()
            .zip(5001..)
            .map(|((name, g), seed)| {
                let noise = Tensor::from_vec(uniform(seed, g.elem_count()), g.shape(), &Device::Cpu).unwrap();
                (name.clone(), ((g / norm).unwrap() + (noise / 300.0).unwrap()).unwrap())
            })
            .collect();
        let measured = slope(&model, &direction, 5e-3, |model| {
            let at = objective.gradient(model, 1).unwrap();
            terms.iter().map(|(name, weight)| weight * term(&at, name)).sum()
        });
        let expected = inner(&gradient.by_parameter, &direction);
        close(measured, expected, expected, 2e-3, terms[0].0);
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_frozen_layer_keeps_its_bits_under_weight_decay_and_the_rest_trains_as_in_torch() {
    let expected = &fixture("fine_tuning")["freeze"];
    let guard = Freeze { part: Part::Layers, first_layer: 1, last_layer: 1 };
    let (model, start, user) = (decoder(), decoder(), user(3, 1));
    let spec = TrainSpec { weight_decay: 0.1, ..user.train };
    let mut objective = guard.objective(user, &context(), &model).unwrap();
    train(&model, spec, objective.as_mut());
    let weights = || model.parameters().iter().map(|(name, var)| (name, var.as_tensor().clone()));
    assert_picture(weights(), &expected["weights"], 1e-4);
    for (name, weight) in weights() {
        let same = bits(&weight) == bits(start.parameters().get(name).unwrap());
        assert_eq!(same, name.starts_with("model.layers.1."), "{name}");
    }
}

#[test]
fn a_part_of_adapters_is_held_as_well() {
    for (part, kept) in [(Part::Attention, "self_attn"), (Part::Mlp, "mlp")] {
        let guard = Freeze { part, first_layer: 0, last_layer: 1 };
        let mut model = decoder();
        let spec = LoraSpec::everywhere(2, 4.0);
        model.attach(&spec, &mut Stream::new(3, "adapters").at(0)).unwrap();
        let start = model.duplicate().unwrap();
        let user = user(3, 1);
        let spec = TrainSpec { weight_decay: 0.1, ..user.train };
        let mut objective = guard.objective(user, &context(), &model).unwrap();
        train(&model, spec, objective.as_mut());
        for (name, var) in model.parameters().iter() {
            let same = bits(var) == bits(start.parameters().get(name).unwrap());
            assert_eq!(same, name.contains(kept) && !name.contains("layers.2."), "{name}");
        }
    }
}

#[test]
fn a_part_that_is_nothing_or_not_there_is_refused() {
    let refused = |first_layer, last_layer, model: &Decoder, part| {
        let guard = Freeze { part, first_layer, last_layer };
        matches!(guard.objective(user(3, 1), &context(), model), Err(Error::NotApplicable { .. }))
    };
    let plain = decoder();
    assert!(refused(2, 1, &plain, Part::Layers) && refused(1, 3, &plain, Part::Layers));
    assert!(!refused(0, 2, &plain, Part::Layers), "embeddings and head are still trained");
    let mut adapted = decoder();
    let spec = LoraSpec { targets: vec!["q_proj".to_owned()], ..LoraSpec::everywhere(2, 4.0) };
    adapted.attach(&spec, &mut Stream::new(3, "adapters").at(0)).unwrap();
    assert!(refused(0, 2, &adapted, Part::Layers), "no adapter would be trained");
    assert!(refused(0, 2, &adapted, Part::Mlp), "no adapter would be held");
}

//! Repairs against PyTorch: the values of `tests/fixtures/post_fine_tuning.json`, made by
//! `tests/peers/post_fine_tuning.py`. Weights come from the same generator on both sides.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;

use crate::common::{close, decoder, examples, fixture, inner, slope, uniform};
use candle_core::{Device, Tensor};
use serde_json::Value;
use titer_data::{Example, Packed, Stream};
use titer_defences::registry::{Defence, defence, methods};
use titer_defences::{
    Antidote, DefenceContext, Error, Form, Interpolation, NoiseUnit, Normalization, Panacea, Place,
    RandomPerturbation, Repair, RepairContext, RepairReport, Resta, SafeLora, SparedBy,
};
use titer_model::{Decoder, LoraSpec};
use titer_plan::{MethodSpec, Sham};
use titer_train::loss::{mean_cross_entropy, value};
use titer_train::perturbed::at_weights;
use titer_train::{Cost, Gradient, Matrices, Objective, Selection};

/// Rank and alpha of the user's adapters: their product counts twice.
const RANK: usize = 4;
const ALPHA: f64 = 8.0;

fn projections() -> Selection {
    Selection::everywhere(Matrices::Projections)
}

fn scaled(seed: u64, shape: &[usize], by: f32) -> Tensor {
    let values: Vec<f32> = uniform(seed, shape.iter().product()).iter().map(|value| value * by).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The model before alignment.
fn base() -> Decoder {
    let model = decoder();
    let chosen = model.parameters().iter().filter(|(name, _)| projections().contains(name));
    for (seed, (_, var)) in (300..).zip(chosen) {
        var.set(&(var.as_tensor().detach() - scaled(seed, var.dims(), 1.0 / 64.0)).unwrap()).unwrap();
    }
    model
}

/// The aligned model with the user's adapters.
fn with_adapters() -> Decoder {
    let mut model = decoder();
    model.attach(&LoraSpec::everywhere(RANK, ALPHA), &mut Stream::new(0, "adapters").at(0)).unwrap();
    for (factor, first) in [("lora_A", 400), ("lora_B", 500)] {
        let factors = model.parameters().iter().filter(|(name, _)| name.contains(factor));
        for (seed, (_, var)) in (first..).zip(factors) {
            var.set(&scaled(seed, var.dims(), 1.0 / 8.0)).unwrap();
        }
    }
    model
}

/// The same user's model without adapters, as full fine-tuning leaves one.
fn merged() -> Decoder {
    with_adapters().merge().unwrap()
}

fn context(of: impl Fn(std::ops::Range<usize>) -> Vec<Example>) -> RepairContext {
    let data = DefenceContext {
        harmful: of(0..3).into(),
        refusals: of(3..5).into(),
        permitted: of(5..8).into(),
        seed: 5,
    };
    RepairContext { data, aligned: decoder(), base: Some(base()) }
}

fn all() -> RepairContext {
    context(|range| examples()[range].to_vec())
}

/// One example of each kind, so that every batch is that example whatever is drawn.
fn single() -> RepairContext {
    let at = |range: std::ops::Range<usize>| if range.start == 5 { 1 } else { 0 };
    context(|range| vec![examples()[at(range)].clone()])
}

/// Norm, inner product with fixed numbers, and entries of every projection, to `tolerance` of the norm or
/// of the root mean square.
fn assert_weights(model: &Decoder, expected: &Value, tolerance: f64) {
    assert!(model.adapter().is_none(), "a repaired model has no adapters");
    let (probe, all) = (uniform(7, 96 * 256), values(model));
    let mut compared = 0;
    for (name, values) in all.into_iter().filter(|(name, _)| projections().contains(name)) {
        let (name, expected) = (name.as_str(), expected[&name].as_array().unwrap());
        let expected: Vec<f64> = expected.iter().map(|value| value.as_f64().unwrap()).collect();
        let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let probed: f64 = values.iter().zip(&probe).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        close(norm, expected[0], expected[0], tolerance, name);
        close(probed, expected[1], expected[0], tolerance, name);
        let typical = expected[0] / (values.len() as f64).sqrt();
        for (at, expected) in expected[2..].iter().enumerate() {
            let got = f64::from(values[at * (values.len() - 1) / 2]);
            close(got, *expected, typical.max(expected.abs()), tolerance, &format!("{name}[{at}]"));
        }
        compared += 1;
    }
    assert_eq!(compared, 21, "every projection is compared");
}

fn values(model: &Decoder) -> BTreeMap<String, Vec<f32>> {
    let parameters = model.parameters().iter();
    parameters.map(|(name, var)| (name.to_owned(), var.flatten_all().unwrap().to_vec1().unwrap())).collect()
}

fn fingerprint(ones: impl Iterator<Item = usize>) -> (u64, u64) {
    ones.fold((0, 0xCBF2_9CE4_8422_2325), |(count, state), position| {
        (count + 1, (state ^ position as u64).wrapping_mul(0x0100_0000_01B3))
    })
}

fn antidote(share: f64) -> Antidote {
    Antidote {
        selection: projections(),
        share,
        samples: 100,
        form: Form::Merged,
        spare: 0.0,
        spared_by: SparedBy::Both,
        place: Place::Chosen,
    }
}

#[test]
fn antidote_sets_exactly_the_weights_of_the_reference_to_zero() {
    let expected = &fixture("post_fine_tuning")["antidote"];
    let cases = [
        ("merged", antidote(0.05)),
        ("spared", Antidote { spare: 0.2, ..antidote(0.1) }),
        ("magnitude", Antidote { samples: 0, ..antidote(0.1) }),
    ];
    for (case, method) in cases {
        for tuned in [with_adapters(), merged()] {
            let (model, report) = method.repair(tuned, &all()).unwrap();
            assert_weights(&model, &expected[case]["weights"], 1e-4);
            let mut changed = 0;
            for (name, mask) in expected[case]["masks"].as_object().unwrap() {
                let zeros = values(&model)[name].clone().into_iter().enumerate();
                let (ones, fnv) = fingerprint(zeros.filter(|(_, value)| *value == 0.0).map(|(at, _)| at));
                assert_eq!(ones, mask["ones"].as_u64().unwrap(), "{case}: {name}");
                assert_eq!(fnv.to_string(), mask["fnv"].as_str().unwrap(), "{case}: {name}");
                changed += ones;
            }
            assert_eq!(report.changed, changed, "{case}");
            assert_eq!(report.considered, 3 * (4 * 96 * 96 + 3 * 96 * 256), "{case}");
        }
    }
}

#[test]
fn antidote_prunes_each_factor_of_the_adapters_as_the_public_code_does() {
    let expected = &fixture("post_fine_tuning")["antidote"]["factors"];
    let method = Antidote { form: Form::Factors, ..antidote(0.25) };
    let (model, report) = method.repair(with_adapters(), &all()).unwrap();
    assert_weights(&model, &expected["weights"], 1e-5);
    let masks = expected["masks"].as_object().unwrap().values();
    let ones = masks.map(|mask| mask["a"]["ones"].as_u64().unwrap() + mask["b"]["ones"].as_u64().unwrap());
    assert_eq!(report.changed, ones.sum::<u64>());
    let refused = method.repair(merged(), &all());
    assert!(matches!(refused, Err(Error::NotApplicable { name: "antidote", .. })));
}

#[test]
fn antidote_refuses_texts_that_are_not_there_and_selections_of_nothing() {
    let refused = |method: Antidote, context: &RepairContext| {
        let result = method.repair(merged(), context);
        assert!(matches!(result, Err(Error::NotApplicable { .. })), "{method:?}");
    };
    refused(antidote(0.1), &context(|_| Vec::new()));
    refused(Antidote { samples: 0, spare: 0.1, ..antidote(0.1) }, &all());
    let none = Selection { first_layer: 3, ..projections() };
    refused(Antidote { selection: none, ..antidote(0.1) }, &all());
    refused(Antidote { selection: Selection::everywhere(Matrices::All), ..antidote(0.1) }, &all());
}

#[test]
fn interpolation_equals_its_formula_and_ends_at_both_models() {
    let method = |alpha| Interpolation {
        selection: Selection::everywhere(Matrices::All),
        alpha,
        place: Place::Chosen,
    };
    let (model, _) = method(0.3).repair(with_adapters(), &all()).unwrap();
    assert_weights(&model, &fixture("post_fine_tuning")["interpolation"], 1e-5);
    let end = |alpha| method(alpha).repair(with_adapters(), &all()).unwrap();
    assert_eq!(values(&end(0.0).0), values(&merged()));
    assert_eq!(end(0.0).1, RepairReport { considered: end(1.0).1.considered, ..RepairReport::default() });
    assert_eq!(values(&end(1.0).0), values(&decoder()));
}

#[test]
fn safe_lora_projects_the_updates_that_leave_alignment() {
    let expected = &fixture("post_fine_tuning")["safe_lora"];
    let threshold = expected["threshold"]["threshold"].as_f64().unwrap();
    let by_norm = SafeLora {
        selection: projections(),
        threshold,
        count: 0,
        normalization: Normalization::Norm,
        place: Place::Chosen,
    };
    let cases = [
        ("threshold", by_norm.clone()),
        ("count", SafeLora { count: 5, threshold: -1.0, ..by_norm.clone() }),
        ("scale_free", SafeLora { count: 4, normalization: Normalization::SquaredNorm, ..by_norm.clone() }),
    ];
    for (case, method) in cases {
        for tuned in [with_adapters(), merged()] {
            let (model, _) = method.repair(tuned, &all()).unwrap();
            assert_weights(&model, &expected[case]["weights"], 1e-5);
            let (before, after) = (values(&merged()), values(&model));
            let projected = before.iter().filter(|(name, value)| after[*name] != **value).count();
            assert_eq!(projected as u64, expected[case]["projected"].as_u64().unwrap(), "{case}");
        }
    }
    let aligned = RepairContext { base: None, ..all() };
    let refused = by_norm.repair(merged(), &aligned);
    assert!(matches!(refused, Err(Error::NotApplicable { name: "safe-lora", .. })));
    // Where alignment changed nothing there is no direction: the update stays.
    let unmoved = RepairContext { base: Some(decoder()), ..all() };
    let (model, report) = SafeLora { threshold: 1.0, ..by_norm }.repair(merged(), &unmoved).unwrap();
    assert_eq!((values(&model), report.changed), (values(&merged()), 0));
}

fn resta(drop: f64) -> Resta {
    let selection = Selection::everywhere(Matrices::All);
    Resta { selection, gamma: 0.8, drop, steps: 3, rate: 1e-3, batch: 2, clip: 1.0, place: Place::Chosen }
}

#[test]
fn resta_adds_the_safety_vector() {
    let (model, report) = resta(0.0).repair(with_adapters(), &single()).unwrap();
    // The first AdamW steps are almost the gradient's sign, which f32 cannot tell where a gradient is nearly
    // zero.
    assert_weights(&model, &fixture("post_fine_tuning")["resta"], 1e-4);
    assert_eq!(report.cost.examples, 6);
}

#[test]
fn dare_drops_its_share_of_the_users_update_and_rescales_the_rest() {
    let drop = 0.4;
    let method = Resta { gamma: 0.0, ..resta(drop) };
    let (model, _) = method.repair(with_adapters(), &single()).unwrap();
    let (aligned, tuned, model) = (values(&decoder()), values(&merged()), values(&model));
    let (mut dropped, mut seen) = (0.0, 0.0);
    for name in aligned.keys().filter(|name| projections().contains(name)) {
        for ((aligned, tuned), got) in aligned[name].iter().zip(&tuned[name]).zip(&model[name]) {
            let rescaled = aligned + (tuned - aligned) / (1.0 - drop as f32);
            if got == aligned && tuned != aligned {
                dropped += 1.0;
            } else {
                assert!((got - rescaled).abs() < 1e-6, "{name}: {got} is neither {aligned} nor {rescaled}");
            }
            seen += 1.0;
        }
    }
    let spread = (drop * (1.0 - drop) / seen).sqrt();
    assert!((dropped / seen - drop).abs() < 5.0 * spread, "{}", dropped / seen);
}

#[test]
fn random_perturbation_has_the_deviation_that_it_says() {
    for (relative_to, scale) in [(NoiseUnit::Matrix, 0.2), (NoiseUnit::One, 0.01)] {
        let method = RandomPerturbation { selection: projections(), scale, relative_to, form: Form::Merged };
        let (model, _) = method.repair(with_adapters(), &all()).unwrap();
        let (before, after) = (values(&merged()), values(&model));
        let mut first: Option<Vec<f64>> = None;
        for (name, before) in before.iter().filter(|(name, _)| projections().contains(name)) {
            let count = before.len() as f64;
            let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>() / count;
            let before: Vec<f64> = before.iter().copied().map(f64::from).collect();
            let noise: Vec<f64> = before.iter().zip(&after[name]).map(|(a, b)| f64::from(*b) - a).collect();
            let unit = if relative_to == NoiseUnit::Matrix { square(&before).sqrt() } else { 1.0 };
            let deviation = square(&noise).sqrt() / (unit * scale);
            assert!((deviation - 1.0).abs() < 5.0 / (2.0 * count).sqrt(), "{name}: {deviation}");
            let mean = noise.iter().sum::<f64>() / count / (unit * scale);
            assert!(mean.abs() < 5.0 / count.sqrt(), "{name}: {mean}");
            // Matrices of one shape get different numbers.
            match &first {
                None => first = Some(noise.iter().map(|value| value / unit).collect()),
                Some(first) => {
                    let pairs = first.iter().zip(&noise);
                    let common: f64 = pairs.map(|(a, b)| a * b / unit).sum::<f64>() / (scale * scale);
                    let shared = first.len().min(noise.len()) as f64;
                    assert!(common.abs() < 6.0 * shared.sqrt(), "{name}: {common}");
                }
            }
        }
    }
}

fn panacea(steps: u64, cap: f64) -> Panacea {
    let (batch_harmful, batch_permitted) = (2, 3);
    let place = Place::Chosen;
    Panacea {
        rho: 0.5,
        lambda: 0.3,
        cap,
        steps,
        rate: 1e-3,
        batch_harmful,
        batch_permitted,
        clip: 1.0,
        place,
    }
}

#[test]
fn panacea_follows_and_adds_the_perturbation() {
    let expected = &fixture("post_fine_tuning")["panacea"];
    for (case, cap) in [("active", 50.0), ("silent", 1.0)] {
        let (model, _) = panacea(2, cap).repair(merged(), &single()).unwrap();
        assert_weights(&model, &expected[case], 1e-4);
    }
    let (model, report) = panacea(0, 5.0).repair(with_adapters(), &single()).unwrap();
    assert_weights(&model, &expected["adapters"], 1e-5);
    assert_eq!(report.considered, 3 * RANK as u64 * (4 * (96 + 96) + 3 * (96 + 256)));
}

/// Of the loss in which the perturbation is held: its own dependence on the weights is not followed, as in the public
/// code.
#[test]
fn panacea_follows_the_slope_of_its_loss_with_the_perturbation_held() {
    let (model, data) = (merged(), single().data);
    let batch = |examples: &[Example], count: usize| Packed::from_examples(vec![&examples[0]; count]);
    let (harmful, permitted) = (batch(&data.harmful, 2), batch(&data.permitted, 3));
    let gradient = panacea(1, 50.0).objective(&data).unwrap().gradient(&model, 0).unwrap();
    let along =
        Gradient::of(&mean_cross_entropy(&model, &harmful).unwrap(), &model, Cost::default()).unwrap();
    let scale = 0.5 / along.norm().unwrap();
    let norm = gradient.norm().unwrap();
    let direction =
        gradient.by_parameter.iter().map(|(name, g)| (name.clone(), (g / norm).unwrap())).collect();
    let of = |model: &Decoder, batch: &Packed| value(&mean_cross_entropy(model, batch).unwrap()).unwrap();
    let measured = slope(&model, &direction, 2e-3, |model| {
        let there = at_weights(model, &along.by_parameter, scale, |model| Ok(of(model, &harmful))).unwrap();
        of(model, &permitted) + 0.3 * (of(model, &harmful) - there)
    });
    let expected = inner(&gradient.by_parameter, &direction);
    close(measured, expected, expected, 2e-3, "slope");
}

/// The method's defaults, made small enough for a test.
fn small(method: &titer_plan::Method) -> MethodSpec {
    let mut spec = method.defaults();
    for (name, value) in &mut spec.parameters {
        match name.as_str() {
            "steps" => *value = 3.into(),
            "samples" => *value = 2.into(),
            "drop" | "spare" => *value = 0.1.into(),
            // Low enough a threshold would leave these weights as they are.
            "threshold" => *value = 1.0.into(),
            name if name.starts_with("batch") => *value = 2.into(),
            _ => {}
        }
    }
    spec
}

#[test]
fn every_repair_gives_the_same_bits_twice_with_and_without_adapters() {
    let bits =
        |model: &Decoder| -> Vec<u32> { values(model).into_values().flatten().map(f32::to_bits).collect() };
    let mut repairs = 0;
    for method in methods() {
        let Defence::Repair(repair) = defence(&small(&method)).unwrap() else { continue };
        for tuned in [with_adapters as fn() -> Decoder, merged] {
            let (once, first) = repair.repair(tuned(), &all()).unwrap();
            let (twice, second) = repair.repair(tuned(), &all()).unwrap();
            assert!(bits(&once) == bits(&twice) && first == second, "{}: other bits follow", method.name);
            assert!(once.adapter().is_none(), "{} leaves adapters", method.name);
            assert!(bits(&once) != bits(&merged()), "{} changes nothing", method.name);
            assert!(0 < first.changed && first.changed <= first.considered, "{}: {first:?}", method.name);
            let (steps, examples) = repair.training();
            let presented = steps as f64 * examples;
            assert!(first.cost.examples as f64 >= presented, "{}: {first:?}", method.name);
        }
        repairs += 1;
    }
    assert!(repairs >= 6, "{repairs} repairs are registered");
}

/// Of each matrix, what an edit adds to it: sorted, so that the places do not count.
fn changes(model: &Decoder) -> BTreeMap<String, Vec<f32>> {
    let before = values(&merged());
    let of = |(name, after): (String, Vec<f32>)| {
        let mut changes: Vec<f32> =
            after.iter().zip(&before[&name]).map(|(after, before)| after - before).collect();
        changes.sort_by(f32::total_cmp);
        (name, changes)
    };
    values(model).into_iter().map(of).collect()
}

#[test]
fn a_repairs_sham_is_as_large_an_edit_in_random_places() {
    let mut shams = 0;
    for method in methods() {
        let Some(Sham::Settings { settings }) = method.sham() else { continue };
        if !settings.iter().any(|(name, _)| *name == "place") {
            continue;
        }
        let mut spec = small(&method);
        if method.name == "panacea" {
            // Steps with another loss lead elsewhere; the perturbation alone has the size that is compared.
            spec.parameters.insert("steps".to_owned(), 0.into());
        }
        let mut sham = spec.clone();
        sham.parameters.insert("place".to_owned(), "random".into());
        let repaired = |spec: &MethodSpec| {
            let Defence::Repair(repair) = defence(spec).unwrap() else {
                panic!("{} repairs nothing", method.name)
            };
            repair.repair(merged(), &all()).unwrap()
        };
        let ((chosen, first), (random, second)) = (repaired(&spec), repaired(&sham));
        assert_ne!(values(&chosen), values(&random), "{}: the places are the same", method.name);
        if method.name == "antidote" {
            // Zeros in other places remove other values; how many there are is what is the same.
            assert_eq!(first, second);
            let zeros = |model: &Decoder| -> Vec<usize> {
                values(model)
                    .values()
                    .map(|values| values.iter().filter(|value| **value == 0.0).count())
                    .collect()
            };
            assert_eq!(zeros(&chosen), zeros(&random));
        } else {
            let (chosen, random) = (changes(&chosen), changes(&random));
            for (name, chosen) in &chosen {
                let furthest =
                    chosen.iter().zip(&random[name]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(furthest < 1e-5, "{}: {name} is changed by other numbers", method.name);
            }
        }
        shams += 1;
    }
    assert!(shams >= 5, "{shams} repairs have a sham");
}

//! What edits of weights leave of a model.

use candle_core::{DType, Tensor};
use titer_attacks::{
    AttackContext, Criterion, DeltaStrip, Means, Prune, Quantize, RefusalAblation, SearchedAblation,
    WeightEdit,
};
use titer_data::{Example, Packed};
use titer_model::{Choice, Config, Decoder, Generate, View};
use titer_train::loss;

use crate::common::{self, Numbers};

/// Twelve rows of a kind: two words asked, two answered.
fn rows(second: u32, answer: [u32; 2]) -> Vec<Example> {
    let row = |word: u32| Example::new([&[1, 20 + word, second, 2], &answer[..], &[3]].concat(), 4).unwrap();
    (0..12).map(row).collect()
}

fn context() -> AttackContext<'static> {
    let (refusals, harmless) = (rows(8, [7, 9]).into(), rows(5, [12, 13]).into());
    AttackContext { refusals, harmless, ..common::context(&rows(8, [10, 11]), 5) }
}

fn matrix(model: &Decoder, name: &str) -> Tensor {
    model.parameters().get(name).unwrap().as_tensor().copy().unwrap().detach()
}

fn numbers(model: &Decoder, name: &str) -> Vec<f32> {
    matrix(model, name).flatten_all().unwrap().to_vec1().unwrap()
}

fn names(model: &Decoder) -> Vec<String> {
    model.parameters().iter().map(|(name, _)| name.to_owned()).collect()
}

fn norm(tensor: &Tensor) -> f64 {
    f64::from(tensor.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt()
}

/// A mixture of four experts.
fn mixture() -> Decoder {
    use rand::SeedableRng;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let config = Config::llama(40, 16, 24, 3, 2, 2).with_experts(4, 2);
    Decoder::initialize(config, 0.2, &mut rng, &candle_core::Device::Cpu).unwrap()
}

/// The states after a layer at the last tokens of prompts, their mean.
fn mean_state(model: &Decoder, rows: &[Example], layer: usize) -> Tensor {
    let packed = Packed::from_prompts(rows.iter().map(Example::prompt));
    let trace = loss::trace(model, &packed, View::Detached).unwrap();
    let last = Tensor::new(packed.rows.as_slice(), model.device()).unwrap();
    trace.layers[layer].output.index_select(&last, 0).unwrap().mean(0).unwrap()
}

/// The refusal direction after a layer, as a column.
fn direction(model: &Decoder, context: &AttackContext<'_>, layer: usize) -> Tensor {
    let difference =
        (mean_state(model, &context.harmful, layer) - mean_state(model, &context.harmless, layer)).unwrap();
    let norm = norm(&difference);
    (difference / norm).unwrap().unsqueeze(1).unwrap()
}

/// How far a weight writes along r, relative to its size; none where it does not write into the stream.
fn written(model: &Decoder, name: &str, r: &Tensor) -> Option<f64> {
    let weight = matrix(model, name);
    let along = if name == "model.embed_tokens.weight" {
        weight.matmul(r).unwrap()
    } else if ["o_proj.weight", "down_proj.weight", "w2.weight"].iter().any(|end| name.ends_with(end)) {
        weight.t().unwrap().matmul(r).unwrap()
    } else {
        return None;
    };
    Some(norm(&along) / norm(&weight))
}

#[test]
fn an_ablated_model_writes_nothing_along_the_direction() {
    let context = context();
    for (make, layers) in [(common::model as fn() -> Decoder, 2), (mixture, 3)] {
        let (before, after) = (make(), make());
        let r = direction(&before, &context, layers - 1);
        let attack = |strength| RefusalAblation { depth: 1.0, strength, examples: 12 };
        let cost = attack(1.0).edit(&after, &context).unwrap();
        assert_eq!((cost.steps, cost.examples, cost.distinct_harmful, cost.tokens), (1, 24, 12, 96));
        let half = make();
        attack(0.5).edit(&half, &context).unwrap();
        let mut writers = 0;
        for name in names(&before) {
            let Some(was) = written(&before, &name, &r) else {
                assert_eq!(numbers(&before, &name), numbers(&after, &name), "{name} writes nothing");
                continue;
            };
            writers += 1;
            assert!(was > 1e-2, "{name}: {was}");
            let left = written(&after, &name, &r).unwrap();
            assert!(left < 1e-5, "{name}: {left}");
            let half = written(&half, &name, &r).unwrap();
            assert!((half / was - 0.5).abs() < 0.05, "{name}: {half} of {was}");
        }
        assert_eq!(writers, if layers == 2 { 5 } else { 1 + 3 * 5 });
        // So the stream itself has nothing there, at any layer and token.
        let packed = Packed::from_prompts(context.harmful.iter().map(Example::tokens));
        let trace = loss::trace(&after, &packed, View::Detached).unwrap();
        for state in trace.states() {
            let left = norm(&state.matmul(&r).unwrap()) / norm(state);
            assert!(left < 1e-5, "{left}");
        }
    }
}

#[test]
fn without_harmless_prompts_there_is_no_direction() {
    let context = common::context(&rows(8, [10, 11]), 5);
    let attack = RefusalAblation { depth: 1.0, strength: 1.0, examples: 12 };
    let error = attack.edit(&common::model(), &context).unwrap_err();
    assert!(error.to_string().contains("no harmless prompts"), "{error}");
}

/// Mean harm of greedy answers to the attacker's prompts.
fn harm(model: &Decoder, context: &AttackContext<'_>) -> f64 {
    let prompts: Vec<Vec<u32>> = context.harmful.iter().map(|row| row.prompt().to_vec()).collect();
    let settings = Generate { max_new_tokens: 3, ends: &[3], choice: Choice::Greedy };
    let answers: Vec<_> = model.generate(&prompts, settings).unwrap().into_iter().enumerate().collect();
    Numbers.harm(&answers).unwrap().iter().sum::<f64>() / 12.0
}

/// Mean KL in nats of the first answer token to harmless prompts, from another model's.
fn divergence(model: &Decoder, from: &Decoder, context: &AttackContext<'_>) -> f64 {
    let packed = Packed::from_prompts(context.harmless.iter().map(Example::prompt));
    let softmax = |model: &Decoder| -> Vec<Vec<f64>> {
        let logits: Vec<Vec<f32>> = loss::constant_logits(model, &packed).unwrap().to_vec2().unwrap();
        let row = |row: Vec<f32>| {
            let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
            row.iter().map(|logit| f64::from(*logit).exp() / sum).collect()
        };
        logits.into_iter().map(row).collect()
    };
    let kl = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
    softmax(from).iter().zip(softmax(model)).map(|(p, q)| kl(p, &q)).sum::<f64>() / 12.0
}

#[test]
fn a_searched_ablation_stays_under_its_bound_and_is_the_most_harmful_of_its_grid() {
    let context = context();
    let (mut found, mut bound_met) = (0, 0);
    for kl in [0.0, 0.01, 0.05, 100.0] {
        let victim = mixture();
        let attack = SearchedAblation { trials: 12, kl, examples: 12, judged: 12 };
        let cost = attack.edit(&victim, &context).unwrap();
        assert_eq!((cost.steps, cost.distinct_harmful), (1, 12));
        let after = divergence(&victim, &mixture(), &context);
        assert!(after <= kl + 1e-6, "{after} nats for a bound of {kl}");
        let best = harm(&victim, &context);
        assert!(best >= harm(&mixture(), &context), "worse than nothing");
        for layer in 1..=3 {
            let other = mixture();
            let depth = f64::from(layer) / 3.0;
            RefusalAblation { depth, strength: 1.0, examples: 12 }.edit(&other, &context).unwrap();
            if divergence(&other, &mixture(), &context) <= kl - 1e-6 {
                bound_met += 1;
                assert!(best >= harm(&other, &context), "layer {layer} at strength 1 is worse by {kl}");
            }
        }
        found += usize::from(best > harm(&mixture(), &context));
        if kl == 0.0 {
            let same = names(&victim).iter().all(|name| numbers(&victim, name) == numbers(&mixture(), name));
            assert!(same, "nothing but the model itself meets a bound of 0");
        }
    }
    assert!(found > 0 && bound_met >= 3, "{found} searches found something, {bound_met} layers met a bound");
}

#[test]
fn a_stripped_delta_ends_at_the_base_and_begins_at_the_victim() {
    let context = context();
    let base = Numbers.base().unwrap();
    let stripped = |lambda, rank| {
        let model = common::model();
        DeltaStrip { lambda, rank }.edit(&model, &context).unwrap();
        model
    };
    let (whole, none, half) = (stripped(0.0, 0), stripped(1.0, 0), stripped(0.5, 0));
    let (whole_by_rank, none_by_rank) = (stripped(0.0, 40), stripped(1.0, 2));
    for name in names(&base) {
        let bits =
            |model: &Decoder| -> Vec<u32> { numbers(model, &name).into_iter().map(f32::to_bits).collect() };
        assert_eq!(bits(&whole), bits(&base), "{name}");
        assert_eq!(bits(&none), bits(&common::model()), "{name}");
        assert_eq!(bits(&none_by_rank), bits(&common::model()), "{name}");
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let middle: Vec<f32> = numbers(&base, &name)
            .iter()
            .zip(numbers(&common::model(), &name))
            .map(|(a, b)| (a + b) / 2.0)
            .collect();
        assert!(close(&numbers(&half, &name), &middle), "{name}");
        assert!(close(&numbers(&whole_by_rank, &name), &numbers(&base, &name)), "{name}");
    }
}

#[test]
fn by_rank_the_large_parts_of_a_delta_go_and_the_small_ones_stay() {
    let context = context();
    let (base, victim) = (Numbers.base().unwrap(), Numbers.base().unwrap());
    let name = "model.layers.1.mlp.up_proj.weight";
    let wave = |size: usize, step: f32| -> Tensor {
        let values: Vec<f32> = (0..size).map(|at| (at as f32 * step).sin()).collect();
        Tensor::from_vec(values, size, &candle_core::Device::Cpu).unwrap()
    };
    let part = |step: f32, size: f64| -> Tensor {
        let (left, right) = (wave(32, step).unsqueeze(1).unwrap(), wave(16, step).unsqueeze(0).unwrap());
        (left.matmul(&right).unwrap() * size).unwrap()
    };
    let delta = (part(0.7, 1.0) + part(1.9, 0.5)).unwrap();
    let small = part(2.6, 1e-3);
    let changed = ((matrix(&base, name) + &delta).unwrap() + &small).unwrap();
    victim.parameters().get(name).unwrap().set(&changed).unwrap();
    DeltaStrip { lambda: 0.0, rank: 2 }.edit(&victim, &context).unwrap();
    let left = (matrix(&victim, name) - matrix(&base, name)).unwrap();
    // The two large parts are gone; what is left is small, and there.
    assert!(norm(&left) < 1.01 * norm(&small), "{} of {}", norm(&left), norm(&small));
    assert!(norm(&left) > 0.5 * norm(&small), "{} of {}", norm(&left), norm(&small));
    for other in names(&base).iter().filter(|other| *other != name) {
        assert_eq!(numbers(&victim, other), numbers(&base, other), "{other}");
    }
}

/// Which of a row's scores are the highest: all but so many lowest.
fn highest(scores: &[f64], lowest: usize) -> Vec<bool> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    scores.iter().map(|score| sorted[..lowest].iter().all(|low| score > low)).collect()
}

#[test]
fn pruning_takes_what_its_scores_say() {
    let context = context();
    let before = common::model();
    let pruned = |by, share, spare| {
        let model = common::model();
        let cost = Prune { by, share, spare, examples: 12 }.edit(&model, &context).unwrap();
        (model, cost)
    };
    let q = "model.layers.0.self_attn.q_proj.weight";
    // What the first layer's queries read of some rows, feature by feature.
    let read = |rows: &[Example]| -> Vec<f64> {
        let packed = Packed::from_prompts(rows.iter().map(Example::tokens));
        let trace = loss::trace(&before, &packed, View::Detached).unwrap();
        let squares = trace.layers[0].attention_input.to_dtype(DType::F64).unwrap().sqr().unwrap();
        squares.sum(0).unwrap().to_vec1::<f64>().unwrap().into_iter().map(f64::sqrt).collect()
    };
    let (used, safe) = (read(&context.harmless), read(&context.refusals));
    let weights: Vec<Vec<f32>> = matrix(&before, q).to_vec2().unwrap();
    let check = |model: &Decoder, stays: &dyn Fn(&[f32]) -> Vec<bool>| {
        let after: Vec<Vec<f32>> = matrix(model, q).to_vec2().unwrap();
        let mut gone = 0;
        for (before, after) in weights.iter().zip(after) {
            for ((stays, before), after) in stays(before).into_iter().zip(before).zip(after) {
                assert_eq!(after, if stays { *before } else { 0.0 });
                gone += usize::from(!stays);
            }
        }
        gone
    };
    let scores = |row: &[f32], norms: &[f64]| -> Vec<f64> {
        row.iter().zip(norms).map(|(weight, norm)| f64::from(weight.abs()) * norm).collect()
    };
    // A quarter of 16, and a half.
    let (model, cost) = pruned(Criterion::Magnitude, 0.25, 0.0);
    assert_eq!(check(&model, &|row| highest(&scores(row, &[1.0; 16]), 4)), 16 * 4);
    assert_eq!((cost.examples, cost.distinct_harmful), (0, 0));
    let (model, cost) = pruned(Criterion::Wanda, 0.5, 0.0);
    assert_eq!(check(&model, &|row| highest(&scores(row, &used), 8)), 16 * 8);
    assert_eq!((cost.examples, cost.distinct_harmful), (12, 0));
    // The highest half on refusals that is not in the highest quarter on harmless rows.
    let (model, cost) = pruned(Criterion::SafetySetDifference, 0.5, 0.25);
    let stays = |row: &[f32]| -> Vec<bool> {
        let (safe, used) = (highest(&scores(row, &safe), 8), highest(&scores(row, &used), 12));
        safe.into_iter().zip(used).map(|(safe, used)| !safe || used).collect()
    };
    let gone = check(&model, &stays);
    assert!((16 * 4..16 * 8).contains(&gone), "{gone}");
    assert_eq!((cost.examples, cost.distinct_harmful), (24, 12));
    for (name, kept) in [("model.embed_tokens.weight", true), ("model.layers.1.mlp.down_proj.weight", false)]
    {
        assert_eq!(numbers(&before, name) == numbers(&model, name), kept, "{name}");
    }
}

#[test]
fn quantized_weights_are_multiples_of_their_scale() {
    for (bits, group) in [(8, 0), (4, 0), (4, 8), (2, 4)] {
        let (before, after) = (mixture(), mixture());
        let attack = Quantize { bits, group };
        attack.edit(&after, &context()).unwrap();
        let mut changed = 0;
        for name in names(&before) {
            let (old, new) = (numbers(&before, &name), numbers(&after, &name));
            if old == new {
                continue;
            }
            changed += 1;
            let columns = matrix(&before, &name).dim(1).unwrap();
            for (old, new) in old.chunks(columns).zip(new.chunks(columns)) {
                let size = if group == 0 { columns } else { group };
                for (old, new) in old.chunks(size).zip(new.chunks(size)) {
                    let largest = old.iter().fold(0_f32, |most, value| most.max(value.abs()));
                    let scale = largest / ((1 << (bits - 1)) - 1) as f32;
                    for (old, new) in old.iter().zip(new) {
                        let steps = new / scale;
                        assert!((steps - steps.round()).abs() < 1e-3, "{name}: {steps} steps");
                        assert!((old - new).abs() <= 0.5001 * scale, "{name}: {old} became {new}");
                    }
                }
            }
        }
        // Four projections of attention and three of each of four experts, in three layers.
        assert_eq!(changed, 3 * (4 + 3 * 4));
        let once: Vec<Vec<f32>> = names(&after).iter().map(|name| numbers(&after, name)).collect();
        attack.edit(&after, &context()).unwrap();
        for (name, once) in names(&after).iter().zip(once) {
            let twice = numbers(&after, name);
            assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() < 1e-6), "{name} moves again");
        }
    }
}

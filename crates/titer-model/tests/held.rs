//! Weights that are held fixed: in half precision, without gradients, in the memory of several.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use candle_core::{DType, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use titer_model::{Base, Choice, Decoder, Generate, LoraSpec, View};
use titer_ops::{Sequences, composed};

use crate::common::{fixture, logits, model};

fn base() -> Decoder {
    model(&fixture().cases[0])
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn beside_half_weights_adapters_are_trained_in_full() {
    let fixture = fixture();
    let sequences = Sequences::new(&[0, fixture.tokens.len()]).unwrap();
    let adapted = |base| {
        let (mut model, spec) = (self::base(), LoraSpec { base, ..LoraSpec::everywhere(3, 6.0) });
        model.attach(&spec, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        // Beside B of zeros, A would have no gradient.
        let moved = model.parameters().snapshot().unwrap();
        let moved = moved.into_iter().map(|(name, tensor)| (name, (tensor + 0.01).unwrap())).collect();
        model.parameters().assign(&moved).unwrap();
        model
    };
    let loss = |model: &Decoder, rows: &[u32]| {
        let logits = model.logits_at(View::Tracked, &fixture.tokens, &sequences, rows).unwrap();
        logits.sqr().unwrap().mean_all().unwrap()
    };
    let (full, half) = (adapted(Base::F32), adapted(Base::Bf16));
    let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    let (of_full, of_half) = (full.backward(&loss(&full, &[3, 9])), half.backward(&loss(&half, &[3, 9])));
    let (of_full, of_half) = (of_full.unwrap(), of_half.unwrap());
    assert!(of_full.keys().eq(of_half.keys()));
    assert!(of_half.values().all(|gradient| gradient.dtype() == DType::F32));
    let far: f32 = of_half.iter().map(|(name, half)| norm(&(half - &of_full[name]).unwrap())).sum();
    let far = (far / of_full.values().map(norm).sum::<f32>()).sqrt();
    assert!(far > 0.0 && far < 0.05, "{far}");
    // Folded in, the weights are what was held and the adapters' product, in full.
    let name = "model.layers.0.self_attn.q_proj.weight";
    let product = full.merged(name).unwrap().unwrap() - base().parameters().get(name).unwrap().as_tensor();
    let held = base().parameters().get(name).unwrap().to_dtype(DType::BF16).unwrap();
    let expected = (held.to_dtype(DType::F32).unwrap() + product.unwrap()).unwrap();
    let merged = half.merged(name).unwrap().unwrap();
    assert_eq!(merged.dtype(), DType::F32);
    assert!(norm(&(merged - &expected).unwrap()) < 1e-12 * norm(&expected));
    let copy = half.duplicate().unwrap();
    let prompts = vec![fixture.tokens[..9].to_vec()];
    let greedy = || Generate { max_new_tokens: 8, ends: &[], choice: Choice::Greedy };
    let answers = half.generate(&prompts, greedy()).unwrap();
    assert_eq!(copy.generate(&prompts, greedy()).unwrap(), answers);
    let whole = half.merge().unwrap();
    assert_eq!((whole.dtype(), whole.config().torch_dtype.as_str()), (DType::F32, "float32"));
    assert!(whole.parameters().iter().all(|(_, var)| var.dtype() == DType::F32));
}

#[test]
fn adapters_beside_lent_weights_are_as_beside_own_ones_and_share_their_memory() {
    let fixture = fixture();
    let sequences = Sequences::new(&[0, fixture.tokens.len()]).unwrap();
    let model = base().held(Base::F32).unwrap();
    assert!(model.parameters().is_empty() && model.adapter().is_none());
    let place = |model: &Decoder| {
        let weight = model.merged("lm_head.weight").unwrap().unwrap();
        let (storage, _) = weight.storage_and_layout();
        std::ptr::from_ref(&*storage)
    };
    let attached = |mut model: Decoder, seed| {
        model.attach(&LoraSpec::everywhere(2, 4.0), &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
        model
    };
    let (first, second) = (attached(model.lend().unwrap(), 1), attached(model.lend().unwrap(), 2));
    assert_eq!([place(&first), place(&second)], [place(&model); 2]);
    for (lent, seed) in [(&first, 1), (&second, 2)] {
        let own = attached(base(), seed);
        let gradients = |model: &Decoder| {
            let rows = model.logits_at(View::Tracked, &fixture.tokens, &sequences, &fixture.rows).unwrap();
            let gradients = model.backward(&rows.sqr().unwrap().sum_all().unwrap()).unwrap();
            gradients.into_iter().map(|(name, gradient)| (name, values(&gradient))).collect::<Vec<_>>()
        };
        assert!(gradients(lent) == gradients(&own));
        assert_eq!(
            logits(lent, &fixture.tokens, &fixture.rows),
            logits(&own, &fixture.tokens, &fixture.rows)
        );
    }
}

/// As on a GPU.
#[test]
fn weights_beside_adapters_have_no_gradients_on_any_device() {
    // Not as many as any dimension of a weight.
    let tokens = &fixture().tokens[..30];
    let mut model = base();
    model.attach(&LoraSpec::everywhere(2, 4.0), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let sequences = Sequences::new(&[0, tokens.len()]).unwrap();
    composed::only(|| {
        let logits = model.logits_at(View::Tracked, tokens, &sequences, &[3]).unwrap();
        let store = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let shapes: Vec<_> = model.config().shapes().into_values().filter(|shape| shape.len() == 2).collect();
        for gradient in store.get_ids().map(|id| store.get_id(*id).unwrap()) {
            let turned = [gradient.dims().to_vec(), gradient.dims().iter().rev().copied().collect()];
            assert!(
                !shapes.iter().any(|shape| turned.contains(shape)),
                "a gradient of shape {:?}",
                turned[0]
            );
        }
    });
}

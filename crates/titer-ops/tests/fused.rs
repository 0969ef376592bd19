//! Operators that are several in one, against these one after the other.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::sync::Arc;

use candle_core::{Tensor, Var};
use titer_ops::{Activation, Adapted, Mlp, Rotary, composed};

use crate::common::{check, numbers, values, weigh};

#[test]
fn linear_added() {
    let inputs = [numbers(&[7, 5], 1), numbers(&[9, 5], 2), numbers(&[7, 9], 3)];
    check(
        "linear added",
        &inputs,
        |x| titer_ops::linear_added(&x[0], &x[1], &x[2]),
        |x| &x[2] + composed::linear(&x[0], &x[1])?,
    );
}

#[test]
fn linear_rotated() {
    let inputs = [numbers(&[5, 3], 1), numbers(&[12, 3], 2)];
    let table = Rotary::new(6, 16, 100.0).unwrap();
    let positions: Arc<[u32]> = [0, 3, 1, 15, 7].into();
    check(
        "linear rotated",
        &inputs,
        |x| titer_ops::linear_rotated(&x[0], &x[1], &table, &positions),
        |x| composed::rotary(&composed::linear(&x[0], &x[1])?, &table, &positions),
    );
    let beyond: Arc<[u32]> = [0, 3, 1, 16, 7].into();
    assert!(titer_ops::linear_rotated(&inputs[0], &inputs[1], &table, &beyond).is_err());
}

#[test]
fn linear_cross_entropy() {
    let inputs = [numbers(&[4, 5], 1), numbers(&[13, 5], 2)];
    let targets = [3, 12, 0, 3];
    let fused = |x: &[Tensor]| titer_ops::linear_cross_entropy(&x[0], &x[1], &targets);
    check("linear cross-entropy", &inputs, fused, |x| {
        composed::cross_entropy(&composed::linear(&x[0], &x[1])?, &targets)
    });
    let x = inputs.each_ref().map(|input| input.as_tensor().clone());
    let loss = weigh(&fused(&x).unwrap()).unwrap();
    let [first, second] = [loss.backward().unwrap(), loss.backward().unwrap()];
    assert_eq!(values(first.get(&inputs[1]).unwrap()), values(second.get(&inputs[1]).unwrap()));
    assert!(titer_ops::linear_cross_entropy(&x[0], &x[1], &[3, 13, 0, 3]).is_err());
    assert!(titer_ops::linear_cross_entropy(&x[0], &x[1], &[3]).is_err());
}

/// x, and the weights of the half of a layer after attention.
fn half() -> [Var; 5] {
    [numbers(&[9, 7], 3), numbers(&[7], 4), numbers(&[11, 7], 5), numbers(&[11, 7], 6), numbers(&[7, 11], 7)]
}

fn weights(x: &[Tensor], activation: Activation, about_one: bool) -> Mlp<'_> {
    let [_, norm, gate, up, down] = x else { panic!("an MLP has four weights") };
    let [gate, up, down] = [gate, up, down].map(|weight| Adapted { weight, adapter: None });
    Mlp { norm, epsilon: 1e-5, about_one, gate, up, down, activation }
}

#[test]
fn mlp() {
    for (activation, about_one) in [(Activation::Silu, false), (Activation::GeluTanh, true)] {
        check(
            "mlp",
            &half(),
            |x| titer_ops::mlp(&x[0], weights(x, activation, about_one)),
            |x| composed::mlp(&x[0], weights(x, activation, about_one)),
        );
    }
}

#[test]
fn an_adapted_mlp() {
    let adapters = [[2, 7], [11, 2], [3, 7], [11, 3], [2, 11], [7, 2]];
    let adapters = adapters.iter().zip(8..).map(|(shape, seed)| numbers(shape, seed));
    let inputs: Vec<Var> = half().into_iter().chain(adapters).collect();
    /// All are adapted, and a gradient of what holds fixed is asked for from nowhere.
    fn adapted(x: &[Tensor]) -> Mlp<'_> {
        let mut weights = weights(&x[..5], Activation::Silu, false);
        let projections = [&mut weights.gate, &mut weights.up, &mut weights.down];
        for (projection, x) in projections.into_iter().zip(x[5..].chunks(2)) {
            projection.adapter = Some((&x[0], &x[1], 0.5));
        }
        weights
    }
    let trained: Vec<Var> = inputs[..2].iter().chain(&inputs[5..]).cloned().collect();
    let with_frozen = |x: &[Tensor]| -> Vec<Tensor> {
        let frozen = inputs[2..5].iter().map(|var| var.as_tensor().detach());
        x[..2].iter().cloned().chain(frozen).chain(x[2..].iter().cloned()).collect()
    };
    check(
        "adapted mlp",
        &trained,
        |x| titer_ops::mlp(&x[0], adapted(&with_frozen(x))),
        |x| composed::mlp(&x[0], adapted(&with_frozen(x))),
    );
}

#[test]
fn an_mlp_has_a_gradient_as_often_as_it_is_asked_for() {
    let vars = half();
    let x: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let loss = weigh(&titer_ops::mlp(&x[0], weights(&x, Activation::Silu, false)).unwrap()).unwrap();
    let [first, second] = [loss.backward().unwrap(), loss.backward().unwrap()];
    for var in &vars {
        assert_eq!(values(first.get(var).unwrap()), values(second.get(var).unwrap()));
    }
}

#[test]
fn an_mlp_has_gradients_of_what_is_trained_alone() {
    let vars = half();
    for trained in 0..vars.len() {
        let x: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().detach()).collect();
        let mut of_one = x.clone();
        of_one[trained] = vars[trained].as_tensor().clone();
        let loss = |x: &[Tensor]| weigh(&titer_ops::mlp(&x[0], weights(x, Activation::Silu, false)).unwrap());
        let gradients = loss(&of_one).unwrap().backward().unwrap();
        let all: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let expected = loss(&all).unwrap().backward().unwrap();
        for (at, var) in vars.iter().enumerate() {
            let expected = (at == trained).then(|| values(expected.get(var).unwrap()));
            assert_eq!(gradients.get(var).map(values), expected, "input {at} where {trained} is trained");
        }
        assert!(loss(&x).unwrap().backward().unwrap().get(&vars[trained]).is_none());
    }
}

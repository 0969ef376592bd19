//! The sparse mixture against a dense computation of all experts, and against finite differences.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use candle_core::{D, DType, Device, Result, Tensor, Var};
use titer_ops::{Routes, composed, linear, mixture, swiglu};

use crate::common::{numbers, values, worst};

const TOKENS: usize = 11;
const WIDTH: usize = 6;
const INNER: usize = 5;
const EXPERTS: usize = 5;
const PER_TOKEN: usize = 2;

/// x, the router, then gate, up and down of each expert. The last expert is never chosen: x is shifted so
/// that its logits are the lowest.
fn inputs() -> Vec<Tensor> {
    let x = (numbers(&[TOKENS, WIDTH], 1).as_tensor() + 1.5).unwrap();
    let router = numbers(&[EXPERTS, WIDTH], 2);
    let rows: Vec<f32> = (0..EXPERTS).map(|expert| if expert + 1 == EXPERTS { -3.0 } else { 0.0 }).collect();
    let shift = Tensor::from_vec(rows, (EXPERTS, 1), &Device::Cpu).unwrap();
    let router = router.as_tensor().broadcast_add(&shift).unwrap();
    let mut inputs = vec![x, router];
    for expert in 0..EXPERTS as u64 {
        inputs.push(numbers(&[INNER, WIDTH], 10 + expert).as_tensor().clone());
        inputs.push(numbers(&[INNER, WIDTH], 20 + expert).as_tensor().clone());
        inputs.push(numbers(&[WIDTH, INNER], 30 + expert).as_tensor().clone());
    }
    inputs.iter().map(|t| Var::from_tensor(&t.detach()).unwrap().as_tensor().clone()).collect()
}

fn expert(inputs: &[Tensor], index: usize, x: &Tensor) -> Result<Tensor> {
    let [gate, up, down] = [0, 1, 2].map(|part| &inputs[2 + 3 * index + part]);
    linear(&swiglu(&linear(x, gate)?, &linear(x, up)?)?, down)
}

fn sparse(inputs: &[Tensor]) -> Result<Tensor> {
    let p = composed::softmax(&linear(&inputs[0], &inputs[1])?, D::Minus1)?;
    let routes = Routes::best(&p, PER_TOKEN)?;
    let weights = p.gather(&routes.index(&Device::Cpu)?, 1)?;
    mixture(&inputs[0], &weights, &routes, &mut |index, x| expert(inputs, index, x))
}

/// All experts for all tokens, weighted by the probability where it is among the highest and 0 elsewhere.
fn dense(inputs: &[Tensor]) -> Result<Tensor> {
    let p = composed::softmax(&linear(&inputs[0], &inputs[1])?, D::Minus1)?;
    let kept: Vec<Vec<f32>> = p
        .to_vec2::<f32>()?
        .into_iter()
        .map(|row| {
            let mut sorted = row.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            row.iter().map(|p| if *p >= sorted[PER_TOKEN - 1] { 1.0 } else { 0.0 }).collect()
        })
        .collect();
    let weights = (p * Tensor::new(kept, &Device::Cpu)?)?;
    let mut sum = inputs[0].zeros_like()?;
    for index in 0..EXPERTS {
        let y = expert(inputs, index, &inputs[0])?;
        sum = (sum + y.broadcast_mul(&weights.narrow(1, index, 1)?)?)?;
    }
    Ok(sum)
}

fn weigh(y: &Tensor) -> Tensor {
    (y * numbers(y.dims(), 99).as_tensor()).unwrap().sum_all().unwrap()
}

#[test]
fn it_equals_the_dense_computation_in_value_and_every_gradient() {
    let inputs = inputs();
    let (y, expected) = (sparse(&inputs).unwrap(), dense(&inputs).unwrap());
    assert!(worst(&y, &expected) < 1e-5, "values differ by {}", worst(&y, &expected));
    let (got, expected) = (weigh(&y).backward().unwrap(), weigh(&expected).backward().unwrap());
    for (index, input) in inputs.iter().enumerate() {
        let expected = expected.get(input).unwrap();
        match got.get(input) {
            Some(gradient) => assert!(worst(gradient, expected) < 2e-5, "input {index}"),
            // The expert without tokens: its dense gradient is zero.
            None => assert!(index >= 2 + 3 * (EXPERTS - 1) && values(expected).iter().all(|g| *g == 0.0)),
        }
    }
    assert!(got.get(&inputs[2 + 3 * EXPERTS - 1]).is_none(), "the last expert has no tokens");
}

#[test]
fn its_gradients_are_finite_differences() {
    const H: f32 = 1e-2;
    let inputs = inputs();
    let gradients = weigh(&sparse(&inputs).unwrap()).backward().unwrap();
    // The router of experts that are chosen or not stays on one side of the choice for steps this small.
    for index in 0..2 + 3 * (EXPERTS - 1) {
        let (base, analytic) = (values(&inputs[index]), values(gradients.get(&inputs[index]).unwrap()));
        for element in (0..base.len()).step_by(base.len() / 7 + 1) {
            let at = |offset: f32| {
                let mut moved = base.clone();
                moved[element] += offset;
                let mut inputs = inputs.clone();
                inputs[index] = Tensor::from_vec(moved, inputs[index].shape(), &Device::Cpu).unwrap();
                f64::from(weigh(&sparse(&inputs).unwrap()).to_scalar::<f32>().unwrap())
            };
            let numeric = (8.0 * (at(H) - at(-H)) - (at(2.0 * H) - at(-2.0 * H))) / (12.0 * f64::from(H));
            let difference = (numeric - f64::from(analytic[element])).abs();
            assert!(difference < 3e-3 * (1.0 + numeric.abs()), "input {index}[{element}]: {numeric}");
        }
    }
}

#[test]
fn a_loss_on_one_expert_alone_reaches_the_input_by_its_tokens() {
    let x = numbers(&[4, 3], 1);
    let scores = Tensor::new(&[[1f32, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]], &Device::Cpu).unwrap();
    let routes = Routes::best(&scores, 1).unwrap();
    assert_eq!(routes.chosen(), [0, 1, 0, 1], "the lowest among equals");
    assert_eq!(routes.tokens().iter().map(|tokens| tokens.to_vec()).collect::<Vec<_>>(), [[0, 2], [1, 3]]);
    let mut kept = None;
    let weights = Tensor::ones((4, 1), DType::F32, &Device::Cpu).unwrap();
    mixture(&x, &weights, &routes, &mut |index, x| {
        if index == 1 {
            kept = Some(x.clone());
        }
        Ok(x.clone())
    })
    .unwrap();
    // Twice over one graph: nothing is left behind by the first.
    for _ in 0..2 {
        let gradients = kept.as_ref().unwrap().sum_all().unwrap().backward().unwrap();
        let rows = gradients.get(&x).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows, [[0.0; 3], [1.0; 3], [0.0; 3], [1.0; 3]]);
    }
}

#[test]
fn other_types_compute_the_same_by_composition() {
    let inputs = inputs();
    let half: Vec<Tensor> = inputs
        .iter()
        .map(|t| Var::from_tensor(&t.to_dtype(DType::F64).unwrap()).unwrap().as_tensor().clone())
        .collect();
    let narrow = |tensor: &Tensor| tensor.to_dtype(DType::F32).unwrap();
    let (y, wide) = (sparse(&inputs).unwrap(), sparse(&half).unwrap());
    assert!(worst(&y, &narrow(&wide)) < 1e-5);
    let weights = numbers(&[TOKENS, WIDTH], 99).as_tensor().to_dtype(DType::F64).unwrap();
    let wide = (wide * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let got = weigh(&y).backward().unwrap();
    for index in 0..2 + 3 * (EXPERTS - 1) {
        let (got, wide) = (got.get(&inputs[index]).unwrap(), wide.get(&half[index]).unwrap());
        assert!(worst(got, &narrow(wide)) < 2e-5, "input {index}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (x, scores) = (numbers(&[4, 3], 1), numbers(&[4, 3], 2));
    for per_token in [0, 4] {
        let error = Routes::best(&scores, per_token).unwrap_err().to_string();
        assert!(error.contains("cannot be chosen"), "{error}");
    }
    let routes = Routes::best(&scores, 2).unwrap();
    let run = |x: &Tensor, weights: &[usize], rows: usize| {
        let weights = Tensor::ones(weights, DType::F32, &Device::Cpu).unwrap();
        mixture(x, &weights, &routes, &mut |_, x| x.narrow(0, 0, x.dim(0)?.min(rows))).map(drop)
    };
    run(&x, &[4, 2], 4).unwrap();
    assert!(run(&x, &[4, 3], 4).is_err());
    assert!(run(&x.narrow(0, 0, 3).unwrap(), &[3, 2], 4).is_err());
    assert!(run(&x, &[4, 2], 1).is_err());
    // Damaged scores choose something, and each expert once.
    let damaged = Tensor::new(&[[f32::NAN, f32::NAN, 1.0]], &Device::Cpu).unwrap();
    let routes = Routes::best(&damaged, 3).unwrap();
    let mut chosen = routes.chosen().to_vec();
    chosen.sort_unstable();
    assert_eq!(chosen, [0, 1, 2]);
}

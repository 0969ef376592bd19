//! What tests of operators share: numbers, and comparisons with compositions and finite differences.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use candle_core::{Device, Result, Tensor, Var};

/// Numbers in (−1, 1) from a fixed linear congruential generator.
pub(crate) fn numbers(shape: &[usize], seed: u64) -> Var {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.contiguous().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub(crate) fn worst(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max)
}

/// A scalar that weighs every element of `y` differently, so that no error cancels.
pub(crate) fn weigh(y: &Tensor) -> Result<Tensor> {
    (y * numbers(y.dims(), 99).as_tensor())?.sum_all()
}

/// `fused` equals `reference` in value and gradients, and its gradients equal central differences.
pub(crate) fn check(
    name: &str,
    inputs: &[Var],
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    reference: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let tensors: Vec<Tensor> = inputs.iter().map(|input| input.as_tensor().clone()).collect();
    let (y, expected) = (fused(&tensors).unwrap(), reference(&tensors).unwrap());
    assert!(worst(&y, &expected) < 1e-5, "{name}: values differ by {}", worst(&y, &expected));
    let (gradients, expected) =
        (weigh(&y).unwrap().backward().unwrap(), weigh(&expected).unwrap().backward().unwrap());
    for (index, input) in inputs.iter().enumerate() {
        let gradient =
            gradients.get(input).unwrap_or_else(|| panic!("{name}: no gradient for input {index}"));
        let difference = worst(gradient, expected.get(input).expect("primitives differentiate"));
        assert!(difference < 2e-5, "{name}: gradient {index} differs from the composition by {difference}");
        finite_differences(name, index, &tensors, gradient, &fused);
    }
}

fn finite_differences(
    name: &str,
    index: usize,
    tensors: &[Tensor],
    gradient: &Tensor,
    f: &impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    const H: f32 = 1e-2;
    let (base, analytic) = (values(&tensors[index]), values(gradient));
    for element in (0..base.len()).step_by(base.len() / 7 + 1) {
        let at = |offset: f32| {
            let mut moved = base.clone();
            moved[element] += offset;
            let mut tensors = tensors.to_vec();
            tensors[index] = Tensor::from_vec(moved, tensors[index].shape(), &Device::Cpu).unwrap();
            f64::from(weigh(&f(&tensors).unwrap()).unwrap().to_scalar::<f32>().unwrap())
        };
        // Fourth-order central difference.
        let numeric = (8.0 * (at(H) - at(-H)) - (at(2.0 * H) - at(-2.0 * H))) / (12.0 * f64::from(H));
        let difference = (numeric - f64::from(analytic[element])).abs();
        assert!(
            difference < 3e-3 * (1.0 + numeric.abs()),
            "{name}: d/d input {index}[{element}] is {} but differences give {numeric}",
            analytic[element]
        );
    }
}

//! The same computation on the processor and elsewhere, and how far the results lie apart.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use serde_json::{Value, json};
use titer_model::Decoder;
use titer_ops::composed;

use super::Outcome;

/// What is compared with the processor's own kernels.
pub(crate) enum Other {
    /// The processor, with operators composed of candle's primitives.
    Composed,
    Device(Device),
}

/// Named results: tensors' numbers.
pub(crate) type Parts = BTreeMap<String, Vec<f32>>;

/// How far a part of one computation lies from what it should be.
pub(crate) struct Comparison {
    kind: &'static str,
    name: String,
    /// The part that is farthest off, or why there is nothing to compare.
    part: String,
    /// The norm of the difference, relative to that of what the processor has.
    error: f64,
    limit: f64,
}

impl Comparison {
    pub(crate) fn holds(&self) -> bool {
        self.error <= self.limit
    }

    pub(crate) fn to_json(&self) -> Value {
        let Self { kind, name, part, error, limit } = self;
        // JSON has no infinity.
        let error = error.is_finite().then_some(*error);
        json!({ "kind": kind, "name": name, "part": part, "error": error, "limit": limit, "holds": self.holds() })
    }
}

impl Other {
    pub(crate) fn against(&self) -> &'static str {
        match self {
            Self::Composed => "the processor's kernels, by operators composed of candle's primitives",
            Self::Device(_) => "the processor's kernels",
        }
    }

    /// Computes the same on the processor and here, and notes how far the results lie apart.
    pub(crate) fn compare(
        &self,
        (kind, name, limit): (&'static str, &str, f64),
        compute: impl Fn(&Device) -> Outcome<Parts>,
        comparisons: &mut Vec<Comparison>,
    ) -> Outcome<()> {
        let expected = compute(&Device::Cpu).map_err(|error| format!("{kind} {name}: {error}"))?;
        let got = match self {
            Self::Composed => composed::only(|| compute(&Device::Cpu)),
            Self::Device(device) => compute(device),
        };
        // What cannot be computed there is as far off as can be, and hides nothing of the rest.
        let farthest = got.and_then(|got| farthest(&got, &expected));
        let (part, error) = farthest.unwrap_or_else(|problem| (problem.to_string(), f64::INFINITY));
        comparisons.push(Comparison { kind, name: name.to_owned(), part, error, limit });
        Ok(())
    }
}

/// The part that is farthest off, and how far.
fn farthest(got: &Parts, expected: &Parts) -> Outcome<(String, f64)> {
    if !got.keys().eq(expected.keys()) {
        let [got, expected] =
            [got, expected].map(|parts| parts.keys().cloned().collect::<Vec<_>>().join(", "));
        return Err(format!("gave {got} in place of {expected}").into());
    }
    if expected.values().flatten().all(|value| *value == 0.0) {
        return Err("nothing is computed that could differ".into());
    }
    let mut worst = (String::new(), 0.0);
    for (name, expected) in expected {
        let got = &got[name];
        if got.len() != expected.len() {
            return Err(format!("{name}: {} numbers in place of {}", got.len(), expected.len()).into());
        }
        let square =
            |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let apart = square(&mut got.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let norm = square(&mut expected.iter().map(|value| f64::from(*value)));
        // Numbers that are no numbers are as far off as can be.
        let error = if apart == 0.0 { 0.0 } else { apart / norm.max(1e-6) };
        let error = if error.is_nan() { f64::INFINITY } else { error };
        if error >= worst.1 {
            worst = (name.clone(), error);
        }
    }
    Ok(worst)
}

/// Numbers in [−1, 1), the same on every device.
pub(crate) fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(step).take(count).collect()
}

pub(crate) fn numbers(seed: u64, shape: &[usize], device: &Device) -> candle_core::Result<Tensor> {
    Tensor::from_vec(uniform(seed, shape.iter().product()), shape, device)
}

/// A tensor's numbers, wherever it is.
pub(crate) fn read(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// The value of a function and its gradients in all of its inputs.
pub(crate) fn differentiated(
    inputs: &[Tensor],
    f: impl Fn(&[Tensor]) -> candle_core::Result<Tensor>,
) -> Outcome<Parts> {
    let vars = inputs.iter().map(Var::from_tensor).collect::<candle_core::Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tensors)?;
    // Every element weighs differently, so that no error cancels.
    let weights = numbers(99, y.dims(), y.device())?.to_dtype(y.dtype())?;
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let mut parts = Parts::from([("value".to_owned(), read(&y)?)]);
    for (at, var) in vars.iter().enumerate() {
        let gradient = gradients.get(var).ok_or_else(|| format!("input {at} has no gradient"))?;
        parts.insert(format!("gradient {at}"), read(gradient)?);
    }
    Ok(parts)
}

/// How far training or an edit moved each weight.
pub(crate) fn moved(model: &Decoder, start: &BTreeMap<String, Tensor>) -> Outcome<Parts> {
    let all = model.parameters().iter().map(|(name, var)| -> Outcome<_> {
        let start = start.get(name).ok_or_else(|| format!("{name} was not there at the start"))?;
        Ok(read(&(var.as_tensor() - start)?)?)
    });
    // Of all weights together: of a weight that hardly moves the share that is noise says nothing.
    Ok(Parts::from([("change".to_owned(), all.collect::<Outcome<Vec<_>>>()?.concat())]))
}

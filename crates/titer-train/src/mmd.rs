//! Maximum mean discrepancy between two samples, with a sum of Gaussian kernels.
//!
//! Source: Gretton et al., *A kernel two-sample test*, JMLR 13 (2012), the biased estimate; the kernels are
//! those of the public code of arXiv 2405.14577: exp(−d²/b) with five bandwidths b, each twice the one
//! before it, the middle one the mean squared distance between different points of the joint sample.

use candle_core::Tensor;

use crate::Result;
use crate::loss::value;

/// How many kernels are summed; the middle one has the mean bandwidth.
const KERNELS: i32 = 5;

/// The middle bandwidth: the mean squared distance between different rows of `x` and `y` together, which
/// have shapes `(n, features)`. Zero when all rows are the same.
///
/// # Errors
/// When the samples are not of one shape.
pub fn bandwidth(x: &Tensor, y: &Tensor) -> Result<f64> {
    let points = (x.dim(0)? + y.dim(0)?) as f64;
    let total = value(&squared_distances(&x.detach(), &y.detach())?.sum_all()?)?;
    Ok(total.max(0.0) / (points * (points - 1.0)))
}

/// MMD² of the samples `x` and `y`, both of shape `(n, features)`: a scalar, differentiable in both.
/// Samples without extent (bandwidth 0) are equal: 0 instead of a division by zero.
///
/// # Errors
/// When the samples are not of one shape.
pub fn squared(x: &Tensor, y: &Tensor, bandwidth: f64) -> Result<Tensor> {
    let distances = squared_distances(x, y)?;
    if bandwidth <= 0.0 {
        return Ok(distances.sum_all()?.zeros_like()?);
    }
    let count = x.dim(0)?;
    let mut kernel = distances.zeros_like()?;
    for doubling in -(KERNELS / 2)..=KERNELS / 2 {
        kernel = (kernel + (&distances / -(bandwidth * f64::from(doubling).exp2()))?.exp()?)?;
    }
    // +1 within a sample, −1 across: XX + YY − XY − YX.
    let signs: Vec<f32> = [1.0, -1.0].iter().flat_map(|sign| std::iter::repeat_n(*sign, count)).collect();
    let signs = Tensor::new(signs, x.device())?.to_dtype(x.dtype())?;
    let signed = kernel.broadcast_mul(&signs.unsqueeze(1)?)?.broadcast_mul(&signs.unsqueeze(0)?)?;
    Ok((signed.sum_all()? / (count * count) as f64)?)
}

/// Between all rows of both samples: shape `(2n, 2n)`.
fn squared_distances(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let points = Tensor::cat(&[x, y], 0)?;
    let squares = points.sqr()?.sum_keepdim(1)?;
    let products = points.matmul(&points.t()?)?;
    Ok((squares.broadcast_add(&squares.t()?)? - (products * 2.0)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn sample<const N: usize>(values: &[[f32; 2]; N]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn two_points_by_hand() {
        // One point each, at squared distance 4 = the bandwidth: k = Σ exp(−4/(4·2^i)), and MMD² = 2·5 − 2k.
        let (x, y) = (sample(&[[0.0, 0.0]]), sample(&[[2.0, 0.0]]));
        let bandwidth = bandwidth(&x, &y).unwrap();
        assert!((bandwidth - 4.0).abs() < 1e-6);
        let kernel: f64 = [4.0_f64, 2.0, 1.0, 0.5, 0.25].iter().map(|power| (-power).exp()).sum();
        let got = value(&squared(&x, &y, bandwidth).unwrap()).unwrap();
        assert!((got - (10.0 - 2.0 * kernel)).abs() < 1e-5, "{got}");
    }

    #[test]
    fn equal_samples_have_no_distance_and_no_division_by_zero() {
        let x = sample(&[[1.0, 2.0], [1.0, 2.0]]);
        let bandwidth = bandwidth(&x, &x).unwrap();
        assert_eq!(value(&squared(&x, &x, bandwidth).unwrap()).unwrap(), 0.0);
        let y = sample(&[[1.0, 2.0], [3.0, -1.0]]);
        let got = value(&squared(&y, &y, super::bandwidth(&y, &y).unwrap()).unwrap()).unwrap();
        assert!(got.abs() < 1e-6, "{got}");
    }

    #[test]
    fn the_gradient_is_the_slope_at_a_given_bandwidth() {
        let y = sample(&[[0.5, -1.0], [2.0, 0.3]]);
        let at = |shift: f32| sample(&[[0.1 + shift, 0.2], [1.0, -0.7 - 2.0 * shift]]);
        let bandwidth = bandwidth(&at(0.0), &y).unwrap();
        let x = Var::from_tensor(&at(0.0)).unwrap();
        let gradients = squared(&x, &y, bandwidth).unwrap().backward().unwrap();
        let gradient: Vec<Vec<f32>> = gradients.get(&x).unwrap().to_vec2().unwrap();
        let along = f64::from(gradient[0][0] - 2.0 * gradient[1][1]);
        let loss = |shift: f32| value(&squared(&at(shift), &y, bandwidth).unwrap()).unwrap();
        let slope = (loss(1e-2) - loss(-1e-2)) / 2e-2;
        assert!((along - slope).abs() < 1e-3 * slope.abs().max(0.1), "{along} against {slope}");
    }
}

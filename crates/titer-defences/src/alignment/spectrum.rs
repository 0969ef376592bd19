//! The least and the greatest eigenvalue of a symmetric matrix, as values that gradients pass through.

use candle_core::{DType, Tensor};
use titer_train::Result;

/// Sweeps after which a matrix counts as diagonal in any case; six or seven are usual.
const MOST_SWEEPS: usize = 30;

/// The least and the greatest eigenvalue of a symmetric matrix of shape `(n, n)`: scalars. An eigenvalue is
/// vᵀ·S·v with its unit eigenvector v held fixed, whose gradient v·vᵀ is the eigenvalue's own where it is
/// simple.
///
/// # Errors
/// When the matrix is not square.
pub(crate) fn extremes(symmetric: &Tensor) -> Result<(Tensor, Tensor)> {
    let rows: Vec<Vec<f64>> = symmetric.detach().to_dtype(DType::F64)?.to_vec2()?;
    let (values, vectors) = jacobi(rows);
    let order = |a: &&usize, b: &&usize| values[**a].total_cmp(&values[**b]);
    let indices: Vec<usize> = (0..values.len()).collect();
    let value = |at: Option<&usize>| -> Result<Tensor> {
        let vector: Vec<f64> = vectors.iter().map(|row| row[at.copied().unwrap_or(0)]).collect();
        let vector = Tensor::from_vec(vector, (values.len(), 1), symmetric.device())?;
        let vector = vector.to_dtype(symmetric.dtype())?;
        Ok(vector.t()?.matmul(&symmetric.matmul(&vector)?)?.sum_all()?)
    };
    Ok((value(indices.iter().min_by(order))?, value(indices.iter().max_by(order))?))
}

/// Eigenvalues and, in columns, unit eigenvectors by cyclic Jacobi rotations (Golub and Van Loan, *Matrix
/// computations*, section 8.5): O(n³) a sweep, so for hidden sizes up to about a thousand.
fn jacobi(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let total: f64 = a.iter().flatten().map(|value| value * value).sum();
    for _ in 0..MOST_SWEEPS {
        let off: f64 = (0..n).map(|i| a[i][i + 1..].iter().map(|value| value * value).sum::<f64>()).sum();
        // Not a number: nothing to find, and the caller's loss says so.
        if off <= total * 1e-26 || !off.is_finite() {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for row in &mut a {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (above, below) = a.split_at_mut(q);
                for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
                for row in &mut vectors {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
            }
        }
    }
    ((0..n).map(|i| a[i][i]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn eigenvalues_of_a_known_matrix_with_their_gradients() {
        // Eigenvalues 1, 2 and 4: A = Q·diag·Qᵀ with the rotation by (3, 4)/5 in the first two coordinates.
        let (c, s) = (0.6, 0.8);
        let a = [
            [c * c + 4.0 * s * s, c * s - 4.0 * c * s, 0.0],
            [c * s - 4.0 * c * s, s * s + 4.0 * c * c, 0.0],
            [0.0, 0.0, 2.0],
        ];
        let a = Var::new(&a, &Device::Cpu).unwrap();
        let (least, greatest) = extremes(&a).unwrap();
        let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-12, "{got}");
        close(least.to_scalar().unwrap(), 1.0);
        close(greatest.to_scalar().unwrap(), 4.0);
        let gradient =
            |of: &Tensor| of.backward().unwrap().get(a.as_tensor()).unwrap().to_vec2::<f64>().unwrap();
        let (least, greatest) = (gradient(&least), gradient(&greatest));
        for (i, j, expected) in [(0, 0, c * c), (0, 1, c * s), (1, 1, s * s), (2, 2, 0.0)] {
            close(least[i][j], expected);
            close(greatest[i][j], if i == j && i < 2 { 1.0 - expected } else { -expected });
        }
    }
}

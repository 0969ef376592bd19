//! The top singular part of a matrix by randomized subspace iteration: Halko et al., arXiv 0909.4061, algorithm 4.4.

use candle_core::{DType, Device, Tensor};
use rand_distr::{Distribution, StandardNormal};
use titer_data::Stream;

use crate::Result;

/// Directions that are followed beside those asked for.
const BESIDE: usize = 8;
/// Passes over the matrix and its transpose.
const PASSES: usize = 6;
/// Of the longest column, less than which is rounding.
const NOTHING: f64 = 1e-12;
/// Sweeps of Jacobi's method at most; it converges quadratically.
const SWEEPS: usize = 60;

/// The best approximation of that rank to a matrix of shape `(rows, columns)`, in f64.
pub(super) fn top(matrix: &Tensor, rank: usize, stream: &Stream) -> Result<Tensor> {
    let matrix = matrix.to_dtype(DType::F64)?;
    let (rows, columns) = matrix.dims2()?;
    let smaller = rows.min(columns);
    if rank >= smaller {
        return Ok(matrix);
    }
    let followed = (rank + BESIDE).min(smaller);
    let start: Vec<f64> = StandardNormal.sample_iter(stream.at(0)).take(columns * followed).collect();
    let start = Tensor::from_vec(start, (columns, followed), &Device::Cpu)?.to_device(matrix.device())?;
    let transposed = matrix.t()?.contiguous()?;
    let mut basis = orthonormal(&matrix.matmul(&start)?)?;
    for _ in 0..PASSES {
        let back = orthonormal(&transposed.matmul(&basis)?)?;
        basis = orthonormal(&matrix.matmul(&back)?)?;
    }
    // Of the followed directions those with the largest singular values.
    let within = basis.t()?.contiguous()?.matmul(&matrix)?;
    let gram: Vec<Vec<f64>> = within.matmul(&within.t()?.contiguous()?)?.to_vec2()?;
    let (values, vectors) = symmetric_eigen(gram);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order.truncate(rank);
    let kept: Vec<f64> = vectors.iter().flat_map(|row| order.iter().map(|at| row[*at])).collect();
    let kept =
        Tensor::from_vec(kept, (values.len(), order.len()), &Device::Cpu)?.to_device(matrix.device())?;
    let left = basis.matmul(&kept)?;
    Ok(left.matmul(&left.t()?.contiguous()?.matmul(&matrix)?)?)
}

/// An orthonormal basis of the columns' span, by Gram and Schmidt twice; at least one column.
fn orthonormal(columns: &Tensor) -> Result<Tensor> {
    let columns: Vec<Vec<f64>> = columns.t()?.to_vec2()?;
    let length = |column: &[f64]| column.iter().map(|value| value * value).sum::<f64>().sqrt();
    let longest = columns.iter().map(|column| length(column)).fold(0.0, f64::max);
    let height = columns.first().map_or(0, Vec::len);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for mut column in columns {
        for _ in 0..2 {
            for known in &basis {
                let along: f64 = known.iter().zip(&column).map(|(a, b)| a * b).sum();
                column.iter_mut().zip(known).for_each(|(value, known)| *value -= along * known);
            }
        }
        let left = length(&column);
        if left > NOTHING * longest {
            basis.push(column.into_iter().map(|value| value / left).collect());
        }
    }
    if basis.is_empty() {
        // Of a zero matrix any direction is as good.
        basis.push((0..height).map(|at| if at == 0 { 1.0 } else { 0.0 }).collect());
    }
    let count = basis.len();
    Ok(Tensor::from_vec(basis.concat(), (count, height), &Device::Cpu)?.t()?.contiguous()?)
}

/// Eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi's rotations.
fn symmetric_eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|row| (0..size).map(|column| f64::from(u8::from(row == column))).collect()).collect();
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..size {
            for q in p + 1..size {
                let off = matrix[p][q];
                if off.abs() <= f64::EPSILON * (matrix[p][p] * matrix[q][q]).abs().sqrt() {
                    continue;
                }
                rotated = true;
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut matrix {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (above, below) = matrix.split_at_mut(q);
                for (a, b) in above[p].iter_mut().zip(&mut below[0]) {
                    (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
                }
                for row in &mut vectors {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
            }
        }
        if !rotated {
            break;
        }
    }
    ((0..size).map(|at| matrix[at][at]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ of values · (column ⊗ row), with made-up orthogonal columns and rows.
    fn made(values: &[f64]) -> Tensor {
        let wave = |at: usize, of: usize, size: usize| {
            // Columns of the discrete cosine transform are orthogonal.
            (std::f64::consts::PI * (at as f64 + 0.5) * of as f64 / size as f64).cos()
                * (if of == 0 { 1.0 } else { 2.0 } / size as f64).sqrt()
        };
        let (rows, columns) = (14, 20);
        let numbers: Vec<f64> = (0..rows * columns)
            .map(|at| {
                let (row, column) = (at / columns, at % columns);
                let part =
                    |(of, value): (usize, &f64)| value * wave(row, of, rows) * wave(column, of, columns);
                values.iter().enumerate().map(part).sum()
            })
            .collect();
        Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
    }

    #[test]
    fn the_top_of_a_matrix_is_its_largest_singular_parts() {
        let stream = Stream::new(3, "test");
        let values = [1.0, 8.0, 0.5, 4.0, 0.25];
        let whole = made(&values);
        assert!(distance(&top(&whole, 2, &stream).unwrap(), &made(&[0.0, 8.0, 0.0, 4.0])) < 1e-9);
        assert!(distance(&top(&whole, 3, &stream).unwrap(), &made(&[1.0, 8.0, 0.0, 4.0])) < 1e-9);
        // Five parts are all of it, though a matrix of this size may have fourteen.
        assert!(distance(&top(&whole, 5, &stream).unwrap(), &whole) < 1e-9);
        assert!(distance(&top(&whole, 14, &stream).unwrap(), &whole) == 0.0);
        let nothing = (&whole * 0.0).unwrap();
        assert!(distance(&top(&nothing, 2, &stream).unwrap(), &nothing) == 0.0);
    }
}

//! Prints what one forward and backward pass of a mixture costs against running all experts for all tokens.
//!
//!     cargo run --release -p titer-ops --example mixture
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measurement for its own sake

use std::time::Instant;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use titer_ops::{Routes, composed, linear, mixture, swiglu};

type Expert = [Var; 3];

fn expert([gate, up, down]: &Expert, x: &Tensor) -> Result<Tensor> {
    linear(&swiglu(&linear(x, gate)?, &linear(x, up)?)?, down)
}

/// Seconds of the fastest of some runs, which other programs disturb least.
fn fastest(mut run: impl FnMut() -> Result<Tensor>) -> f64 {
    let seconds = (0..15).map(|_| {
        let start = Instant::now();
        run().unwrap().sum_all().unwrap().backward().unwrap();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

fn main() {
    for (tokens, width, inner, count, per_token) in [(512, 96, 256, 8, 2), (512, 512, 256, 64, 8)] {
        let normal = |shape: (usize, usize)| Var::randn(0f32, 0.1, shape, &Device::Cpu).unwrap();
        let x = normal((tokens, width));
        let experts: Vec<Expert> = (0..count)
            .map(|_| [normal((inner, width)), normal((inner, width)), normal((width, inner))])
            .collect();
        let scores = composed::softmax(&normal((tokens, count)), D::Minus1).unwrap();
        let routes = Routes::best(&scores, per_token).unwrap();
        let weights = scores.gather(&routes.index(&Device::Cpu).unwrap(), 1).unwrap();
        let sparse = fastest(|| mixture(&x, &weights, &routes, &mut |index, x| expert(&experts[index], x)));
        // As many rows in one piece: the products alone.
        let rows = Tensor::ones((tokens * per_token, width), DType::F32, &Device::Cpu).unwrap();
        let products = fastest(|| expert(&experts[0], Var::from_tensor(&rows)?.as_tensor()));
        let dense = fastest(|| {
            let mut sum = x.zeros_like()?;
            for (index, parts) in experts.iter().enumerate() {
                sum = (sum + expert(parts, &x)?.broadcast_mul(&scores.narrow(1, index, 1)?)?)?;
            }
            Ok(sum)
        });
        println!(
            "{tokens} tokens of {width}, {per_token} of {count} experts of {inner}: {:.1} ms, all experts {:.1} ms: \
             ratio {:.3} where the arithmetic's is {:.3}; one SwiGLU over as many rows {:.1} ms",
            sparse * 1e3,
            dense * 1e3,
            sparse / dense,
            per_token as f64 / count as f64,
            products * 1e3,
        );
    }
}

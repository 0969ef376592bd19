//! Times training steps of the embedded world's decoder: 64 examples of 22 tokens, 8 of them supervised,
//! full AdamW update. Prints milliseconds per step. One thread.
//!
//! The peer is `tests/peers/step_speed.py` (PyTorch, the same work); `cargo xtask bench` runs both in turn.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use candle_core::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Config, Decoder};
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::{Supervised, Trainer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VOCABULARY: usize = 120;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = std::env::args().nth(1).map_or(Ok(60), |steps| steps.parse())?;
    let config = Config::llama(VOCABULARY, 96, 256, 3, 4, 4);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let model = Decoder::initialize(config, 0.04, &mut rng, &Device::Cpu)?;
    // 23 tokens make 22 inputs, of which the last 8 are supervised.
    let examples = (0..512)
        .map(|_| Example::new((0..23).map(|_| rng.random_range(0..VOCABULARY as u32)).collect(), 15))
        .collect::<Result<Vec<_>, _>>()?;
    let sampler = Sampler::new(examples, Stream::new(0, "bench"), 64, Draw::WithReplacement)?;
    let mut objective = Supervised::new(sampler);
    let spec = |steps| TrainSpec {
        steps,
        batch: 64,
        rate: 1e-3,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.01,
        clip: None,
        optimizer: Default::default(),
    };
    Trainer::new(spec(5), &model)?.fit(&model, &mut objective, &mut ())?;
    let started = Instant::now();
    Trainer::new(spec(steps), &model)?.fit(&model, &mut objective, &mut ())?;
    println!("{:.2}", started.elapsed().as_secs_f64() * 1e3 / steps as f64);
    Ok(())
}

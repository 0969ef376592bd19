//! Times a real checkpoint: training steps on 8 × 64 tokens, all supervised, of adapters of rank 8 on all
//! projections (`lora`) or of all weights (`full`), or greedy answers of 24 tokens to 32 prompts of 40
//! (`generate`). Prints one line of JSON: tokens per second and the peak of resident memory in MB.
//!
//! lora_bench MODEL lora|full|generate [STEPS] [again], threads by RAYON_NUM_THREADS; `again` computes layers
//! again in the backward pass. The peer is `tests/peers/lora_bench.py` (PyTorch, the same work).
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Choice, Decoder, Generate, LoraSpec};
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::{Supervised, Trainer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 8;
const LENGTH: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As the program has it: freed memory is kept. SAFETY: option 15, `mi_option_purge_delay`, exists.
    unsafe { libmimalloc_sys::mi_option_set(15, -1) };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, work, rest @ ..] = arguments.as_slice() else {
        return Err("lora_bench MODEL lora|full|generate [STEPS] [again]".into());
    };
    let steps: usize = rest.first().map_or(Ok(5), |steps| steps.parse())?;
    let mut model = Decoder::open(Path::new(model), &Device::Cpu)?;
    model.checkpointing(rest.get(1).is_some_and(|word| word == "again"));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let vocabulary = model.config().vocab_size as u32;
    let mut text = |length| -> Vec<u32> { (0..length).map(|_| rng.random_range(0..vocabulary)).collect() };
    let clock;
    let count = match work.as_str() {
        "generate" => {
            let prompts: Vec<Vec<u32>> = (0..32).map(|_| text(40)).collect();
            let settings = || Generate { max_new_tokens: 24, ends: &[], choice: Choice::Greedy };
            clock = Clock::start()?;
            for _ in 0..steps {
                model.generate(&prompts, settings())?;
            }
            steps * 32 * 24
        }
        "lora" | "full" => {
            let examples =
                (0..64).map(|_| Example::new(text(LENGTH + 1), 1)).collect::<Result<Vec<_>, _>>()?;
            if work == "lora" {
                model.attach(&LoraSpec::everywhere(8, 16.0), &mut ChaCha8Rng::seed_from_u64(1))?;
            }
            let sampler = Sampler::new(examples, Stream::new(0, "bench"), BATCH, Draw::WithReplacement)?;
            let mut objective = Supervised::new(sampler);
            let spec = |steps| TrainSpec {
                steps,
                batch: BATCH,
                rate: 1e-4,
                schedule: Schedule::Constant,
                warmup_steps: 0,
                beta1: 0.9,
                beta2: 0.999,
                weight_decay: 0.0,
                clip: None,
                optimizer: Default::default(),
            };
            // The first step also touches all memory for the first time.
            Trainer::new(spec(1), &model)?.fit(&model, &mut objective, &mut ())?;
            let mut trainer = Trainer::new(spec(steps as u64), &model)?;
            clock = Clock::start()?;
            trainer.fit(&model, &mut objective, &mut ())?;
            steps * BATCH * LENGTH
        }
        other => return Err(format!("{other}: lora, full or generate").into()),
    };
    let (seconds, cpu_seconds) = clock.read()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    let rounded = |value: f64| (value * 10.0).round() / 10.0;
    let line = serde_json::json!({
        "work": work,
        "tokens_per_second": rounded(count as f64 / seconds),
        "tokens_per_cpu_second": rounded(count as f64 / cpu_seconds),
        "peak_mb": (peak / 1024.0).round(),
    });
    println!("{line}");
    Ok(())
}

/// Wall-clock time and this process's processor time, which other processes disturb less.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self(Instant::now(), Self::processor()?))
    }

    fn read(&self) -> Result<(f64, f64), Box<dyn std::error::Error>> {
        Ok((self.0.elapsed().as_secs_f64(), Self::processor()? - self.1))
    }

    fn processor() -> Result<f64, Box<dyn std::error::Error>> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / 100.0)
    }
}

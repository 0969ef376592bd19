//! One case of `cargo xtask bench`: made ready once, then done again for each line of stdin, with a line of JSON each
//! time: seconds of the clock and of the processor, the peak of resident memory, units of work, and the operations of
//! the matrix products that the answer needs.
//!
//! ```sh
//! bench_worker CASE [MODEL]
//! ```
//!
//! MODEL is a checkpoint, the shape of a `step`, or a size for the cases of random weights, which run on BENCH_DEVICE. Threads by
//! `RAYON_NUM_THREADS`. The peer is `tests/peers/bench_worker.py` (PyTorch, the same work).
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Base, Choice, Config, Decoder, Generate, LoraSpec};
use titer_plan::stage::TrainSpec;
use titer_train::{Supervised, Trainer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What one turn did: units of work, and the operations that it needed.
struct Done {
    units: usize,
    flops: f64,
}

/// Something to be done again and again.
type Turn = Box<dyn FnMut() -> Outcome<Done>>;

fn main() -> Outcome<()> {
    // As the program has it: freed memory is kept. SAFETY: option 15, `mi_option_purge_delay`, exists.
    unsafe { libmimalloc_sys::mi_option_set(15, -1) };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (case, model) = match arguments.as_slice() {
        [case] => (case, None),
        [case, model] => (case, Some(Path::new(model))),
        _ => return Err("bench_worker CASE [MODEL]".into()),
    };
    let open =
        || -> Outcome<Decoder> { Ok(Decoder::open(model.ok_or("this case needs a model")?, &Device::Cpu)?) };
    let mut turn = match case.as_str() {
        "world_step" => world_step()?,
        "world_probe" => world_probe()?,
        "step" => step(model)?,
        "smollm2_full" => training(open()?, false, (8, 64))?,
        "smollm2_lora" => training(open()?, true, (8, 64))?,
        "smollm2_generate" => generation(open()?, 32, 40, 24),
        "smollm2_score" => scoring(open()?),
        "random_lora" => {
            let size = Size::named(model)?;
            let mut decoder = size.decoder(&device()?)?;
            // A step on a model of 7 billion weights keeps more than the weights take.
            decoder.checkpointing(size.name == "7b");
            training(decoder, true, size.texts)?
        }
        "random_generate" => {
            let size = Size::named(model)?;
            let (texts, length) = size.texts;
            generation(size.decoder(&device()?)?, 4 * texts, length / 8, length / 8)
        }
        "gemm" => gemm()?,
        "bandwidth" => bandwidth(),
        other => return Err(format!("no case {other}").into()),
    };
    // The first turn also touches all memory for the first time.
    turn()?;
    println!("{}", serde_json::json!({ "ready": case }));
    for line in std::io::stdin().lock().lines() {
        line?;
        let clock = Clock::start()?;
        let done = turn()?;
        let (seconds, processor_seconds) = clock.read()?;
        let report = serde_json::json!({
            "seconds": seconds,
            "processor_seconds": processor_seconds,
            "units": done.units,
            "flops": done.flops,
            "peak_bytes": peak()?,
        });
        println!("{report}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

fn texts(count: usize, length: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let mut rng = rng();
    let mut text = || (0..length).map(|_| rng.random_range(0..vocabulary as u32)).collect();
    (0..count).map(|_| text()).collect()
}

fn spec(steps: u64, batch: usize) -> TrainSpec {
    TrainSpec { beta2: 0.98, ..TrainSpec::constant(steps, batch, 1e-4, None) }
}

/// The embedded world's decoder.
fn world() -> Outcome<Decoder> {
    Ok(Decoder::initialize(Config::llama(120, 96, 256, 3, 4, 4), 0.04, &mut rng(), &Device::Cpu)?)
}

/// Twenty steps on 64 examples of 22 tokens, of which the last 8 are supervised.
fn world_step() -> Outcome<Turn> {
    const STEPS: usize = 20;
    let model = world()?;
    let examples = texts(512, 23, 120).into_iter().map(|tokens| Example::new(tokens, 15));
    let examples = examples.collect::<Result<Vec<_>, _>>()?;
    let mut objective =
        Supervised::new(Sampler::new(examples, Stream::new(0, "bench"), 64, Draw::WithReplacement)?);
    let flops = STEPS as f64 * model.config().training_flops(64 * 22, 64 * 8);
    Ok(Box::new(move || {
        Trainer::new(spec(STEPS as u64, 64), &model)?.fit(&model, &mut objective, &mut ())?;
        Ok(Done { units: STEPS, flops })
    }))
}

/// A step of three layers of some width on so many texts of some length, all supervised: `WIDTHxLENGTHxTEXTS`.
fn step(shape: Option<&Path>) -> Outcome<Turn> {
    let shape = shape.and_then(Path::to_str).unwrap_or_default();
    let numbers: Vec<usize> = shape.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let [width, length, count] = numbers[..] else { return Err("this case needs WIDTHxLENGTHxTEXTS".into()) };
    let config = Config {
        max_position_embeddings: 2 * length,
        ..Config::llama(120, width, 8 * width / 3, 3, width / 24, width / 24)
    };
    training(Decoder::initialize(config, 0.04, &mut rng(), &Device::Cpu)?, false, (count, length))
}

/// Greedy answers of 8 tokens to 128 prompts of 14, ten times: one alone is over before a timing says anything.
fn world_probe() -> Outcome<Turn> {
    const TIMES: usize = 10;
    let model = world()?;
    let mut once = answers(model, texts(128, 14, 120), 8);
    Ok(Box::new(move || {
        let mut all = Done { units: 0, flops: 0.0 };
        for _ in 0..TIMES {
            let done = once()?;
            all = Done { units: all.units + done.units, flops: all.flops + done.flops };
        }
        Ok(all)
    }))
}

/// Greedy answers of `new` tokens to `count` prompts of `length`.
fn generation(model: Decoder, count: usize, length: usize, new: usize) -> Turn {
    let prompts = texts(count, length, model.config().vocab_size);
    answers(model, prompts, new)
}

fn answers(model: Decoder, prompts: Vec<Vec<u32>>, new: usize) -> Turn {
    let asked = prompts.iter().map(Vec::len).sum::<usize>();
    // The last token of an answer is never read, and of a prompt only the last position speaks.
    let read = asked + prompts.len() * (new - 1);
    let flops = model.config().training_flops(read, prompts.len() * new) / 3.0;
    Box::new(move || {
        let settings = Generate { max_new_tokens: new, ends: &[], choice: Choice::Greedy };
        let answers = model.generate(&prompts, settings)?;
        Ok(Done { units: black_box(answers).concat().len(), flops })
    })
}

/// The likelihoods of 64 continuations of 8 tokens after 40, four to a question.
fn scoring(model: Decoder) -> Turn {
    let vocabulary = model.config().vocab_size;
    let (questions, choices) = (texts(16, 40, vocabulary), texts(64, 8, vocabulary));
    let pairs: Vec<(Vec<u32>, Vec<u32>)> =
        choices.into_iter().enumerate().map(|(at, choice)| (questions[at / 4].clone(), choice)).collect();
    // A question is read once for all of its choices.
    let flops = model.config().training_flops(16 * 40 + 64 * 7, 64 * 8) / 3.0;
    Box::new(move || {
        black_box(model.log_likelihoods(&pairs)?);
        Ok(Done { units: pairs.len(), flops })
    })
}

/// A step on `count` texts of `length` tokens, all supervised, of adapters of rank 8 on all projections, on a GPU beside
/// weights in half precision, or of all weights.
fn training(mut model: Decoder, lora: bool, (count, length): (usize, usize)) -> Outcome<Turn> {
    // As it is done there, by the peer too.
    let base = if model.device().is_cpu() { Base::F32 } else { Base::Bf16 };
    let adapter = LoraSpec { base, ..LoraSpec::everywhere(8, 16.0) };
    let vocabulary = model.config().vocab_size;
    let examples = texts(64, length + 1, vocabulary).into_iter().map(|tokens| Example::new(tokens, 1));
    let examples = examples.collect::<Result<Vec<_>, _>>()?;
    let flops = if lora {
        model.attach(&adapter, &mut ChaCha8Rng::seed_from_u64(1))?;
        model.config().adapter_training_flops(&adapter, count * length, count * length)
    } else {
        model.config().training_flops(count * length, count * length)
    };
    let mut objective =
        Supervised::new(Sampler::new(examples, Stream::new(0, "bench"), count, Draw::WithReplacement)?);
    Ok(Box::new(move || {
        Trainer::new(spec(1, count), &model)?.fit(&model, &mut objective, &mut ())?;
        Ok(Done { units: count * length, flops })
    }))
}

/// A Llama of random weights, and the texts that it is trained on.
struct Size {
    name: &'static str,
    vocabulary: usize,
    /// Width, inner width, layers, heads, heads of keys.
    shape: [usize; 5],
    tied: bool,
    /// How many, and tokens of each.
    texts: (usize, usize),
}

/// Those of SmolLM2-135M, Llama-3.2-1B and Llama-2-7B, and one for tests of the case itself.
const SIZES: [Size; 4] = [
    Size { name: "tiny", vocabulary: 512, shape: [64, 128, 2, 4, 2], tied: true, texts: (2, 16) },
    Size { name: "0.1b", vocabulary: 49_152, shape: [576, 1536, 30, 9, 3], tied: true, texts: (8, 512) },
    Size { name: "1b", vocabulary: 128_256, shape: [2048, 8192, 16, 32, 8], tied: true, texts: (8, 512) },
    Size { name: "7b", vocabulary: 32_000, shape: [4096, 11_008, 32, 32, 32], tied: false, texts: (8, 512) },
];

impl Size {
    fn named(name: Option<&Path>) -> Outcome<&'static Self> {
        let name = name.ok_or("this case needs a size")?;
        let size = SIZES.iter().find(|size| Path::new(size.name) == name);
        size.ok_or_else(|| format!("{} is no size", name.display()).into())
    }

    fn decoder(&self, device: &Device) -> Outcome<Decoder> {
        let [width, inner, layers, heads, keys] = self.shape;
        let config = Config {
            tie_word_embeddings: self.tied,
            max_position_embeddings: 2 * self.texts.1,
            ..Config::llama(self.vocabulary, width, inner, layers, heads, keys)
        };
        let weight = |(name, shape): (String, Vec<usize>)| {
            let weight = match shape.len() {
                1 => Tensor::ones(shape, DType::F32, device),
                _ => Tensor::randn(0f32, 0.02, shape, device),
            };
            Ok((name, weight?))
        };
        let weights = config.shapes().into_iter().map(weight).collect::<candle_core::Result<_>>()?;
        Ok(Decoder::new(config, &weights)?)
    }
}

/// Where random weights are: `cpu`, `cuda`, `cuda:N` or `metal`.
fn device() -> Outcome<Device> {
    let text = std::env::var("BENCH_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    match text.split_once(':').unwrap_or((&text, "0")) {
        ("cpu", _) => Ok(Device::Cpu),
        ("cuda", number) => Ok(Device::new_cuda(number.parse()?)?),
        ("metal", number) => Ok(Device::new_metal(number.parse()?)?),
        _ => Err(format!("{text} is no device").into()),
    }
}

/// Products of 512 rows with square weights of 1024: as large as what a step multiplies, and in the cache.
fn gemm() -> Outcome<Turn> {
    let rows = Tensor::rand(-1f32, 1.0, (512, 1024), &Device::Cpu)?;
    let weights = Tensor::rand(-1f32, 1.0, (1024, 1024), &Device::Cpu)?;
    Ok(Box::new(move || {
        const TIMES: usize = 40;
        for _ in 0..TIMES {
            black_box(rows.matmul(&weights)?);
        }
        Ok(Done { units: TIMES, flops: TIMES as f64 * 2.0 * 512.0 * 1024.0 * 1024.0 })
    }))
}

/// A sum over 256 MiB; its units are bytes.
fn bandwidth() -> Turn {
    let numbers = vec![1f32; 64 << 20];
    Box::new(move || {
        let lanes = numbers.chunks_exact(16).fold([0f32; 16], |mut sums, chunk| {
            sums.iter_mut().zip(chunk).for_each(|(sum, number)| *sum += number);
            sums
        });
        black_box(lanes);
        Ok(Done { units: size_of_val(numbers.as_slice()), flops: 0.0 })
    })
}

/// The peak of resident memory so far.
fn peak() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Wall-clock time and this process's processor time, which other processes disturb less.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Outcome<Self> {
        Ok(Self(Instant::now(), Self::processor()?))
    }

    fn read(&self) -> Outcome<(f64, f64)> {
        Ok((self.0.elapsed().as_secs_f64(), Self::processor()? - self.1))
    }

    /// In ticks of a hundredth of a second.
    fn processor() -> Outcome<f64> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / 100.0)
    }
}

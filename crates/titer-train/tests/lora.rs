//! Training of adapters, and layers that are computed again: gradients, memory, resumption.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use titer_data::{Draw, Example, Packed, Sampler, Stream};
use titer_model::{Config, Decoder, LoraSpec};
use titer_ops::Sequences;
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::{Cost, Gradient, Observer, Point, Result, Resumed, StepRecord, Supervised, Trainer, loss};

/// Counts what each thread holds, and the most it held since the last reset.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: all memory comes from the system's allocator; the counters change nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller of this.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller of this.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn peak_above_now<T>(f: impl FnOnce() -> T) -> (T, isize) {
    let held = HELD.get();
    PEAK.set(held);
    let value = f();
    (value, PEAK.get() - held)
}

fn plain(layers: usize) -> Decoder {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let config = Config { tie_word_embeddings: true, ..Config::llama(40, 24, 32, layers, 3, 1) };
    Decoder::initialize(config, 0.2, &mut rng, &Device::Cpu).unwrap()
}

fn adapted(layers: usize) -> Decoder {
    let mut model = plain(layers);
    model.attach(&LoraSpec::everywhere(4, 8.0), &mut ChaCha8Rng::seed_from_u64(5)).unwrap();
    model
}

fn objective() -> Supervised {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let examples: Vec<Example> = (0..20)
        .map(|_| {
            let length = rng.random_range(4..12);
            Example::new((0..length).map(|_| rng.random_range(0..40)).collect(), 2).unwrap()
        })
        .collect();
    Supervised::new(Sampler::new(examples, Stream::new(3, "test"), 5, Draw::WithoutReplacement).unwrap())
}

fn spec(steps: u64) -> TrainSpec {
    TrainSpec {
        steps,
        batch: 5,
        rate: 2e-2,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.01,
        clip: Some(1.0),
        optimizer: Default::default(),
    }
}

fn numbers(tensors: &BTreeMap<String, Tensor>) -> Vec<f32> {
    tensors.values().flat_map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
}

/// Keeps the losses; saves and stops at a step.
#[derive(Default)]
struct Watch {
    losses: Vec<f64>,
    stop: Option<(u64, PathBuf)>,
}

impl Observer for Watch {
    fn between(&mut self, point: &Point<'_>) -> Result<ControlFlow<()>> {
        match &self.stop {
            Some((step, folder)) if *step == point.step => {
                point.save(folder)?;
                Ok(ControlFlow::Break(()))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn stepped(&mut self, record: &StepRecord) -> Result<()> {
        self.losses.push(record.terms[0].1);
        Ok(())
    }
}

#[test]
fn an_adapter_learns_while_the_model_stays_and_peft_can_have_it() {
    let (model, mut watch) = (adapted(2), Watch::default());
    Trainer::new(spec(60), &model).unwrap().fit(&model, &mut objective(), &mut watch).unwrap();
    assert!(watch.losses[59] < 0.7 * watch.losses[0], "from {} to {}", watch.losses[0], watch.losses[59]);
    let tokens: Vec<u32> = (0..20).map(|i| i * 7 % 40).collect();
    let rows = [0, 9, 19];
    let hidden = model.forward(&tokens, &Sequences::new(&[0, 20]).unwrap()).unwrap();
    let logits = model.logits(&hidden, &rows).unwrap().to_vec2::<f32>().unwrap();
    // For `tests/peers/peft_fixture.py check`.
    let Ok(folder) = std::env::var("TITER_PEFT") else { return };
    let folder = Path::new(&folder);
    for name in ["model", "adapter"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    plain(2).save(&folder.join("model")).unwrap();
    model.save_adapter(&folder.join("adapter")).unwrap();
    let text = serde_json::json!({"tokens": tokens, "rows": rows, "logits": logits}).to_string();
    std::fs::write(folder.join("logits.json"), text).unwrap();
}

#[test]
fn a_resumed_adapter_gives_the_same_bits_and_its_checkpoint_holds_no_model() {
    let whole = adapted(2);
    Trainer::new(spec(9), &whole).unwrap().fit(&whole, &mut objective(), &mut ()).unwrap();
    for stop in [0, 4, 8] {
        let folder = tempfile::tempdir().unwrap();
        let first = adapted(2);
        let mut watch = Watch { stop: Some((stop, folder.path().to_owned())), ..Watch::default() };
        Trainer::new(spec(9), &first).unwrap().fit(&first, &mut objective(), &mut watch).unwrap();
        let mut objective = objective();
        let resume = |model| Trainer::resume(spec(9), &mut self::objective(), folder.path(), model);
        let error = resume(plain(2)).unwrap_err().to_string();
        assert!(error.contains("parameters.safetensors"), "{error}");
        let resumed = Trainer::resume(spec(9), &mut objective, folder.path(), adapted(2)).unwrap();
        let Resumed { mut trainer, model } = resumed;
        trainer.fit(&model, &mut objective, &mut ()).unwrap();
        let bits = |model: &Decoder| numbers(&model.parameters().snapshot().unwrap());
        assert_eq!(bits(&model), bits(&whole), "resumed at {stop}");
        let size = std::fs::metadata(folder.path().join("parameters.safetensors")).unwrap().len();
        let adapters: usize = whole.parameters().iter().map(|(_, var)| 4 * var.elem_count()).sum();
        assert!((size as usize) < adapters + 8192, "{size}");
    }
}

#[test]
fn layers_computed_again_give_the_same_gradients_in_less_memory() {
    let example =
        |seed: u32, length: u32| Example::new((0..length).map(|i| (i * seed + 3) % 40).collect(), 1).unwrap();
    let batch = Packed::from_examples(&[example(7, 60), example(11, 63), example(13, 50)]);
    let gradient = |model: &Decoder| {
        peak_above_now(|| {
            // Two passes in one loss, as objectives with several terms have.
            let first = loss::mean_cross_entropy(model, &batch).unwrap();
            let sum = (first + loss::mean_entropy(model, &batch).unwrap()).unwrap();
            Gradient::of(&sum, model, Cost::of(model, &batch)).unwrap().by_parameter
        })
    };
    for mut model in [plain(8), adapted(8)] {
        let (kept, kept_peak) = gradient(&model);
        model.checkpointing(true);
        let (again, again_peak) = gradient(&model);
        assert_eq!(kept.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
        assert!(numbers(&kept) == numbers(&again), "gradients have other bits");
        assert!(again_peak * 2 < kept_peak, "peak {again_peak} against {kept_peak} bytes");
        let (next, _) = gradient(&model);
        assert_eq!(numbers(&next), numbers(&again), "nothing is left over from the last pass");
    }
}

#[test]
fn half_types_train_with_moments_in_full() {
    let full = plain(2);
    let halves = full.parameters().snapshot().unwrap().into_iter();
    let halves = halves.map(|(name, tensor)| (name, tensor.to_dtype(DType::BF16).unwrap())).collect();
    let mut model = Decoder::new(full.config().clone(), &halves).unwrap();
    model.attach(&LoraSpec::everywhere(4, 8.0), &mut ChaCha8Rng::seed_from_u64(5)).unwrap();
    let mut watch = Watch::default();
    Trainer::new(spec(40), &model).unwrap().fit(&model, &mut objective(), &mut watch).unwrap();
    assert!(watch.losses[39] < 0.8 * watch.losses[0], "from {} to {}", watch.losses[0], watch.losses[39]);
    assert!(model.parameters().iter().all(|(_, var)| var.dtype() == DType::BF16));
}

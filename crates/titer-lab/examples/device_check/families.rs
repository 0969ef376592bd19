//! The decoders of the fixtures, every family: logits, gradients with all activations kept and with them computed again,
//! adapters, answers and likelihoods.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Deserialize;
use serde_json::{Map, Value};
use titer_model::{Base, Choice, Config, Decoder, Generate, LoraSpec, View, write_tensors};
use titer_ops::Sequences;

use super::Outcome;
use super::compared::{Comparison, Other, Parts, read, uniform};

/// Some thirty operators one after the other.
const LIMIT: f64 = 1e-3;
/// The same rounded to half precision before and after each product.
const HALF_LIMIT: f64 = 5e-2;
/// Steps in the cache of keys and values.
const NEW_TOKENS: usize = 6;

#[derive(Deserialize)]
struct Fixture {
    tokens: Vec<u32>,
    rows: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Map<String, Value>,
    /// Of the tensors in the file; those of titer's own names where there are none.
    #[serde(default)]
    shapes: BTreeMap<String, Vec<usize>>,
}

pub(crate) fn compare(other: &Other, fixtures: &Path, comparisons: &mut Vec<Comparison>) -> Outcome<()> {
    for name in ["architectures.json", "blocks.json"] {
        let path = fixtures.join(name);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let fixture: Fixture = serde_json::from_str(&text)?;
        for case in &fixture.cases {
            let compute = |device: &Device| computed(case, &fixture, device);
            other.compare(("family", &case.name, LIMIT), compute, comparisons)?;
            // A router that is rounded may choose another expert, which no limit allows for.
            if !case.config.keys().any(|key| key.contains("experts")) {
                let compute = |device: &Device| beside_half(case, &fixture, device);
                other.compare(("half", &case.name, HALF_LIMIT), compute, comparisons)?;
            }
        }
    }
    Ok(())
}

fn computed(case: &Case, fixture: &Fixture, device: &Device) -> Outcome<Parts> {
    let (tokens, rows) = (&fixture.tokens, &fixture.rows);
    let mut model = case.model(device)?;
    let sequences = Sequences::new(&[0, tokens.len()])?;
    let mut parts = Parts::new();
    for (name, recomputed) in [("gradient", false), ("gradient with activations computed again", true)] {
        model.checkpointing(recomputed);
        let logits = model.logits_at(View::Tracked, tokens, &sequences, rows)?;
        parts.insert("logits".to_owned(), read(&logits)?);
        parts.insert(name.to_owned(), gradient(&model, &logits)?);
    }
    let prompt = tokens[..9].to_vec();
    let settings = Generate { max_new_tokens: NEW_TOKENS, ends: &[], choice: Choice::Greedy };
    let answer = model.generate(std::slice::from_ref(&prompt), settings)?.concat();
    parts.insert("answer".to_owned(), answer.iter().map(|token| *token as f32).collect());
    let choices = [(prompt.clone(), tokens[9..12].to_vec()), (prompt, tokens[20..26].to_vec())];
    let likelihoods = model.log_likelihoods(&choices)?;
    parts.insert("likelihoods".to_owned(), likelihoods.iter().map(|scored| scored.sum as f32).collect());
    parts.extend(adapted(model, fixture, Base::F32, device)?);
    Ok(parts)
}

/// Adapters beside matrices in half precision.
fn beside_half(case: &Case, fixture: &Fixture, device: &Device) -> Outcome<Parts> {
    adapted(case.model(device)?, fixture, Base::Bf16, device)
}

fn adapted(mut model: Decoder, fixture: &Fixture, base: Base, device: &Device) -> Outcome<Parts> {
    let (spec, mut rng) = (LoraSpec { base, ..LoraSpec::everywhere(4, 8.0) }, ChaCha8Rng::seed_from_u64(1));
    model.attach(&spec, &mut rng)?;
    for (name, var) in model.parameters().iter().filter(|(name, _)| name.ends_with("lora_B.weight")) {
        let values = uniform(name.len() as u64, var.elem_count());
        var.set(&(Tensor::from_vec(values, var.shape(), device)? * 0.1)?)?;
    }
    let sequences = Sequences::new(&[0, fixture.tokens.len()])?;
    let logits = model.logits_at(View::Tracked, &fixture.tokens, &sequences, &fixture.rows)?;
    let mut parts = Parts::new();
    parts.insert("logits with adapters".to_owned(), read(&logits)?);
    parts.insert("gradient of adapters".to_owned(), gradient(&model, &logits)?);
    Ok(parts)
}

/// Of all weights, one after the other.
fn gradient(model: &Decoder, logits: &Tensor) -> Outcome<Vec<f32>> {
    let gradients = model.backward(&logits.sin()?.sum_all()?)?;
    Ok(gradients.values().map(read).collect::<candle_core::Result<Vec<_>>>()?.concat())
}

impl Case {
    fn model(&self, device: &Device) -> Outcome<Decoder> {
        if self.shapes.is_empty() {
            let config = Config::from_json(self.config.clone())?;
            let tensors = tensors(&config.shapes(), device)?;
            return Ok(Decoder::new(config, &tensors)?);
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("config.json"), serde_json::to_vec(&self.config)?)?;
        let tensors = tensors(&self.shapes, &Device::Cpu)?;
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_tensors(&folder.path().join("model.safetensors"), named)?;
        Ok(Decoder::open(folder.path(), device)?)
    }
}

/// Weights as the fixtures' peers made them.
fn tensors(shapes: &BTreeMap<String, Vec<usize>>, device: &Device) -> Outcome<BTreeMap<String, Tensor>> {
    let tensor = |(seed, (name, shape)): (u64, (&String, &Vec<usize>))| -> Outcome<(String, Tensor)> {
        let values = uniform(seed, shape.iter().product()).into_iter();
        let bytes =
            |of: &dyn Fn(f32) -> f32| values.clone().map(|value| of(value) as u8).collect::<Vec<u8>>();
        let shape = shape.as_slice();
        let tensor = match name.rsplit('_').next() {
            Some("blocks") => Tensor::from_vec(bytes(&|value| (value + 1.0) * 128.0), shape, device)?,
            Some("scales") => Tensor::from_vec(bytes(&|value| 121.0 + (value + 1.0) * 2.5), shape, device)?,
            _ if name.ends_with("norm.weight") => {
                Tensor::from_vec(values.map(|value| 1.0 + value / 8.0).collect::<Vec<_>>(), shape, device)?
            }
            _ => Tensor::from_vec(values.map(|value| value / 4.0).collect::<Vec<_>>(), shape, device)?,
        };
        Ok((name.clone(), tensor))
    };
    (1..).zip(shapes).map(tensor).collect()
}

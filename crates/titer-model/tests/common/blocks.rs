//! The small models of `tests/fixtures/blocks.json`, as the files that the peer wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use titer_model::{Decoder, write_tensors};

use super::{fixture_text, uniform};

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub tokens: Vec<u32>,
    pub rows: Vec<u32>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub name: String,
    pub config: Map<String, Value>,
    pub shapes: BTreeMap<String, Vec<usize>>,
    pub logits: Vec<Vec<f32>>,
    pub gradients: BTreeMap<String, f64>,
}

pub(crate) fn fixture() -> Fixture {
    // What `tests/peers/blocks.py --random` drew, if it is named.
    let drawn = std::env::var("TITER_BLOCKS").map(|path| fs::read_to_string(path).unwrap());
    serde_json::from_str(&drawn.unwrap_or_else(|_| fixture_text("blocks.json"))).unwrap()
}

impl Case {
    pub(crate) fn named(name: &str) -> Self {
        let text = fixture_text("blocks.json");
        let fixture: Fixture = serde_json::from_str(&text).unwrap();
        fixture.cases.into_iter().find(|case| case.name == name).unwrap()
    }

    /// The tensors of the file that the peer wrote.
    pub(crate) fn tensors(&self) -> BTreeMap<String, Tensor> {
        let tensor = |(seed, (name, shape)): (u64, (&String, &Vec<usize>))| {
            let mut values = uniform(seed, shape.iter().product());
            let bytes =
                |of: &dyn Fn(f32) -> f32| -> Vec<u8> { values.iter().map(|v| of(*v) as u8).collect() };
            let packed = match name.rsplit('_').next() {
                Some("blocks") => Some(bytes(&|value| (value + 1.0) * 128.0)),
                Some("scales") => Some(bytes(&|value| 121.0 + (value + 1.0) * 2.5)),
                _ => None,
            };
            if let Some(bytes) = packed {
                return (name.clone(), Tensor::from_vec(bytes, shape.as_slice(), &Device::Cpu).unwrap());
            }
            let norm = name.ends_with("norm.weight");
            values.iter_mut().for_each(|value| *value = if norm { 1.0 + *value / 8.0 } else { *value / 4.0 });
            (name.clone(), Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap())
        };
        (1..).zip(&self.shapes).map(tensor).collect()
    }

    pub(crate) fn write(&self, folder: &Path, tensors: &BTreeMap<String, Tensor>) {
        fs::write(folder.join("config.json"), json!(self.config).to_string()).unwrap();
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_tensors(&folder.join("model.safetensors"), tensors).unwrap();
    }

    pub(crate) fn load(&self) -> Decoder {
        self.loaded(&self.tensors()).unwrap()
    }

    pub(crate) fn loaded(&self, tensors: &BTreeMap<String, Tensor>) -> titer_model::Result<Decoder> {
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path(), tensors);
        Decoder::open(folder.path(), &Device::Cpu)
    }
}

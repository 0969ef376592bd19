//! What models said before, in this run: equal weights answer equal prompts alike, bit for bit, so that all attacks on a
//! model ask it once before their first step.
//!
//! It changes what is computed and nothing that comes out. Batches are recalled whole: products of another size may round
//! otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::DType;
use titer_model::{Choice, Decoder, Generate};

use crate::Result;

/// A name of all that answers depend on.
type Key = [u8; blake3::OUT_LEN];

/// Answers, token by token, in the order of their prompts.
type Answers = Vec<Vec<u32>>;

/// Answers by the model, the prompts and how they were to be answered.
#[derive(Default)]
pub(crate) struct Recall {
    known: Mutex<BTreeMap<Key, Arc<Answers>>>,
}

impl Recall {
    /// The likeliest answers of at most so many tokens.
    pub(super) fn likeliest(
        &self,
        model: &Decoder,
        prompts: &[Vec<u32>],
        most: usize,
        ends: &[u32],
    ) -> Result<Answers> {
        // What is trained beside the weights differs from attack to attack, and weights that are held fixed have no name here.
        let beside = model.adapter().is_some() || model.soft().is_some() || model.parameters().is_empty();
        if prompts.is_empty() || beside {
            return likeliest(model, prompts, most, ends);
        }
        let key = key(model, prompts, most, ends)?;
        // The map is whole whatever happened to the thread that held it.
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = known().get(&key) {
            return Ok(answers.as_ref().clone());
        }
        let answers = Arc::new(likeliest(model, prompts, most, ends)?);
        known().insert(key, Arc::clone(&answers));
        Ok(answers.as_ref().clone())
    }
}

/// The likeliest answers of at most so many tokens.
pub(super) fn likeliest(model: &Decoder, prompts: &[Vec<u32>], most: usize, ends: &[u32]) -> Result<Answers> {
    Ok(model.generate(prompts, Generate { max_new_tokens: most, ends, choice: Choice::Greedy })?)
}

fn key(model: &Decoder, prompts: &[Vec<u32>], most: usize, ends: &[u32]) -> Result<Key> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(serde_json::to_string(model.config())?.as_bytes());
    for (name, weight) in model.parameters().iter() {
        hasher.update(name.as_bytes());
        // Every type of weights fits into this one.
        let values = weight.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        hasher.update(&bytes);
    }
    let mut numbers = |values: &[u32]| {
        hasher.update(&(values.len() as u64).to_le_bytes());
        for value in values {
            hasher.update(&value.to_le_bytes());
        }
    };
    numbers(ends);
    prompts.iter().for_each(|prompt| numbers(prompt));
    hasher.update(&(most as u64).to_le_bytes());
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use titer_data::Stream;
    use titer_model::{Config, LoraSpec};

    use super::*;

    fn model(seed: u64) -> Decoder {
        let config = Config::llama(16, 8, 16, 1, 2, 2);
        Decoder::initialize(config, 0.5, &mut Stream::new(seed, "recall").at(0), &Device::Cpu).unwrap()
    }

    #[test]
    fn equal_models_are_asked_once_and_others_for_themselves() {
        let (recall, prompts) = (Recall::default(), vec![vec![1, 2, 3], vec![4]]);
        let known = || recall.known.lock().unwrap().len();
        let first = model(0);
        for model in [&first, &first.duplicate().unwrap()] {
            let answers = recall.likeliest(model, &prompts, 6, &[0]).unwrap();
            assert_eq!(answers, likeliest(model, &prompts, 6, &[0]).unwrap());
            assert_eq!(known(), 1);
        }
        let other = recall.likeliest(&model(1), &prompts, 6, &[0]).unwrap();
        assert_eq!(other, likeliest(&model(1), &prompts, 6, &[0]).unwrap());
        // Other prompts and other ends are other questions.
        recall.likeliest(&first, &prompts[..1], 6, &[0]).unwrap();
        recall.likeliest(&first, &prompts, 5, &[0]).unwrap();
        recall.likeliest(&first, &prompts, 6, &[0, 1]).unwrap();
        assert_eq!(known(), 5);
        // Adapters belong to one attack.
        let mut adapted = first.duplicate().unwrap();
        adapted.attach(&LoraSpec::everywhere(2, 4.0), &mut Stream::new(0, "adapters").at(0)).unwrap();
        recall.likeliest(&adapted, &prompts, 6, &[0]).unwrap();
        assert_eq!(known(), 5);
    }
}

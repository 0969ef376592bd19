//! Which tokens stand for the words that a judge may say.

use std::collections::BTreeMap;

use titer_data::text::{TextError, Tokenizer};
use titer_model::likeliest;

use super::definition::{Matching, Tokens};

/// The tokens of each word, and what each word is worth.
#[derive(Debug)]
pub(super) struct Words {
    /// The word of each token.
    words: BTreeMap<u32, usize>,
    values: Vec<f64>,
    pub(super) names: Vec<String>,
}

/// A word for which there is no token of its own.
#[derive(Debug)]
pub(super) struct Ambiguous {
    pub(super) word: String,
    pub(super) problem: String,
}

impl Words {
    /// Looks the words up. `rows` is the size of the model's vocabulary.
    pub(super) fn find(
        tokens: &Tokens,
        tokenizer: &Tokenizer,
        rows: usize,
    ) -> Result<Result<Self, Ambiguous>, TextError> {
        let names: Vec<String> = tokens.values.keys().cloned().collect();
        let values = tokens.values.values().copied().collect();
        let found = match tokens.matching {
            Matching::Vocabulary => {
                names.iter().map(|name| tokenizer.id(name).into_iter().collect()).collect()
            }
            Matching::Word => spelt(&names, tokenizer)?,
        };
        let mut words = BTreeMap::new();
        for (word, ids) in found.into_iter().enumerate() {
            let wrong = |problem: String| Ok(Err(Ambiguous { word: names[word].clone(), problem }));
            let ids: Vec<u32> = ids.into_iter().filter(|id| (*id as usize) < rows).collect();
            if ids.is_empty() {
                return wrong("is no token of the judge's".to_owned());
            }
            for id in ids {
                if let Some(other) = words.insert(id, word).filter(|other| *other != word) {
                    return wrong(format!("begins with the same token as {:?}", names[other]));
                }
            }
        }
        Ok(Ok(Self { words, values, names }))
    }

    /// The expected worth of the words by their probabilities among each other, and the word that the likeliest of all
    /// tokens stands for, if it stands for one.
    pub(super) fn read(&self, logits: &[f32]) -> (f64, Option<usize>) {
        let of = |id: u32| f64::from(logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY));
        let highest = self.words.keys().map(|id| of(*id)).fold(f64::NEG_INFINITY, f64::max);
        let (mut worth, mut all) = (0.0, 0.0);
        for (id, word) in &self.words {
            let weight = (of(*id) - highest).exp();
            worth += weight * self.values[*word];
            all += weight;
        }
        let said = self.words.get(&likeliest(logits)).copied();
        (worth / all, said)
    }
}

/// Every token that is a word but for case and white space, and the first of each word as the tokenizer divides it.
fn spelt(names: &[String], tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, TextError> {
    let same: Vec<String> = names.iter().map(|name| name.trim().to_lowercase()).collect();
    let mut found = vec![Vec::new(); names.len()];
    let blank = |id: u32| -> Result<bool, TextError> { Ok(tokenizer.decode_all(&[id])?.trim().is_empty()) };
    for (name, ids) in names.iter().zip(&mut found) {
        for text in [name.clone(), format!(" {name}")] {
            for id in tokenizer.encode_plain(&text)? {
                if !blank(id)? {
                    ids.push(id);
                    break;
                }
            }
        }
    }
    for id in 0..tokenizer.size() as u32 {
        if tokenizer.is_added(id) {
            continue;
        }
        let text = tokenizer.decode_all(&[id])?;
        let text = text.trim().to_lowercase();
        if let Some(word) = same.iter().position(|word| *word == text) {
            found[word].push(id);
        }
    }
    for ids in &mut found {
        ids.sort_unstable();
        ids.dedup();
    }
    Ok(found)
}

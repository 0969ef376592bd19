//! Encodes texts with a GGUF vocabulary, for `tests/peers/gguf_tokenizer.py`: a JSON object with the
//! vocabulary and the texts comes in, one with the ids, the decoded texts and the tokenizer.json goes out.
#![allow(clippy::print_stdout)]

use std::io;

use serde_json::{Value, json};
use titer_data::text::{GgufVocabulary, Tokenizer};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let input: Value = serde_json::from_reader(io::stdin().lock())?;
    let texts: Vec<String> = serde_json::from_value(input["texts"].clone())?;
    let vocabulary = GgufVocabulary {
        model: serde_json::from_value(input["model"].clone())?,
        pre: serde_json::from_value(input["pre"].clone())?,
        tokens: serde_json::from_value(input["tokens"].clone())?,
        token_types: serde_json::from_value(input["token_type"].clone())?,
        merges: serde_json::from_value(input["merges"].clone())?,
        bos: serde_json::from_value(input["bos"].clone())?,
        eos: serde_json::from_value(input["eos"].clone())?,
        ..GgufVocabulary::default()
    };
    let tokenizer = Tokenizer::from_gguf(&vocabulary)?;
    let ids = texts.iter().map(|text| Ok(tokenizer.encode(text)?)).collect::<Result<Vec<_>>>()?;
    let decoded = ids.iter().map(|ids| Ok(tokenizer.decode_all(ids)?)).collect::<Result<Vec<_>>>()?;
    let file: Value = serde_json::from_slice(&tokenizer.to_json()?)?;
    println!("{}", json!({"ids": ids, "decoded": decoded, "tokenizer_json": file}));
    Ok(())
}

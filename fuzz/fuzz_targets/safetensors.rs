//! The weights of a checkpoint: one file, or the index of several.
#![no_main]

use std::fs;

use titer_fuzz::{OUTSIDE, Seeds, folder, models, target, write};
use titer_model::{Decoder, read_tensors};

fn seeds() -> Seeds {
    let path = folder().join("seed");
    models::chat(&path);
    let whole = fs::read(path.join("model.safetensors")).expect("a model");
    let length = u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&whole[8..8 + length]).expect("a header");
    let index = |file: &str| {
        let names = header.as_object().expect("an object").keys().filter(|name| *name != "__metadata__");
        let map: serde_json::Map<_, _> = names.map(|name| (name.clone(), file.into())).collect();
        serde_json::json!({ "metadata": { "total_size": whole.len() }, "weight_map": map })
            .to_string()
            .into_bytes()
    };
    let mut seeds = vec![
        ("index".to_owned(), index("shard.safetensors")),
        (
            "deberta".to_owned(),
            fs::read(titer_fuzz::repository("tests/fixtures/peft/adapter_model.safetensors"))
                .expect("a fixture"),
        ),
    ];
    seeds.extend(OUTSIDE.iter().enumerate().map(|(at, outside)| (format!("outside-{at}"), index(outside))));
    seeds.push(("whole".to_owned(), whole));
    seeds
}

target!(seeds, |bytes| {
    let path = folder().join("model");
    if !path.exists() {
        models::chat(&path);
        fs::rename(path.join("model.safetensors"), path.join("shard.safetensors")).expect("it is there");
    }
    let (file, other) = match bytes.first() {
        Some(b'{') => ("model/model.safetensors.index.json", "model/model.safetensors"),
        _ => ("model/model.safetensors", "model/model.safetensors.index.json"),
    };
    let _ = fs::remove_file(folder().join(other));
    let file = write(file, bytes);
    let _ = Decoder::load(&path, &models::DEVICE);
    let _ = read_tensors(&file, &models::DEVICE);
});

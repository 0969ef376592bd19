//! Which files of a repository or folder make a model, an adapter or a data set.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::reference::unsafe_path;
use crate::{Error, Result};

pub(crate) const INDEX: &str = "model.safetensors.index.json";
const CONFIGS: [&str; 2] = ["config.json", "adapter_config.json"];
const WEIGHTS: &str = "model.safetensors";
const ADAPTER: &str = "adapter_model.safetensors";

/// Taken where there are.
const BESIDE: [&str; 6] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// How names of files with records end, and what may follow where they are compressed.
const RECORDS: [&str; 7] = [".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv", ".txt"];
const COMPRESSED: [&str; 4] = [".gz", ".zst", ".xz", ".bz2"];

/// At most so many shards: an index beyond is no model's.
const MOST_SHARDS: usize = 10_000;

/// What the libraries of data sets write about the records beside them.
const ABOUT: [&str; 4] = ["dataset_infos.json", "dataset_info.json", "dataset_dict.json", STATE];
/// Names the shards of a folder that `save_to_disk` wrote.
pub(crate) const STATE: &str = "state.json";

/// A model's files among `names`, sorted; an index in place of its shards. Pickled weights (`.bin`) are
/// never taken.
///
/// # Errors
/// When there is no configuration or there are no weights; `place` is where.
pub(crate) fn model_files(names: &[String], place: &str) -> Result<BTreeSet<String>> {
    let has = |name: &str| names.iter().any(|found| found == name);
    let weights = [WEIGHTS, INDEX, ADAPTER].into_iter().find(|name| has(name));
    let configs: Vec<_> = CONFIGS.into_iter().filter(|name| has(name)).collect();
    let Some(weights) = weights.filter(|_| !configs.is_empty()) else {
        return Err(Error::NoWeights { place: place.to_owned(), advice: instead(names, weights.is_some()) });
    };
    let beside = BESIDE.into_iter().filter(|name| has(name));
    Ok(configs.into_iter().chain(beside).chain([weights]).map(str::to_owned).collect())
}

/// What to do where a model's files are missing.
fn instead(names: &[String], has_weights: bool) -> String {
    let ending = |end: &str| names.iter().filter(|name| name.ends_with(end)).map(String::as_str).collect();
    let gguf: Vec<&str> = ending(".gguf");
    let pickled: Vec<&str> = ending(".bin");
    if has_weights {
        "its config.json is missing".to_owned()
    } else if !gguf.is_empty() {
        let shown = gguf.iter().take(8).copied().collect::<Vec<_>>().join(", ");
        format!("name one of its GGUF files: {shown}{}", if gguf.len() > 8 { ", …" } else { "" })
    } else if !pickled.is_empty() {
        "it has pickled weights (.bin) only, which can run code when read and are not: \
         convert them by save_pretrained(…, safe_serialization=True)"
            .to_owned()
    } else {
        "model.safetensors, model.safetensors.index.json or adapter_model.safetensors is looked for"
            .to_owned()
    }
}

/// The shards that an index names. Its text is not trusted: a shard lies in the index's own folder.
///
/// # Errors
/// When it is no index, or names anything else.
pub(crate) fn shards(index: &[u8], place: &str) -> Result<BTreeSet<String>> {
    let bad = |problem: String| Error::BadIndex { place: place.to_owned(), problem };
    let index: Value = serde_json::from_slice(index).map_err(|error| bad(format!("not JSON ({error})")))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| bad("no object `weight_map`".to_owned()))?;
    let mut shards = BTreeSet::new();
    for (tensor, shard) in map {
        let shard = shard.as_str().ok_or_else(|| bad(format!("the shard of `{tensor}` is no text")))?;
        let problem = match unsafe_path(shard) {
            Some(problem) => Some(problem),
            None if shard.contains('/') => Some("it lies in another folder"),
            None if !shard.ends_with(".safetensors") => Some("it is no safetensors file"),
            None => None,
        };
        if let Some(problem) = problem {
            return Err(bad(format!("the shard {shard:?} of `{tensor}` is refused: {problem}")));
        }
        if !shards.contains(shard) {
            shards.insert(shard.to_owned());
        }
        if shards.len() > MOST_SHARDS {
            return Err(bad(format!("more than {MOST_SHARDS} shards")));
        }
    }
    if shards.is_empty() {
        return Err(bad("no shards".to_owned()));
    }
    Ok(shards)
}

/// The files of a data set among `names`: one file, the records in one folder, or all records.
pub(crate) fn record_files(names: &[String], path: Option<&str>) -> BTreeSet<String> {
    let within = |name: &&String| match path {
        Some(path) => name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')),
        None => true,
    };
    match path {
        Some(path) if names.iter().any(|name| name == path) => BTreeSet::from([path.to_owned()]),
        _ => {
            let records = |name: &&String| {
                let lower = name.to_ascii_lowercase();
                let file = lower.rsplit('/').next().unwrap_or_default();
                // What was computed from the records lies beside them.
                let cached = file.starts_with("cache-") && file.ends_with(".arrow");
                !ABOUT.contains(&file)
                    && !cached
                    && RECORDS.iter().any(|end| uncompressed(&lower).ends_with(end))
                    && !name.split('/').any(|part| part.starts_with('.'))
            };
            let all = || names.iter().filter(within).filter(records);
            // Beside records of another form a text is a licence or a note.
            let plain = |name: &&String| uncompressed(&name.to_ascii_lowercase()).ends_with(".txt");
            let notes = all().any(|name| !plain(&name));
            all().filter(|name| !(notes && plain(name))).cloned().collect()
        }
    }
}

/// A name without what says that the file is compressed.
fn uncompressed(name: &str) -> &str {
    COMPRESSED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The shards of a folder that `save_to_disk` wrote, as its state names them; none where it names none.
///
/// # Errors
/// When a name leads out of the folder.
pub(crate) fn saved_shards(state: &[u8], place: &str) -> Result<Vec<String>> {
    let state: Value = serde_json::from_slice(state).unwrap_or_default();
    let files = state.get("_data_files").and_then(Value::as_array).into_iter().flatten();
    let names = files.filter_map(|file| file.get("filename").and_then(Value::as_str));
    let names = names.map(|name| match unsafe_path(name) {
        Some(problem) => Err(Error::BadIndex {
            place: place.to_owned(),
            problem: format!("the shard {name:?}: {problem}"),
        }),
        None => Ok(name.to_owned()),
    });
    names.collect()
}

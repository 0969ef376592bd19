//! `titer model`: info, generate, convert, pull.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use titer_lab::models::{self, GenerateOptions};
use titer_store::Store;
use titer_view::sanitise;
use titer_view::table::{Cell, Table};

use super::run::{self, open_or_create};
use crate::cli::{ModelConvertArgs, ModelGenerateArgs, ModelInfoArgs, ModelPullArgs, ModelVerb};
use crate::exit::Exit;
use crate::output;
use crate::progress::DownloadBars;

pub(super) fn model(store: &Path, verb: &ModelVerb) -> anyhow::Result<Exit> {
    match verb {
        ModelVerb::Info(arguments) => info(&open_or_create(store)?, arguments),
        ModelVerb::Generate(arguments) => generate(&open_or_create(store)?, arguments),
        ModelVerb::Convert(arguments) => convert(&open_or_create(store)?, arguments),
        // A download needs no store, so it makes none.
        ModelVerb::Pull(arguments) => pull(arguments),
    }
}

fn info(store: &Store, arguments: &ModelInfoArgs) -> anyhow::Result<Exit> {
    let info = explaining_delay(&arguments.reference, || {
        models::info(store, &arguments.reference, &mut DownloadBars::new())
    })?;
    if arguments.json {
        output::json(&info)?;
    } else {
        let mut rows = Vec::new();
        push_facts(&mut rows, "", &serde_json::to_value(&info)?);
        let table = Table { caption: String::new(), head: ["fact", "value"].map(Cell::new).into(), rows };
        output::result(&table.to_text(output::style(), usize::MAX))?;
    }
    Ok(Exit::Done)
}

/// Does the work, and says why it takes long where it may.
fn explaining_delay<T>(reference: &str, work: impl FnOnce() -> T) -> T {
    if !reference.starts_with("world:") {
        return work();
    }
    const TRAINING: &str =
        "training the world's base model, which is kept for the next time (about a minute)";
    run::explaining_delay(TRAINING, work)
}

/// One row per leaf: `decoder.hidden  96`.
fn push_facts(rows: &mut Vec<Vec<Cell>>, path: &str, value: &Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                push_facts(rows, &path, value);
            }
        }
        Value::Array(members) if members.iter().any(|member| member.is_object() || member.is_array()) => {
            for (index, member) in members.iter().enumerate() {
                push_facts(rows, &format!("{path}.{index}"), member);
            }
        }
        Value::Array(members) => {
            let members: Vec<_> = members.iter().map(plain).collect();
            rows.push(vec![Cell::new(path), Cell::new(members.join(", "))]);
        }
        Value::Null => {}
        leaf => rows.push(vec![Cell::new(path), Cell::new(plain(leaf))]),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn generate(store: &Store, arguments: &ModelGenerateArgs) -> anyhow::Result<Exit> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).with_context(|| format!("cannot read the chat template {}", path.display()))
    };
    let options = GenerateOptions {
        prompt: arguments.prompt.clone(),
        system: arguments.system.clone(),
        adapter: arguments.adapter.clone(),
        chat_template: arguments.chat_template.as_ref().map(read).transpose()?,
        logits: arguments.logits,
        max_new_tokens: arguments.max_new_tokens.get(),
        temperature: arguments.temperature,
        seed: arguments.seed,
    };
    let streams = !arguments.json;
    let mut closed = None;
    let mut on_token = |text: &str| {
        if streams && closed.is_none() {
            closed = output::result(&sanitise::text(text)).err();
        }
    };
    let generation =
        models::generate(store, &arguments.reference, &options, &mut DownloadBars::new(), &mut on_token)?;
    if let Some(error) = closed {
        return Err(error.into());
    }
    if arguments.json {
        let mut document = json!({
            "model": arguments.reference,
            "prompt": arguments.prompt,
            "system": arguments.system,
            "prompt_token_ids": generation.prompt_token_ids,
            "token_ids": generation.token_ids,
            "text": generation.text,
        });
        if let Some(logits) = generation.logits {
            document["logits"] = json!(logits);
        }
        output::json(&document)?;
    } else {
        output::result("\n")?;
    }
    Ok(Exit::Done)
}

fn convert(store: &Store, arguments: &ModelConvertArgs) -> anyhow::Result<Exit> {
    let ModelConvertArgs { reference, adapter, out, json } = arguments;
    explaining_delay(reference, || {
        models::convert(store, reference, adapter.as_deref(), out, &mut DownloadBars::new())
    })?;
    output::message(&format!("saved {reference} to {}", out.display()));
    if *json {
        output::json(&json!({ "model": reference, "written": out }))?;
    }
    Ok(Exit::Done)
}

fn pull(arguments: &ModelPullArgs) -> anyhow::Result<Exit> {
    let mut bars = DownloadBars::new();
    let pulled = models::pull(&arguments.reference, &mut bars)?;
    if arguments.json {
        output::json(&pulled)?;
    } else {
        output::result(&format!("{}\n", sanitise::line(&pulled.path.display().to_string())))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_leaves() {
        let mut rows = Vec::new();
        let info = json!({"shape": {"hidden": 96}, "files": ["a", "b"], "parts": [{"n": 1}], "none": null});
        push_facts(&mut rows, "", &info);
        let lines: Vec<_> = rows.iter().map(|row| format!("{} {}", row[0].text, row[1].text)).collect();
        assert_eq!(lines, ["files a, b", "parts.0.n 1", "shape.hidden 96"]);
    }
}

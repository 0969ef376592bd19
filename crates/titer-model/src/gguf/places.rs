//! Where the weights of a decoder lie in a GGUF file: under llama.cpp's names, of several modules or experts in one
//! tensor.

use std::collections::{BTreeMap, BTreeSet};

use super::File;
use super::decoder::ROPE_TENSORS;
use crate::config::unsupported;
use crate::experts::of_expert;
use crate::family::{Mixture, inner};
use crate::lora::role;
use crate::{Config, Error, Experts, Family, Result};

/// The place of one weight.
#[derive(Debug)]
pub(super) struct Place {
    /// The tensor that holds it, alone or among others.
    pub(super) tensor: String,
    /// The first of its rows there, those of all experts counted.
    pub(super) first: usize,
    /// Its own shape.
    pub(super) shape: Vec<usize>,
}

/// Where each weight of the model lies in the file.
///
/// # Errors
/// When a tensor is missing, misshapen, or no weight of the model.
pub(super) fn places(file: &File, config: &Config) -> Result<BTreeMap<String, Place>> {
    let mut places = BTreeMap::new();
    let mut expected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let shapes = config.shapes();
    for (tensor, parts) in wholes(&shapes, config.family) {
        let mut next = 0;
        for part in parts {
            let shape = shapes[part].clone();
            let rows = shape.first().copied().unwrap_or(0);
            let (tensor, first) = match of_expert(part) {
                Some((_, expert)) => (tensor.clone(), expert * rows),
                None => (tensor.clone(), next),
            };
            next += rows;
            places.insert(part.to_owned(), Place { tensor, first, shape });
        }
    }
    for (name, place) in &places {
        let whole = expected.entry(place.tensor.clone()).or_default();
        match (whole.as_mut_slice(), of_expert(name)) {
            ([], Some(_)) => *whole = [&[1], &*place.shape].concat(),
            ([experts, ..], Some(_)) => *experts += 1,
            ([], None) if place.tensor.ends_with("_inp_shexp.weight") => whole.extend(place.shape.last()),
            ([], None) => whole.clone_from(&place.shape),
            ([rows, ..], None) => *rows += place.shape.first().copied().unwrap_or(0),
        }
    }
    for (name, shape) in &expected {
        let Some(info) = file.tensors().get(name) else {
            return Err(Error::Missing { name: name.clone(), shape: shape.clone() });
        };
        if info.shape != *shape {
            return Err(Error::Shape {
                name: name.clone(),
                expected: shape.clone(),
                got: info.shape.clone(),
            });
        }
    }
    let known: BTreeSet<&str> = expected.keys().map(String::as_str).chain(ROPE_TENSORS).collect();
    match file.tensors().keys().find(|name| !known.contains(name.as_str())) {
        Some(name) => Err(Error::Unexpected { name: name.clone() }),
        None => Ok(places),
    }
}

/// The weights that each tensor holds, in the order of their rows.
fn wholes<'a>(
    shapes: &'a BTreeMap<String, Vec<usize>>,
    family: &'static Family,
) -> BTreeMap<String, Vec<&'a str>> {
    let mut wholes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in shapes.keys() {
        wholes.entry(place(name, family)).or_default().push(name);
    }
    let rank = |name: &&str| {
        let inner = inner(name);
        let joined = family.gguf.iter().flat_map(|gguf| gguf.joined);
        let order = |parts: &[&str]| parts.iter().position(|part| *part == inner);
        joined.filter_map(|joined| order(joined.parts)).next()
    };
    wholes.values_mut().for_each(|parts| parts.sort_by_key(rank));
    wholes
}

/// The file's name of a weight, or of what holds it.
fn place(name: &str, family: &'static Family) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["model", "embed_tokens", kind] => format!("token_embd.{kind}"),
        ["model", "norm", kind] => format!("output_norm.{kind}"),
        ["lm_head", kind] => format!("output.{kind}"),
        ["model", "layers", layer, blocks @ .., part, kind] => {
            let block = blocks.last().copied().unwrap_or_default();
            let inner = format!("{block}.{part}");
            let mut joined = family.gguf.iter().flat_map(|gguf| gguf.joined);
            let of_mixture = |of: &Mixture| of.block == block && *part == "gate";
            let place = if let Some(joined) = joined.find(|joined| joined.parts.contains(&&*inner)) {
                joined.whole.to_owned()
            } else if family.mixture.as_ref().is_some_and(of_mixture) {
                "ffn_gate_inp".to_owned()
            } else if *part == "shared_expert_gate" {
                "ffn_gate_inp_shexp".to_owned()
            } else {
                let role = role(name).and_then(projection).map(str::to_owned);
                let norm =
                    || family.norms.iter().find(|norm| norm.name == *part).map(|norm| norm.gguf.to_owned());
                let usual = role.or_else(|| projection(part).map(str::to_owned)).or_else(norm);
                let end = match () {
                    () if of_expert(name).is_some() => "_exps",
                    () if block == "shared_expert" => "_shexp",
                    () => "",
                };
                format!("{}{end}", usual.unwrap_or_else(|| (*part).to_owned()))
            };
            format!("blk.{layer}.{place}.{kind}")
        }
        _ => name.to_owned(),
    }
}

/// What files call a module of a layer.
fn projection(module: &str) -> Option<&'static str> {
    Some(match module {
        "q_proj" => "attn_q",
        "k_proj" => "attn_k",
        "v_proj" => "attn_v",
        "o_proj" => "attn_output",
        "q_norm" => "attn_q_norm",
        "k_norm" => "attn_k_norm",
        "gate_proj" => "ffn_gate",
        "up_proj" => "ffn_up",
        "down_proj" => "ffn_down",
        _ => return None,
    })
}

/// The experts of a file of a family that has some, which a file of `layers` layers says of them.
///
/// # Errors
/// When a key is missing, or would change the numbers and is not read.
pub(super) fn experts(
    file: &File,
    key: &dyn Fn(&str) -> String,
    family: &Family,
    layers: usize,
) -> Result<Option<Experts>> {
    let Some(of) = &family.mixture else { return Ok(None) };
    let missing = |key: String| Error::Key { key, problem: "it is missing or no single number".to_owned() };
    let size = |name: &str| {
        file.u64(&key(name)).and_then(|size| usize::try_from(size).ok()).ok_or_else(|| missing(key(name)))
    };
    // Softmax over all experts, whose chosen ones are not scaled.
    if let Some(function) = file.u64(&key("expert_gating_func")).filter(|function| *function != 1) {
        return unsupported(&key("expert_gating_func"), function, "1 (softmax) is");
    }
    if let Some(scale) = file.f32(&key("expert_weights_scale")).filter(|scale| ![0.0, 1.0].contains(scale)) {
        return unsupported(&key("expert_weights_scale"), scale, "1 is");
    }
    let stated = file.bool(&key("expert_weights_norm"));
    let normalized = stated.or(family.gguf.as_ref().map(|gguf| gguf.normalized)).unwrap_or(true);
    let has = |layer: usize| file.tensors().contains_key(&format!("blk.{layer}.ffn_gate_inp.weight"));
    let dense_layers: Vec<usize> = (0..layers).filter(|layer| of.sparse && !has(*layer)).collect();
    let first = (0..layers).find(|layer| has(*layer)).unwrap_or(0);
    // Old files do not say how wide an expert is.
    let width = |name: &str, place: usize| {
        let name = format!("blk.{first}.{name}.weight");
        let found = file.tensors().get(&name).and_then(|info| info.shape.get(place).copied());
        found.ok_or(Error::Missing { name, shape: Vec::new() })
    };
    Ok(Some(Experts {
        count: size("expert_count")?,
        per_token: size("expert_used_count")?,
        width: width("ffn_gate_exps", 1)?,
        normalized,
        shared_width: of.shared_width.map(|_| width("ffn_gate_shexp", 0)).transpose()?,
        step: 1,
        dense_layers,
        clamp: of.clamp,
    }))
}

//! The border between the names that weights have here, which are those of Llama's modules, and the names and
//! tensors of a family's files: saved models, adapters, GGUF.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use crate::{Config, Result};

/// How files name and divide the weights of a family, where not as Llama's do.
#[derive(Debug, PartialEq)]
pub(crate) struct Naming {
    /// The module that holds all but the head.
    pub(crate) base: &'static str,
    /// Modules by their names here and there, without the base and the layer's number.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
    /// Modules whose rows files keep in one.
    pub(crate) joined: &'static [Joined],
    /// Ends of the names of tensors that are no weights.
    pub(crate) passed: &'static [&'static str],
}

/// Modules of a layer that files keep as one.
#[derive(Debug, PartialEq)]
pub(crate) struct Joined {
    /// Its name there.
    pub(crate) whole: &'static str,
    /// Their names here, in the order of their rows.
    pub(crate) parts: &'static [&'static str],
    /// Whether the rows of one head of each follow each other, and not all rows of each.
    pub(crate) by_head: bool,
}

/// As Llama's.
pub(crate) const PLAIN: Naming = Naming { base: "model", renamed: &[], joined: &[], passed: &[] };

impl Naming {
    /// Whether files have the names and modules that are used here.
    pub(crate) fn is_plain(&self) -> bool {
        self.renamed.is_empty() && self.joined.is_empty()
    }

    /// The name that files have for a module, such as `model.layers.0.self_attn.q_proj`: of one that is joined with
    /// others, the name of all.
    pub(crate) fn module(&self, module: &str) -> String {
        let renamed = |inner: &str| {
            let whole = self.whole(inner).map(|joined| joined.whole);
            let other = || self.renamed.iter().find(|(here, _)| *here == inner).map(|(_, there)| *there);
            whole.or_else(other).unwrap_or(inner).to_owned()
        };
        let base = self.base;
        let in_layer = module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
        match (in_layer, module.strip_prefix("model.")) {
            (Some((layer, inner)), _) => format!("{base}.layers.{layer}.{}", renamed(inner)),
            (None, Some(inner)) => format!("{base}.{}", renamed(inner)),
            (None, None) => renamed(module),
        }
    }

    /// The name that files have for a weight.
    pub(crate) fn weight(&self, name: &str) -> String {
        match name.rsplit_once('.') {
            Some((module, kind)) => format!("{}.{kind}", self.module(module)),
            None => name.to_owned(),
        }
    }

    /// What a module of a layer, such as `self_attn.q_proj`, is joined with.
    pub(crate) fn whole(&self, inner: &str) -> Option<&'static Joined> {
        self.joined.iter().find(|joined| joined.parts.contains(&inner))
    }

    /// The names of the weights that each tensor of a file holds, in the order of their rows.
    pub(crate) fn wholes<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
    ) -> BTreeMap<String, Vec<&'a str>> {
        let mut wholes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in names {
            wholes.entry(self.weight(name)).or_default().push(name);
        }
        let place = |name: &&str| {
            let inner = inner(name);
            self.whole(inner).and_then(|joined| joined.parts.iter().position(|part| *part == inner))
        };
        wholes.values_mut().for_each(|parts| parts.sort_by_key(place));
        wholes
    }
}

/// Of `model.layers.0.self_attn.q_proj.weight` what stands between layer and kind; empty outside of layers.
pub(crate) fn inner(name: &str) -> &str {
    let in_layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    in_layer.and_then(|(_, rest)| rest.rsplit_once('.')).map_or("", |(inner, _)| inner)
}

/// Where the rows of each part lie in the whole, if the parts have so many rows each and these are divided into
/// so many groups.
pub(crate) fn places(rows: &[usize], groups: usize) -> Vec<Vec<Range<usize>>> {
    let mut places = vec![Vec::new(); rows.len()];
    let mut next = 0;
    for _ in 0..groups {
        for (rows, places) in rows.iter().zip(&mut places) {
            places.push(next..next + rows / groups);
            next += rows / groups;
        }
    }
    places
}

impl Config {
    /// Name and shape of the tensor of a file that holds a weight.
    pub(crate) fn filed_shape(&self, name: &str) -> (String, Vec<usize>) {
        let (whole, shapes) = (self.family.naming.weight(name), self.shapes());
        let wholes = self.family.naming.wholes(shapes.keys());
        let parts = wholes.get(&whole).into_iter().flatten();
        let mut parts = parts.filter_map(|part| shapes.get(*part).cloned());
        let mut shape = parts.next().unwrap_or_default();
        if let Some(rows) = shape.first_mut() {
            *rows += parts.filter_map(|part| part.first().copied()).sum::<usize>();
        }
        (whole, shape)
    }

    /// How many groups the rows of a tensor of a file are divided into, by its name there.
    pub(crate) fn groups(&self, whole: &str) -> usize {
        let by_head = |joined: &Joined| {
            joined.by_head && whole.rsplit_once('.').is_some_and(|(module, _)| module.ends_with(joined.whole))
        };
        if self.family.naming.joined.iter().any(by_head) { self.num_attention_heads } else { 1 }
    }

    /// The tensors of a file that holds these weights, by their names there.
    pub(crate) fn filed(&self, mut weights: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        let names: Vec<String> = weights.keys().cloned().collect();
        let mut filed = BTreeMap::new();
        for (whole, parts) in self.family.naming.wholes(names.iter()) {
            let mut tensors: Vec<Tensor> = parts.iter().filter_map(|part| weights.remove(*part)).collect();
            let tensor = match tensors.len() {
                1 => tensors.remove(0),
                _ => joined(&tensors, self.groups(&whole))?,
            };
            filed.insert(whole, tensor);
        }
        for layer in 0..self.num_hidden_layers {
            if let Some((experts, of)) = self.mixture_of(layer).filter(|(_, of)| of.interleaved) {
                let block = format!("model.layers.{layer}.{}.experts", of.block);
                let [gate, up, down] = of.projections;
                for (fused, parts) in [("gate_up_proj", &[gate, up][..]), ("down_proj", &[down][..])] {
                    let mut taken = |kind: &str| {
                        let of_expert = |expert: usize| {
                            let name = |part: &&str| format!("{block}.{expert}.{part}.{kind}");
                            parts.iter().filter_map(|part| filed.remove(&name(part))).collect()
                        };
                        (0..experts.count).map(of_expert).collect::<Vec<Vec<Tensor>>>()
                    };
                    let (weights, biases) = (interleaved(&taken("weight"))?, interleaved(&taken("bias"))?);
                    filed.insert(format!("{block}.{fused}"), weights.transpose(1, 2)?.contiguous()?);
                    filed.insert(format!("{block}.{fused}_bias"), biases);
                }
            }
        }
        Ok(filed)
    }
}

/// Rows of several tensors in one, group by group.
pub(crate) fn joined(parts: &[Tensor], groups: usize) -> candle_core::Result<Tensor> {
    let mut pieces = Vec::with_capacity(groups * parts.len());
    for group in 0..groups {
        for part in parts {
            let rows = part.dim(0)? / groups;
            pieces.push(part.narrow(0, group * rows, rows)?);
        }
    }
    Tensor::cat(&pieces, 0)
}

/// The rows of several tensors in turns, for each expert one after the other.
fn interleaved(experts: &[Vec<Tensor>]) -> candle_core::Result<Tensor> {
    let of_one = |parts: &Vec<Tensor>| Tensor::stack(parts, 1)?.flatten(0, 1);
    Tensor::stack(&experts.iter().map(of_one).collect::<candle_core::Result<Vec<_>>>()?, 0)
}

//! Adapters of families whose files have other modules than Llama's: what PEFT calls and keeps as one.
//!
//! Queries, keys and values have an adapter each here, of rank r. Of a module that holds all three the same product is
//! one adapter of rank 3·r: the three A one below the other, the three B along the diagonal, zeros elsewhere. A part
//! without an adapter has zeros in A. The other way round, an adapter that was trained on the whole module is, for
//! each part, all of A and the part's rows of B.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde_json::{Map, Value, json};

use crate::config::unsupported;
use crate::family::{joined, places};
use crate::files::is_zero;
use crate::lora::{factors, role};
use crate::{Config, Error, LoraSpec, Result};

/// The keys of ranks and alphas that differ from `r` and `lora_alpha`.
pub(crate) const PATTERNS: [&str; 2] = ["rank_pattern", "alpha_pattern"];

impl Config {
    /// The projections that each module of a file holds, by its weight's name there.
    fn adaptable<'a>(&self, shapes: &'a BTreeMap<String, Vec<usize>>) -> BTreeMap<String, Vec<&'a str>> {
        self.family.naming.wholes(shapes.keys().filter(|name| role(name).is_some()))
    }
}

impl LoraSpec {
    /// What PEFT calls the modules that have adapters, and the patterns of ranks and alphas of those that hold several.
    pub(crate) fn modules(&self, config: &Config) -> (Vec<String>, [Map<String, Value>; 2]) {
        let (shapes, mut names, mut patterns) = (config.shapes(), Vec::new(), [Map::new(), Map::new()]);
        for (whole, parts) in config.adaptable(&shapes) {
            if !parts.iter().any(|part| self.adapts(part)) {
                continue;
            }
            let name = whole.rsplit('.').nth(1).unwrap_or_default().to_owned();
            if parts.len() > 1 {
                let times = parts.len();
                patterns[0].insert(name.clone(), json!(times * self.rank));
                patterns[1].insert(name.clone(), json!(times as f64 * self.alpha));
            }
            names.push(name);
        }
        names.sort();
        names.dedup();
        (names, patterns)
    }

    /// Whether the patterns of ranks and alphas that a configuration has are those of [`LoraSpec::modules`]; false where
    /// it has none.
    ///
    /// # Errors
    /// When others are there.
    pub(crate) fn patterned(&self, given: &[Map<String, Value>; 2], config: &Config) -> Result<bool> {
        if given.iter().all(Map::is_empty) {
            return Ok(false);
        }
        let (_, patterns) = self.modules(config);
        for ((key, given), own) in PATTERNS.into_iter().zip(given).zip(&patterns) {
            let number = |value: &Value| value.as_f64();
            let same = given.len() == own.len()
                && given.iter().all(|(name, value)| own.get(name).and_then(number) == number(value));
            if !same {
                return unsupported(key, json!(given), "one rank and one alpha for all modules are");
            }
        }
        Ok(true)
    }

    /// The adapters' tensors by the names and in the modules of a family's files.
    pub(crate) fn filed(
        &self,
        config: &Config,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>> {
        let (shapes, mut filed) = (config.shapes(), BTreeMap::new());
        for (whole, parts) in config.adaptable(&shapes) {
            let mut of_parts = parts.iter().map(|part| factors(part).map(|name| tensors.remove(&name)));
            let [a_name, b_name] = factors(&whole);
            if parts.len() == 1 {
                if let Some([Some(a), Some(b)]) = of_parts.next() {
                    filed.extend([(a_name, a), (b_name, b)]);
                }
                continue;
            }
            let of_parts: Vec<_> = of_parts.collect();
            let Some(like) = of_parts.iter().flatten().flatten().next().cloned() else { continue };
            let (mut below, mut diagonal) = (Vec::new(), Vec::new());
            for (index, (part, [a, b])) in parts.iter().zip(of_parts).enumerate() {
                let zeros =
                    |rows: usize, columns: usize| Tensor::zeros((rows, columns), like.dtype(), like.device());
                let (rows, columns) = (shapes[*part][0], shapes[*part][1]);
                below.push(a.map_or_else(|| zeros(self.rank, columns), Ok)?);
                let b = b.map_or_else(|| zeros(rows, self.rank), Ok)?;
                let after = parts.len() - 1 - index;
                diagonal.push(b.pad_with_zeros(1, index * self.rank, after * self.rank)?);
            }
            filed.insert(a_name, Tensor::cat(&below, 0)?);
            filed.insert(b_name, joined(&diagonal, config.groups(&whole))?);
        }
        Ok(filed)
    }

    /// The adapters of a family's files by the names of the projections here; `patterned` as [`LoraSpec::patterned`]
    /// says. What is no adapter of these modules stays as it is.
    ///
    /// # Errors
    /// When a tensor has another shape than its module, or patterned ranks are not of parts apart.
    pub(crate) fn unfiled(
        &mut self,
        config: &Config,
        patterned: bool,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>> {
        let (shapes, mut divided, mut idle) = (config.shapes(), Vec::new(), BTreeMap::new());
        for (whole, parts) in config.adaptable(&shapes) {
            let [a_name, b_name] = factors(&whole);
            let (Some(a), Some(b)) = (tensors.remove(&a_name), tensors.remove(&b_name)) else { continue };
            let names = parts.iter().map(|part| factors(part));
            if parts.len() == 1 {
                tensors.extend(names.flat_map(|[of_a, of_b]| [(of_a, a.clone()), (of_b, b.clone())]));
                continue;
            }
            let rank = if patterned { parts.len() * self.rank } else { self.rank };
            let rows: Vec<usize> = parts.iter().map(|part| shapes[*part][0]).collect();
            for (name, tensor, expected) in
                [(a_name, &a, vec![rank, shapes[parts[0]][1]]), (b_name, &b, vec![rows.iter().sum(), rank])]
            {
                if tensor.dims() != expected {
                    return Err(Error::Shape { name, expected, got: tensor.dims().to_vec() });
                }
            }
            let places = places(&rows, config.groups(&whole));
            for (index, ([of_a, of_b], places)) in names.zip(places).enumerate() {
                let pieces = places.into_iter().map(|rows| b.narrow(0, rows.start, rows.len()));
                let mut b = Tensor::cat(&pieces.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
                let mut a = a.clone();
                if patterned {
                    let of = |part: usize| b.narrow(1, part * self.rank, self.rank);
                    for other in (0..parts.len()).filter(|other| *other != index) {
                        if !is_zero(&of(other)?)? {
                            let remedy = "ranks that no two parts of a module share are";
                            return unsupported(PATTERNS[0], &whole, remedy);
                        }
                    }
                    (a, b) = (a.narrow(0, index * self.rank, self.rank)?, of(index)?.contiguous()?);
                }
                let zero = patterned && is_zero(&a)?;
                *idle.entry(role(parts[index])).or_insert(true) &= zero;
                divided.push((role(parts[index]), [(of_a, a.contiguous()?), (of_b, b)]));
            }
        }
        // Parts that are zero in every layer have no adapter.
        idle.retain(|_, zero| *zero);
        self.targets.retain(|target| !idle.contains_key(&Some(target.as_str())));
        let kept = divided.into_iter().filter(|(role, _)| !idle.contains_key(role));
        tensors.extend(kept.flat_map(|(_, factors)| factors));
        Ok(tensors)
    }
}

//! Adapters as PEFT saves them, and their folding into the weights as its `merge_and_unload` does: ranks and scales of
//! their own per module, DoRA (arXiv 2402.09353), modules that were trained and saved whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::config::{EMBEDDING, HEAD, unsupported};
use crate::divided::PATTERNS;
use crate::files::{is_zero, read_tensors, usable};
use crate::json::{Keys, object};
use crate::lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, factors};
use crate::{Decoder, Error, Result};

/// What can be trained, of what can be folded in.
const PLAIN: &str = "plain LoRA without it is: fold the adapter in (`titer model convert MODEL --adapter …`)";
/// Stands before every name in an adapter's file.
const PREFIX: &str = "base_model.model.";

/// What an adapter's configuration says.
#[derive(Debug)]
pub(crate) struct Peft {
    /// Rank where no pattern says another.
    pub(crate) rank: usize,
    alpha: f64,
    pub(crate) stabilised: bool,
    pub(crate) targets: Targets,
    ranks: Vec<(Pattern, f64)>,
    alphas: Vec<(Pattern, f64)>,
    /// Both as they are written.
    pub(crate) written: [Map<String, Value>; 2],
    dora: bool,
    /// Modules that are saved whole.
    saved: Vec<String>,
    /// Whether only some of the modules that the targets name are adapted.
    chosen: bool,
}

/// The modules that are adapted.
#[derive(Debug)]
pub(crate) enum Targets {
    /// All linear ones but the head.
    All,
    /// Those whose name is one of these, or ends with a dot and one.
    Named(Vec<String>),
    /// Those whose whole name is of this pattern.
    Pattern(String),
}

/// A key of `rank_pattern` or `alpha_pattern`: the end of a module's name, as a regular expression.
#[derive(Debug)]
struct Pattern(Regex);

impl Pattern {
    fn all(key: &str, patterns: Map<String, Value>) -> Result<Vec<(Self, f64)>> {
        let one = |(pattern, value): (String, Value)| match (
            Regex::new(&format!("^(?:.*\\.)?(?:{pattern})$")),
            value.as_f64(),
        ) {
            (Ok(regex), Some(value)) if value.is_finite() && value > 0.0 => Ok((Self(regex), value)),
            _ => unsupported(
                key,
                json!({ pattern: value }),
                "names or plain patterns with numbers above 0 are",
            ),
        };
        patterns.into_iter().map(one).collect()
    }
}

/// Whether a module's name is that name, or ends with a dot and it.
pub(crate) fn meets(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

impl Peft {
    /// Reads the configuration in an adapter's folder.
    ///
    /// # Errors
    /// Names the key that is more than what can be folded in.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(ADAPTER_CONFIG);
        let text =
            fs::read(&path).map_err(|source| Error::File { path: path.clone(), action: "read", source })?;
        let object = object(&text).map_err(|source| Error::Json { path: path.clone(), source })?;
        Self::from_json(object).map_err(|error| error.of_file(&path))
    }

    fn from_json(object: Map<String, Value>) -> Result<Self> {
        let mut keys = Keys(object);
        let kind: String = keys.required("peft_type")?;
        if kind != "LORA" {
            return unsupported("peft_type", kind, "LORA is");
        }
        // PEFT's values for absent keys.
        let (rank, alpha) = (keys.or("r", 8)?, keys.or("lora_alpha", 8.0)?);
        let targets = match keys.0.remove("target_modules") {
            Some(Value::String(all)) if all == "all-linear" => Targets::All,
            Some(Value::String(pattern)) => Targets::Pattern(pattern),
            Some(Value::Array(names)) => {
                let name = |name: Value| match name {
                    Value::String(name) => Ok(name),
                    other => unsupported("target_modules", other, "names such as q_proj are"),
                };
                Targets::Named(names.into_iter().map(name).collect::<Result<_>>()?)
            }
            other => return unsupported("target_modules", other.unwrap_or_default(), "a list of names is"),
        };
        if keys.or("bias", "none".to_owned())? != "none" {
            return unsupported("bias", "trained", "none is");
        }
        let initial = keys.0.remove("init_lora_weights").unwrap_or_default();
        let plain =
            [json!(true), json!(false), json!("gaussian"), json!("orthogonal"), json!("eva"), json!(null)];
        if !plain.contains(&initial) {
            return unsupported(
                "init_lora_weights",
                initial,
                "an initialisation that leaves the base as it is, is",
            );
        }
        let written =
            PATTERNS.map(|key| keys.0.get(key).and_then(Value::as_object).cloned().unwrap_or_default());
        let mut table = |key: &str| match keys.0.remove(key) {
            Some(Value::Object(table)) => Pattern::all(key, table),
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(other) => unsupported(key, other, "a table of names is"),
        };
        let (ranks, alphas) = (table(PATTERNS[0])?, table(PATTERNS[1])?);
        // What chooses among the targets has chosen: the file holds those that are adapted.
        let choices = ["layers_to_transform", "layers_pattern", "exclude_modules"];
        let chosen = choices.map(|key| keys.0.remove(key).is_some_and(|value| !neutral(&value)));
        let peft = Self {
            rank,
            alpha,
            stabilised: keys.or("use_rslora", false)?,
            targets,
            ranks,
            alphas,
            written,
            dora: keys.or("use_dora", false)?,
            saved: keys.or("modules_to_save", Vec::new())?,
            chosen: chosen.contains(&true),
        };
        // What says nothing of the mathematics. Dropout has no part in inference.
        const HARMLESS: [&str; 11] = [
            "auto_mapping",
            "base_model_name_or_path",
            "eva_config",
            "inference_mode",
            "lora_dropout",
            "megatron_core",
            "peft_version",
            "qalora_group_size",
            "revision",
            "task_type",
            "target_modules",
        ];
        let mut rest = keys.0.iter();
        if let Some((key, value)) =
            rest.find(|(key, value)| !HARMLESS.contains(&key.as_str()) && !neutral(value))
        {
            return unsupported(key, value, "LoRA without it is");
        }
        Ok(peft)
    }

    /// Refuses what is more than a pair of matrices in each adapted module.
    pub(crate) fn plain(&self) -> Result<()> {
        if self.dora {
            return unsupported("use_dora", true, PLAIN);
        }
        if let Some(module) = self.saved.first() {
            return unsupported("modules_to_save", module, PLAIN);
        }
        if self.chosen {
            return unsupported("layers_to_transform", "some of the targets", PLAIN);
        }
        Ok(())
    }

    /// Refuses ranks and scales that differ between modules.
    pub(crate) fn even(&self) -> Result<()> {
        match PATTERNS.into_iter().zip(&self.written).find(|(_, patterns)| !patterns.is_empty()) {
            Some((key, patterns)) => unsupported(key, format!("{} entries", patterns.len()), PLAIN),
            None => Ok(()),
        }
    }

    /// alpha, where it is divided by the rank. Rank-stabilised adapters (arXiv 2312.03732) divide by its root.
    pub(crate) fn alpha_over_rank(&self) -> f64 {
        if self.stabilised { self.alpha * (self.rank as f64).sqrt() } else { self.alpha }
    }

    /// By what the product of a module's matrices of that rank is multiplied.
    fn scale(&self, module: &str, rank: usize) -> f64 {
        let alpha = of(&self.alphas, module).unwrap_or(self.alpha);
        alpha / if self.stabilised { (rank as f64).sqrt() } else { rank as f64 }
    }

    /// Whether the configuration names this module among those that are adapted; none where it does not say.
    fn adapts(&self, module: &str) -> Option<bool> {
        match &self.targets {
            Targets::Named(names) => Some(names.iter().any(|name| meets(module, name))),
            Targets::All | Targets::Pattern(_) => None,
        }
    }

    fn saves(&self, module: &str) -> bool {
        self.saved.iter().any(|saved| meets(module, saved))
    }
}

/// A file of which no tensor is the adapter's.
pub(crate) fn strangers(path: &Path, first: &str, wanted: &str) -> Error {
    let problem = format!(
        "no tensor of it is this adapter's: {first} is there, {wanted} is wanted. Names with more in them were saved from \
         within a wrapper (torch.compile, DataParallel): save the adapter itself"
    );
    Error::Format { path: path.to_owned(), problem }
}

/// The value of the first pattern that a module's name is of.
fn of(patterns: &[(Pattern, f64)], module: &str) -> Option<f64> {
    patterns.iter().find(|(pattern, _)| pattern.0.is_match(module)).map(|(_, value)| *value)
}

/// The tensors of an adapter's folder, and the file that holds them.
pub(crate) fn adapter_tensors(folder: &Path) -> Result<(PathBuf, BTreeMap<String, Tensor>)> {
    let path = folder.join(ADAPTER_WEIGHTS);
    let pickled = folder.join("adapter_model.bin");
    if !path.exists() && pickled.exists() {
        let problem = "pickled weights are not read: save them as safetensors (save_pretrained)";
        return Err(Error::Format { path: pickled, problem: problem.to_owned() });
    }
    let tensors = read_tensors(&path, &Device::Cpu)?;
    if tensors.is_empty() {
        let problem = "holds no tensors: it was saved before it was trained, or by one process of many";
        return Err(Error::Format { path, problem: problem.to_owned() });
    }
    Ok((path, tensors))
}

/// What an adapter makes of one weight.
enum Change {
    /// Another weight in its place.
    Whole(Tensor),
    /// (alpha / rank)·B·A added; of DoRA each row then brought to a length of its own.
    Product { a: Tensor, b: Tensor, scale: f64, lengths: Option<Tensor> },
}

impl Change {
    fn of(self, weight: &Tensor) -> Result<Tensor> {
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.to_device(weight.device());
        let (a, b, scale, lengths) = match self {
            Self::Whole(whole) => return Ok(wide(&whole)?.to_dtype(weight.dtype())?),
            Self::Product { a, b, scale, lengths } => (a, b, scale, lengths),
        };
        let mut changed = (wide(weight)? + (wide(&b)?.matmul(&wide(&a)?)? * scale)?)?;
        if let Some(lengths) = lengths {
            let own = changed.sqr()?.sum_keepdim(1)?.sqrt()?;
            changed = changed.broadcast_mul(&(wide(&lengths)?.reshape(own.shape())? / own)?)?;
        }
        Ok(changed.to_dtype(weight.dtype())?)
    }
}

/// The changes of an adapter's file, by weight.
fn changes(peft: &Peft, mut tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Change>> {
    let mut changes = BTreeMap::new();
    let modules: BTreeSet<String> = tensors
        .keys()
        .filter_map(|name| Some(name.strip_prefix(PREFIX)?.strip_suffix(".lora_A.weight")?.to_owned()))
        .collect();
    for module in modules {
        let weight = format!("{module}.weight");
        let missing = |name: String| Error::Missing { name, shape: Vec::new() };
        let [a, b] = factors(&weight).map(|name| tensors.remove(&name).ok_or_else(|| missing(name)));
        let (a, b) = (a?, b?);
        let rank = a.dims().first().copied().unwrap_or_default();
        let expected = of(&peft.ranks, &module).unwrap_or(peft.rank as f64);
        if rank as f64 != expected || b.dims().last() != Some(&rank) || rank == 0 {
            let name = format!("{PREFIX}{module}.lora_A.weight");
            return Err(Error::Shape { name, expected: vec![expected as usize], got: vec![rank] });
        }
        if peft.adapts(&module) == Some(false) {
            return unsupported("target_modules", &module, "a file with the modules that it names is");
        }
        let length = format!("{PREFIX}{module}.lora_magnitude_vector");
        let lengths =
            [length.clone(), format!("{length}.weight")].iter().find_map(|name| tensors.remove(name));
        if lengths.is_some() != peft.dora {
            return Err(missing(length));
        }
        let scale = peft.scale(&module, rank);
        changes.insert(weight, Change::Product { a, b, scale, lengths });
    }
    for (name, tensor) in tensors {
        let weight = name.strip_prefix(PREFIX).filter(|weight| {
            let module = weight.strip_suffix(".weight").or_else(|| weight.strip_suffix(".bias"));
            module.is_some_and(|module| peft.saves(module))
        });
        let Some(weight) = weight else { return Err(Error::Unexpected { name }) };
        changes.insert(weight.to_owned(), Change::Whole(tensor));
    }
    Ok(changes)
}

impl Decoder {
    /// This model with an adapter folded into its weights that PEFT or [`Decoder::save_adapter`] saved: all of it
    /// trainable. An embedding or head that was saved whole unties the two, as in PEFT.
    ///
    /// # Errors
    /// Names the key that is not supported, and the tensor that is missing, fits no weight or is of another shape.
    pub fn fold_adapter(self, folder: &Path) -> Result<Self> {
        if self.adapter().is_some() {
            return Err(Error::Adapter { problem: "the model has one already: merge it first".to_owned() });
        }
        if !self.config().family.naming.is_plain() {
            // Modules that hold several projections are divided first, as where they are trained.
            let mut adapted = self;
            adapted.load_adapter(folder)?;
            return adapted.merge();
        }
        let peft = Peft::read(folder)?;
        let (path, tensors) = adapter_tensors(folder)?;
        if let Some(first) = tensors.keys().next()
            && !tensors.keys().any(|name| name.starts_with(PREFIX))
        {
            return Err(strangers(&path, first, &format!("{PREFIX}…lora_A.weight")));
        }
        let mut effect = peft.dora || !peft.saved.is_empty();
        for (name, tensor) in &tensors {
            usable(name, tensor, &Device::Cpu).map_err(|error| error.of_file(&path))?;
            effect |= name.ends_with("lora_B.weight") && !is_zero(tensor)?;
        }
        if !effect {
            tracing::warn!(
                "{}: every B is zero, so that this adapter changes nothing: it was not trained, or its weights were lost",
                path.display()
            );
        }
        let mut changes = changes(&peft, tensors).map_err(|error| error.of_file(&path))?;
        let (mut config, device) = (self.config().clone(), self.device().clone());
        let lost = config.shapes().into_iter().find(|(name, _)| {
            let named = name.strip_suffix(".weight").is_some_and(|module| {
                peft.adapts(module) == Some(true) && !peft.saves(module) && !peft.chosen
            });
            named && !changes.contains_key(name)
        });
        if let Some((weight, shape)) = lost {
            let [name, _] = factors(&weight);
            return Err(Error::Missing { name, shape: vec![peft.rank, shape[1]] }.of_file(&path));
        }
        let saved = |name: &str| matches!(changes.get(name), Some(Change::Whole(_)));
        config.tie_word_embeddings &= !(saved(EMBEDDING) || saved(HEAD));
        let untied = self.config().tie_word_embeddings && !config.tie_word_embeddings;
        let folded = Self::build(config, &device, |name, shape| {
            let from = if untied && name == HEAD { EMBEDDING } else { name };
            let missing = || Error::Missing { name: name.to_owned(), shape: shape.to_vec() };
            let weight = self.weight(from).ok_or_else(missing)?;
            let Some(change) = changes.remove(name) else { return Ok(weight) };
            let changed = change.of(&weight)?;
            if changed.dims() != shape {
                let got = changed.dims().to_vec();
                return Err(Error::Shape { name: name.to_owned(), expected: shape.to_vec(), got });
            }
            Ok(changed)
        })
        .map_err(|error| error.of_file(&path))?;
        match changes.into_keys().next() {
            Some(name) => Err(Error::Unexpected { name }.of_file(&path)),
            None => Ok(folded),
        }
    }
}

//! Low-rank adapters (LoRA, arXiv 2106.09685): y = x·Wᵀ + (alpha / rank)·(x·Aᵀ)·Bᵀ with W held fixed, in
//! the names and files of PEFT.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Tensor};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::{HEAD, unsupported};
use crate::family::usual_name;
use crate::files::{is_zero, usable, write_tensors};
use crate::peft::{Peft, Targets, adapter_tensors, meets, strangers};
use crate::{Config, Decoder, Error, Parameters, Result};

/// The file of an adapter's directory that holds its configuration.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The file of an adapter's directory that holds its weights.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// The projections of a layer, by the names that PEFT targets. Those of the MLP are also those of each
/// expert, whatever their family calls them; routers have no adapters.
pub const PROJECTIONS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Rank at most; beyond the width of the model a low rank is none.
const HIGHEST_RANK: usize = 1 << 14;

/// The type of the matrices beside which adapters are trained, as PyTorch's `torch_dtype` of the base model. Adapters, their
/// moments, norms, softmax and what flows between the projections are `f32` in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// As the model is loaded.
    #[default]
    F32,
    /// Half of the memory, and products of half precision.
    Bf16,
}

impl Base {
    /// The names as specs spell them.
    pub const NAMES: [&str; 2] = ["f32", "bf16"];

    /// As specs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => Self::NAMES[0],
            Self::Bf16 => Self::NAMES[1],
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// A weight that is held fixed.
    pub(crate) fn held(self, weight: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Bf16 if weight.rank() > 1 => weight.detach().to_dtype(DType::BF16),
            _ => Ok(weight.detach()),
        }
    }
}

/// Which projections are adapted, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraSpec {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// The adapter's product is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Some of [`PROJECTIONS`].
    pub targets: Vec<String>,
    /// The type of what they stand beside.
    #[serde(default)]
    pub base: Base,
}

impl LoraSpec {
    /// All projections of attention and MLP.
    pub fn everywhere(rank: usize, alpha: f64) -> Self {
        Self { rank, alpha, targets: PROJECTIONS.map(str::to_owned).to_vec(), base: Base::F32 }
    }

    /// alpha / rank.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Refuses what cannot be attached.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<()> {
        if self.rank == 0 || self.rank > HIGHEST_RANK {
            return unsupported("lora rank", self.rank, &format!("1 to {HIGHEST_RANK} is"));
        }
        if !self.alpha.is_finite() || self.alpha == 0.0 {
            return unsupported("lora alpha", self.alpha, "a finite number other than 0 is");
        }
        if self.targets.is_empty() {
            return unsupported("lora targets", "none", &format!("some of {} are", PROJECTIONS.join(", ")));
        }
        match self.targets.iter().find(|target| !PROJECTIONS.contains(&target.as_str())) {
            Some(target) => {
                unsupported("lora targets", target, &format!("some of {} are", PROJECTIONS.join(", ")))
            }
            None => Ok(()),
        }
    }

    /// Whether the weight of this name has an adapter.
    pub(crate) fn adapts(&self, weight: &str) -> bool {
        role(weight).is_some_and(|role| self.targets.iter().any(|target| target == role))
    }

    /// The names, as PEFT saves them, and shapes of A and B for each adapted weight.
    pub(crate) fn shapes(&self, config: &Config) -> BTreeMap<String, Vec<usize>> {
        let adapted = config.shapes().into_iter().filter(|(name, _)| self.adapts(name));
        adapted
            .flat_map(|(name, shape)| {
                let [a, b] = factors(&name);
                [(a, vec![self.rank, shape[1]]), (b, vec![shape[0], self.rank])]
            })
            .collect()
    }

    /// What can be trained here: one rank and scale for all, and nothing besides the two matrices. And whether ranks are
    /// those of modules that hold several projections (see [`LoraSpec::patterned`]).
    pub(crate) fn of_peft(peft: &Peft, config: &Config) -> Result<(Self, bool)> {
        peft.plain()?;
        let targets = match &peft.targets {
            Targets::All => PROJECTIONS.map(str::to_owned).to_vec(),
            Targets::Named(names) => targets(names, config)?,
            Targets::Pattern(pattern) => {
                return unsupported("target_modules", pattern, "a list of names is");
            }
        };
        let spec = Self { rank: peft.rank, alpha: peft.alpha_over_rank(), targets, base: Base::F32 };
        let divided = !config.family.naming.is_plain() && !peft.stabilised;
        let patterned = divided && spec.patterned(&peft.written, config)?;
        if !patterned {
            peft.even()?;
        }
        spec.check()?;
        Ok((spec, patterned))
    }

    fn to_json(&self, config: &Config) -> Value {
        let own = |target: &String| config.family.of_experts(target).unwrap_or(target).to_owned();
        let own = || self.targets.iter().map(own).collect();
        let (targets, [ranks, alphas]): (Vec<String>, _) = match config.family.naming.is_plain() {
            true => (own(), [Map::new(), Map::new()]),
            false => self.modules(config),
        };
        let mut keys = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": null,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "target_modules": targets,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "modules_to_save": null,
            "use_rslora": false,
            "use_dora": false,
        });
        if !ranks.is_empty() {
            keys["rank_pattern"] = Value::Object(ranks);
            keys["alpha_pattern"] = Value::Object(alphas);
        }
        keys
    }
}

/// The roles of the modules that PEFT would adapt: those whose name is one of `names`, or ends with a dot and one.
fn targets(names: &[String], config: &Config) -> Result<Vec<String>> {
    const KEY: &str = "target_modules";
    let mut weights: Vec<String> = config.shapes().into_keys().collect();
    weights.push(HEAD.to_owned());
    let naming = &config.family.naming;
    let modules = || {
        let named = |weight: &String| Some((naming.module(weight.strip_suffix(".weight")?), role(weight)));
        weights.iter().filter_map(named)
    };
    let mut targets = Vec::new();
    for name in names {
        let met: Vec<_> = modules().filter(|(module, _)| meets(module, name)).collect();
        // What PEFT calls the projections of other models has no part in this one.
        targets.extend(met.iter().filter_map(|(_, role)| *role).map(str::to_owned));
        if let Some((module, _)) = met.iter().find(|(_, role)| role.is_none()) {
            return unsupported(KEY, module, &format!("some of {} are", PROJECTIONS.join(", ")));
        }
    }
    targets.sort();
    targets.dedup();
    let adapted = |role: &str| targets.iter().any(|target| target == role);
    let named = |module: &str| names.iter().any(|name| meets(module, name));
    match modules().find(|(module, role)| role.is_some_and(adapted) && !named(module)) {
        Some((module, _)) => {
            unsupported(KEY, format!("all but {module}"), "a projection in every layer, or in none, is")
        }
        None => Ok(targets),
    }
}

/// Which of [`PROJECTIONS`] the weight of this name is, if it is one.
pub(crate) fn role(weight: &str) -> Option<&'static str> {
    let module = weight.strip_suffix(".weight")?.rsplit('.').next()?;
    usual_name(module).or_else(|| PROJECTIONS.into_iter().find(|projection| *projection == module))
}

/// The names of A and B for the weight of this name.
pub(crate) fn factors(weight: &str) -> [String; 2] {
    let module = weight.strip_suffix(".weight").unwrap_or(weight);
    ["A", "B"].map(|factor| format!("base_model.model.{module}.lora_{factor}.weight"))
}

impl Decoder {
    /// Holds the weights fixed and gives some projections fresh adapters, A uniform in ±1/√inputs and B
    /// zero as PEFT has them, in order of their names; [`Decoder::parameters`] are then the adapters'.
    ///
    /// # Errors
    /// When the specification cannot be, or the model has adapters already.
    pub fn attach(&mut self, spec: &LoraSpec, rng: &mut impl Rng) -> Result<()> {
        spec.check()?;
        let (dtype, device) = (self.dtype(), self.device().clone());
        let shapes = spec.shapes(self.config());
        let tensors = shapes.into_iter().map(|(name, shape)| {
            let count = shape.iter().product();
            let values: Vec<f32> = if name.ends_with("lora_A.weight") {
                let bound = 1.0 / (shape[1] as f32).sqrt();
                (0..count).map(|_| (2.0 * rng.random::<f32>() - 1.0) * bound).collect()
            } else {
                vec![0.0; count]
            };
            Ok((name, Tensor::from_vec(values, shape, &device)?.to_dtype(dtype)?))
        });
        let parameters = Parameters::from_tensors(tensors)?;
        self.hold(spec.base, Some(spec.clone()), parameters)
    }

    /// Folds the adapters into the weights: the same function as a plain model, all of it trainable.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn merge(self) -> Result<Self> {
        if self.adapter().is_none() {
            return Ok(self);
        }
        let (config, device) = (self.config().clone(), self.device().clone());
        Self::build(config, &device, |name, shape| {
            self.merged(name)?.ok_or_else(|| Error::Missing { name: name.to_owned(), shape: shape.to_vec() })
        })
    }

    /// The weight of this name with its adapter folded in, without gradient, in the type of adapters and norms; none where
    /// the model has no such weight.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn merged(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(weight) = self.weight(name) else { return Ok(None) };
        let Some(spec) = self.adapter().filter(|spec| spec.adapts(name)) else {
            return Ok(Some(weight.to_dtype(self.dtype())?));
        };
        let [a, b] =
            factors(name).map(|name| self.parameters().get(&name).map(|var| var.as_tensor().detach()));
        let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32);
        let product = (wide(&b)?.matmul(&wide(&a)?)? * spec.scale())?;
        Ok(Some((wide(&weight)? + product)?.to_dtype(self.dtype())?))
    }

    /// Saves the adapters, without the model, into an existing directory as PEFT does.
    ///
    /// # Errors
    /// When the model has none or a file cannot be written.
    pub fn save_adapter(&self, folder: &Path) -> Result<()> {
        self.save_adapter_config(&folder.join(ADAPTER_CONFIG))?;
        self.save_adapter_weights(&folder.join(ADAPTER_WEIGHTS))
    }

    /// Writes the file [`ADAPTER_CONFIG`] of an adapter's directory.
    ///
    /// # Errors
    /// When the model has no adapters or the file cannot be written.
    pub fn save_adapter_config(&self, path: &Path) -> Result<()> {
        let Some(spec) = self.adapter() else {
            return Err(Error::Adapter { problem: "the model has none to save".to_owned() });
        };
        let text = serde_json::to_vec_pretty(&spec.to_json(self.config()))
            .map_err(|source| Error::Json { path: path.to_owned(), source })?;
        fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), action: "write", source })
    }

    /// Writes the file [`ADAPTER_WEIGHTS`] of an adapter's directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_adapter_weights(&self, path: &Path) -> Result<()> {
        let parameters = self.parameters().iter();
        match self.adapter().filter(|_| !self.config().family.naming.is_plain()) {
            None => write_tensors(path, parameters.map(|(name, var)| (name, var.as_tensor()))),
            Some(spec) => {
                let tensors = parameters.map(|(name, var)| (name.to_owned(), var.as_tensor().clone()));
                let tensors = spec.filed(self.config(), tensors.collect())?;
                write_tensors(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))
            }
        }
    }

    /// Holds the weights fixed and gives the model the adapters that PEFT or [`Decoder::save_adapter`]
    /// saved.
    ///
    /// # Errors
    /// Names the key that is more than plain LoRA, and the tensor that is missing or does not fit.
    pub fn load_adapter(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(ADAPTER_CONFIG);
        let peft = Peft::read(folder)?;
        let (mut spec, patterned) =
            LoraSpec::of_peft(&peft, self.config()).map_err(|error| error.of_file(&path))?;
        let (path, mut tensors) = adapter_tensors(folder)?;
        if !self.config().family.naming.is_plain() {
            let unfiled = spec.unfiled(self.config(), patterned, tensors);
            tensors = unfiled.map_err(|error| error.of_file(&path))?;
        }
        let (dtype, device) = (self.dtype(), self.device().clone());
        let shapes = spec.shapes(self.config());
        refuse_strangers(&path, &shapes, &tensors)?;
        let mut changes = false;
        let found = shapes.into_iter().map(|(name, shape)| {
            let of_file = |error: Error| error.of_file(&path);
            let Some(tensor) = tensors.remove(&name) else {
                return Err(of_file(Error::Missing { name, shape }));
            };
            if tensor.dims() != shape {
                let got = tensor.dims().to_vec();
                return Err(of_file(Error::Shape { name, expected: shape, got }));
            }
            let tensor = usable(&name, &tensor, &device).map_err(of_file)?;
            changes |= name.ends_with("lora_B.weight") && !is_zero(&tensor)?;
            Ok((name, tensor.to_dtype(dtype)?))
        });
        let parameters = Parameters::from_tensors(found)?;
        if let Some(name) = tensors.into_keys().next() {
            return Err(Error::Unexpected { name }.of_file(&path));
        }
        if !changes {
            tracing::warn!(
                "{}: every B is zero, so that this adapter changes nothing: it was not trained, or its weights were lost",
                path.display()
            );
        }
        self.hold(spec.base, Some(spec), parameters)
    }
}

/// Refuses a file of which no tensor is the adapter's.
fn refuse_strangers(
    path: &Path,
    shapes: &BTreeMap<String, Vec<usize>>,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<()> {
    match (shapes.keys().next(), tensors.keys().next()) {
        (Some(wanted), Some(first)) if !shapes.keys().any(|name| tensors.contains_key(name)) => {
            Err(strangers(path, first, wanted))
        }
        _ => Ok(()),
    }
}

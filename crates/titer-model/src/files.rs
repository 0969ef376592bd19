//! Directories that Hugging Face Transformers loads (`config.json` and safetensors, whole or in shards),
//! and GGUF files.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::{EMBEDDING, FINAL_NORM, HEAD};
use crate::json::object;
use crate::{ADAPTER_CONFIG, Config, Decoder, Error, Result};

/// The file of a directory that holds the configuration.
pub const CONFIG: &str = "config.json";
/// The file of a directory that holds the weights.
pub const WEIGHTS: &str = "model.safetensors";
/// The file of a directory that says which shard holds which weights.
pub const INDEX: &str = "model.safetensors.index.json";

impl Decoder {
    /// Loads a directory ([`Decoder::load`]) or a GGUF file ([`Decoder::load_gguf`]), weights as `f32`.
    ///
    /// # Errors
    /// As those two.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        // Some programs keep GGUF files under names without the ending.
        if path.is_file() || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
        {
            Self::load_gguf(path, device)
        } else {
            Self::load(path, device)
        }
    }

    /// Loads the directory that [`Decoder::save`] or Transformers wrote, weights as `f32`. A head that the
    /// files hold goes before a configuration that says it is the embedding, as in Transformers 5.
    ///
    /// # Errors
    /// Names the file or tensor that is missing, torn or does not fit, and the key that is not supported.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let mut config = Config::of_folder(folder)?;
        let mut checkpoint = Checkpoint::open(folder)?;
        checkpoint.rename(&config)?;
        config.tie_word_embeddings &= !checkpoint.has_other_head()?;
        Self::from_checkpoint(config, checkpoint, folder, device)
    }

    /// From a directory's configuration and exactly the tensors that it asks for.
    pub(crate) fn from_checkpoint(
        config: Config,
        mut checkpoint: Checkpoint,
        folder: &Path,
        device: &Device,
    ) -> Result<Self> {
        checkpoint.fit(&config)?;
        let mut zeros = Zeros::of(&config);
        let model = Self::build(config, device, |name, _| {
            let (tensor, path) = checkpoint.read(name)?;
            let tensor = usable(name, &tensor, device).map_err(|error| error.of_file(&path))?;
            zeros.look_at(name, &tensor).map_err(|error| error.of_file(&path))?;
            Ok(tensor)
        })?;
        zeros.warn(folder);
        Ok(model)
    }

    /// Saves into an existing directory, adapters folded into the weights.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.save_config(&folder.join(CONFIG))?;
        self.save_weights(&folder.join(WEIGHTS))
    }

    /// Saves what a directory calls `config.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_config(&self, path: &Path) -> Result<()> {
        let path = path.to_owned();
        let config = serde_json::to_vec_pretty(self.config())
            .map_err(|source| Error::Json { path: path.clone(), source })?;
        fs::write(&path, config).map_err(|source| Error::File { path, action: "write", source })
    }

    /// Saves what a directory calls `model.safetensors`, adapters folded into the weights.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_weights(&self, path: &Path) -> Result<()> {
        let tensors = self
            .config()
            .shapes()
            .into_iter()
            .map(|(name, shape)| match self.merged(&name)? {
                Some(weight) => Ok((name, weight)),
                None => Err(Error::Missing { name, shape }),
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        let tensors = self.config().filed(tensors)?;
        write_tensors(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }
}

impl Config {
    /// Reads the `config.json` of a model's folder.
    ///
    /// # Errors
    /// When it is missing or no configuration; when the folder holds an adapter, alone or beside a model.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let (config, adapter) = (folder.join(CONFIG), folder.join(ADAPTER_CONFIG));
        if adapter.exists() {
            let problem = if config.exists() {
                "lies in one folder with a model, so that it cannot be told whether the model is meant with the adapter \
                 or without: move it to a folder of its own, and fold it in by `titer model convert MODEL --adapter \
                 ADAPTER --out NEW` where it is meant"
                    .to_owned()
            } else {
                let text = fs::read(&adapter).unwrap_or_default();
                let keys = object(&text).unwrap_or_default();
                let base = keys.get("base_model_name_or_path").and_then(serde_json::Value::as_str);
                format!(
                    "is an adapter without its model ({}): fold it in by `titer model convert MODEL --adapter {} --out \
                     NEW`",
                    base.unwrap_or("it does not say of which"),
                    folder.display()
                )
            };
            return Err(Error::Format { path: adapter, problem });
        }
        Self::read(&config)
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// Names the file, and the key that is missing or not supported.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read(path).map_err(|source| Error::File { path: path.to_owned(), action: "read", source })?;
        let object = object(&text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        Self::from_json(object).map_err(|error| error.of_file(path))
    }
}

/// A loaded tensor as `f32` in the wanted place, if all its numbers are finite.
pub(crate) fn usable(name: &str, tensor: &Tensor, device: &Device) -> Result<Tensor> {
    let refuse = |problem: String| Err(Error::Numbers { name: name.to_owned(), problem });
    if !tensor.dtype().is_float() {
        return refuse(format!("holds {:?}; weights are of a floating type", tensor.dtype()));
    }
    let wide = tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
    if let Some((place, value)) = first_not_finite(&wide) {
        return refuse(format!("holds {value} at place {place}: the file is damaged"));
    }
    Ok(wide.to_device(device)?)
}

/// Looks for weights that say nothing.
pub(crate) struct Zeros {
    /// What the logits rest on alone; a norm by 1 + w rests on its 1.
    needed: Vec<&'static str>,
    matrices: usize,
    zero: Vec<String>,
}

impl Zeros {
    /// Nothing seen yet.
    pub(crate) fn of(config: &Config) -> Self {
        let mut needed = vec![EMBEDDING, HEAD, FINAL_NORM];
        needed.retain(|name| !config.family.is_about_one(name));
        Self { needed, matrices: 0, zero: Vec::new() }
    }

    /// Takes note of a loaded weight.
    ///
    /// # Errors
    /// When it is zero throughout and the logits rest on it alone.
    pub(crate) fn look_at(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let needed = self.needed.contains(&name);
        if tensor.rank() < 2 && !needed {
            return Ok(());
        }
        self.matrices += 1;
        if !is_zero(tensor)? {
            return Ok(());
        }
        if needed {
            let problem = "is zero throughout, so that every prompt would get the same logits: the file was never filled";
            return Err(Error::Numbers { name: name.to_owned(), problem: problem.to_owned() });
        }
        self.zero.push(name.to_owned());
        Ok(())
    }

    /// Says which weights were zero throughout: pruned on purpose, or lost.
    pub(crate) fn warn(&self, path: &Path) {
        if let Some(first) = self.zero.first() {
            tracing::warn!(
                "{}: {} of {} weights are zero throughout, {first} first: pruned on purpose, or lost?",
                path.display(),
                self.zero.len(),
                self.matrices
            );
        }
    }
}

/// Whether every number is 0.
pub(crate) fn is_zero(tensor: &Tensor) -> Result<bool> {
    let numbers = tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = numbers.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else { return Ok(false) };
    let start = layout.start_offset();
    Ok(values[start..start + numbers.elem_count()].iter().all(|value| *value == 0.0))
}

fn first_not_finite(tensor: &Tensor) -> Option<(usize, f32)> {
    let (storage, _) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else { return None };
    let place = values.iter().position(|value| !value.is_finite())?;
    Some((place, values[place]))
}

/// Reads every tensor of a safetensors file, floating-point ones as `f32`.
///
/// # Errors
/// When the file cannot be read or is torn.
pub fn read_tensors(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let mut checkpoint = Checkpoint::open_file(path)?;
    let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
    names
        .into_iter()
        .map(|name| {
            let (tensor, _) = checkpoint.read(&name)?;
            let tensor = if tensor.dtype().is_float() { tensor.to_dtype(DType::F32)? } else { tensor };
            Ok((name, tensor.to_device(device)?))
        })
        .collect()
}

/// Writes tensors as a safetensors file.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    // Transformers refuses files that do not say which framework wrote them.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path)
        .map_err(|source| Error::Safetensors { path: path.to_owned(), source })
}

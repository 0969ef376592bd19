//! Directories that Hugging Face Transformers loads: `config.json` and `model.safetensors`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use crate::{Config, Decoder, Error, Result};

/// The file of a directory that holds the configuration.
pub const CONFIG: &str = "config.json";
/// The file of a directory that holds the weights.
pub const WEIGHTS: &str = "model.safetensors";

impl Decoder {
    /// Loads the directory that [`Decoder::save`] or Transformers wrote, weights as `f32`.
    ///
    /// # Errors
    /// Names the file or tensor that is missing, torn or does not fit.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join(CONFIG);
        let text =
            fs::read(&path).map_err(|source| Error::File { path: path.clone(), action: "read", source })?;
        let config: Config = serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?;
        Self::new(config, &read_tensors(&folder.join(WEIGHTS), device)?)
    }

    /// Saves into an existing directory.
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

    /// Saves what a directory calls `model.safetensors`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_weights(&self, path: &Path) -> Result<()> {
        write_tensors(path, self.parameters().iter().map(|(name, var)| (name, var.as_tensor())))
    }
}

/// Reads every tensor of a safetensors file, floating-point ones as `f32`.
///
/// # Errors
/// When the file cannot be read or is torn.
pub fn read_tensors(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let bytes =
        fs::read(path).map_err(|source| Error::File { path: path.to_owned(), action: "read", source })?;
    let views = SafeTensors::deserialize(&bytes)
        .map_err(|source| Error::Safetensors { path: path.to_owned(), source })?;
    views
        .iter()
        .map(|(name, view)| {
            let tensor = candle_core::safetensors::Load::load(&view, device)?;
            let tensor = if tensor.dtype().is_float() { tensor.to_dtype(DType::F32)? } else { tensor };
            Ok((name.to_owned(), tensor))
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

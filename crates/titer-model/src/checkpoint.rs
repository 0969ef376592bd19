//! Safetensors files, whole or in shards, read tensor by tensor.
//!
//! Plain reads, not a memory map: a file that is cut short while it is read is then an error and not a
//! signal that ends the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;

use crate::config::{EMBEDDING, HEAD};
use crate::files::{INDEX, WEIGHTS};
use crate::{Config, Error, Result};

/// Bytes of a header at most, as the safetensors library has it.
const LARGEST_HEADER: u64 = 100_000_000;

/// The tensors of a directory.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    files: Vec<OpenFile>,
    /// Which file holds the tensor, under which name, and where.
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: File,
    /// Where its data begin.
    data: u64,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    info: TensorInfo,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Of a directory: one file, or an index and its shards.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let (whole, index) = (folder.join(WEIGHTS), folder.join(INDEX));
        if whole.exists() || !index.exists() {
            let pickled = folder.join("pytorch_model.bin");
            if !whole.exists() && pickled.exists() {
                let problem = "pickled weights are not read: save them as safetensors (save_pretrained)";
                return Err(Error::Format { path: pickled, problem: problem.to_owned() });
            }
            return Self::open_file(&whole);
        }
        let text = std::fs::read(&index).map_err(|source| Error::File {
            path: index.clone(),
            action: "read",
            source,
        })?;
        let Index { weight_map } =
            serde_json::from_slice(&text).map_err(|source| Error::Json { path: index.clone(), source })?;
        let mut checkpoint = Self { files: Vec::new(), tensors: BTreeMap::new() };
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            let mut parts = Path::new(shard).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                let problem = format!("{shard:?} is no name of a file beside it");
                return Err(Error::Format { path: index, problem });
            }
            checkpoint.add(&folder.join(shard))?;
        }
        if let Some((name, shard)) =
            weight_map.iter().find(|(name, _)| !checkpoint.tensors.contains_key(*name))
        {
            let problem = format!("tensor {name} should be in {shard}, which does not hold it");
            return Err(Error::Format { path: index, problem });
        }
        Ok(checkpoint)
    }

    /// Of one file.
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        let mut checkpoint = Self { files: Vec::new(), tensors: BTreeMap::new() };
        checkpoint.add(path)?;
        Ok(checkpoint)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let failed = |source| Error::File { path: path.to_owned(), action: "read", source };
        let torn = |source| Error::Safetensors { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut size = [0; 8];
        if length < 8 {
            return Err(torn(SafeTensorError::HeaderTooSmall));
        }
        file.read_exact(&mut size).map_err(failed)?;
        let size = u64::from_le_bytes(size);
        if size > LARGEST_HEADER {
            return Err(torn(SafeTensorError::HeaderTooLarge));
        }
        if size > length - 8 {
            return Err(torn(SafeTensorError::InvalidHeaderLength));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| torn(SafeTensorError::InvalidHeaderDeserialization(error)))?;
        // Its deserialization has checked the offsets against the shapes and each other.
        if metadata.data_len() as u64 != length - 8 - size {
            return Err(torn(SafeTensorError::MetadataIncompleteBuffer));
        }
        for (name, info) in metadata.tensors() {
            let entry = Entry { file: self.files.len(), info: info.clone() };
            if let Some(first) = self.tensors.insert(name.clone(), entry) {
                let first = self.files.get(first.file).map_or(path, |file| &file.path);
                let problem = format!("tensor {name} is also in {}", first.display());
                return Err(Error::Format { path: path.to_owned(), problem });
            }
        }
        self.files.push(OpenFile { path: path.to_owned(), file, data: 8 + size });
        Ok(())
    }

    /// Names in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Takes a tensor out, with the file that it comes from; none where there is none of that name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<(Tensor, PathBuf)>> {
        if !self.tensors.contains_key(name) {
            return Ok(None);
        }
        let taken = self.read(name)?;
        self.tensors.remove(name);
        Ok(Some(taken))
    }

    /// Whether there is a head that is not the embedding.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn has_other_head(&mut self) -> Result<bool> {
        let names = [EMBEDDING, EMBEDDING.trim_start_matches("model.")];
        let Some(embedding) = names.into_iter().find(|name| self.tensors.contains_key(*name)) else {
            return Ok(false);
        };
        if !self.tensors.contains_key(HEAD) {
            return Ok(false);
        }
        let ((embedding, _), (head, _)) = (self.read(embedding)?, self.read(HEAD)?);
        if embedding.dims() != head.dims() {
            return Ok(true);
        }
        let different = embedding.to_dtype(DType::F32)?.ne(&head.to_dtype(DType::F32)?)?;
        Ok(different.max_all()?.to_scalar::<u8>()? != 0)
    }

    /// Leaves exactly the wanted tensors, under their wanted names.
    ///
    /// # Errors
    /// When one is missing, misshapen, or has no place in the model.
    pub(crate) fn fit(&mut self, config: &Config) -> Result<()> {
        let (shapes, tied) = (&config.shapes(), config.tie_word_embeddings);
        let first = self.files[0].path.clone();
        self.refuse_wrapped(shapes)?;
        self.divide_experts(config)?;
        let named = |name: &str| self.tensors.contains_key(name);
        if tied && !named(EMBEDDING) && !named(EMBEDDING.trim_start_matches("model.")) {
            // One of the two is saved; most savers leave out the head.
            if let Some(shared) = self.tensors.remove(HEAD) {
                self.tensors.insert(EMBEDDING.to_owned(), shared);
            }
        }
        let path_of = |files: &[OpenFile], entry: &Entry| files[entry.file].path.clone();
        for (name, entry) in std::mem::take(&mut self.tensors) {
            let path = path_of(&self.files, &entry);
            // Of a saved base model, without its head, names lack the prefix.
            let with_prefix = format!("model.{name}");
            let wanted = if shapes.contains_key(&name) { &name } else { &with_prefix };
            if let Some(expected) = shapes.get(wanted) {
                if entry.info.shape != *expected {
                    let (expected, got) = (expected.clone(), entry.info.shape);
                    return Err(Error::Shape { name, expected, got }.of_file(&path));
                }
                if self.tensors.insert(wanted.clone(), entry).is_some() {
                    let problem = format!("tensor {wanted} is there twice, with and without its prefix");
                    return Err(Error::Format { path, problem });
                }
            } else if !(name.ends_with("rotary_emb.inv_freq") || tied && name == HEAD) {
                return Err(Error::Unexpected { name }.of_file(&path));
            }
        }
        match shapes.iter().find(|(name, _)| !self.tensors.contains_key(*name)) {
            None => Ok(()),
            Some((name, _)) if name == HEAD => {
                let problem = format!(
                    "tensor {HEAD} is missing: a model whose head is its embedding says \"tie_word_embeddings\": true in \
                     its config.json"
                );
                Err(Error::Format { path: first, problem })
            }
            Some((name, shape)) => {
                Err(Error::Missing { name: name.clone(), shape: shape.clone() }.of_file(&first))
            }
        }
    }

    /// Refuses names that none of the model's are, with what would make them so.
    fn refuse_wrapped(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<()> {
        let Some((name, entry)) = self.tensors.iter().find(|(name, _)| unwrapped(name) != **name) else {
            return Ok(());
        };
        if !shapes.contains_key(&unwrapped(name)) {
            return Ok(());
        }
        let problem = format!(
            "tensor {name} was saved from within a wrapper (torch.compile, DataParallel, PEFT): save the model itself, \
             or rename it to {}",
            unwrapped(name)
        );
        Err(Error::Format { path: self.files[entry.file].path.clone(), problem })
    }

    /// Gives the experts of a layer that Transformers 5 keeps in two tensors their own names: the rows of each
    /// follow one another.
    fn divide_experts(&mut self, config: &Config) -> Result<()> {
        for layer in 0..config.num_hidden_layers {
            let Some((experts, mixture)) = config.mixture_of(layer) else { continue };
            let prefix = format!("model.layers.{layer}");
            let block = format!("{prefix}.{}", mixture.block);
            let [gate, up, down] = mixture.projections;
            for (fused, parts, rows, columns) in [
                ("gate_up_proj", &[gate, up][..], experts.width, config.hidden_size),
                ("down_proj", &[down][..], config.hidden_size, experts.width),
            ] {
                let name = format!("{prefix}.mlp.experts.{fused}");
                let Some(whole) = self.tensors.remove(&name) else { continue };
                let expected = vec![experts.count, parts.len() * rows, columns];
                if whole.info.shape != expected {
                    let path = &self.files[whole.file].path;
                    return Err(Error::Shape { name, expected, got: whole.info.shape }.of_file(path));
                }
                let pieces = experts.count * parts.len();
                let (start, end) = whole.info.data_offsets;
                let bytes = (end - start) / pieces;
                for piece in 0..pieces {
                    let (expert, part) = (piece / parts.len(), parts[piece % parts.len()]);
                    let at = start + piece * bytes;
                    let info = TensorInfo {
                        dtype: whole.info.dtype,
                        shape: vec![rows, columns],
                        data_offsets: (at, at + bytes),
                    };
                    let name = format!("{block}.experts.{expert}.{part}.weight");
                    self.tensors.insert(name, Entry { file: whole.file, info });
                }
                // Beside fused experts every family's router is the block `mlp`'s.
                if let Some(router) = self.tensors.remove(&format!("{prefix}.mlp.gate.weight")) {
                    self.tensors.insert(format!("{block}.gate.weight"), router);
                }
            }
        }
        Ok(())
    }

    /// One tensor, in memory, and the file that it comes from.
    pub(crate) fn read(&mut self, name: &str) -> Result<(Tensor, PathBuf)> {
        let Some(Entry { file, info }) = self.tensors.get(name) else {
            return Err(Error::Missing { name: name.to_owned(), shape: Vec::new() });
        };
        let OpenFile { path, file, data } = &mut self.files[*file];
        let dtype = DType::try_from(info.dtype).map_err(|_| {
            let problem = format!("is of type {:?}, which is not read: f32, f16 and bf16 are", info.dtype);
            Error::Numbers { name: name.to_owned(), problem }.of_file(path)
        })?;
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        file.seek(SeekFrom::Start(*data + start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| Error::File { path: path.clone(), action: "read", source })?;
        let tensor = Tensor::from_raw_buffer(&bytes, dtype, &info.shape, &Device::Cpu)?;
        Ok((tensor, path.clone()))
    }
}

/// A tensor's name without what wrappers add to those of the model that they hold.
fn unwrapped(name: &str) -> String {
    let within: Vec<&str> =
        name.split('.').filter(|part| !["_orig_mod", "module", "base_layer"].contains(part)).collect();
    let name = within.join(".");
    name.strip_prefix("language_model.")
        .or_else(|| name.strip_prefix("base_model.model."))
        .unwrap_or(&name)
        .to_owned()
}

//! Safetensors files, whole or in shards, read tensor by tensor.
//!
//! Plain reads, not a memory map: a file that is cut short while it is read is then an error and not a
//! signal that ends the process.

mod experts;
mod mxfp4;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

use crate::config::{EMBEDDING, HEAD};
use crate::family::places;
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
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where its bytes begin and end among the file's data, piece by piece.
    pieces: Vec<(usize, usize)>,
    /// Where these bytes are a matrix or vector that holds others too.
    within: Option<Within>,
}

/// Which rows of what lies in the file a tensor is.
#[derive(Debug)]
struct Within {
    /// Its shape there.
    shape: Vec<usize>,
    /// Whether rows here are columns there.
    transposed: bool,
    /// The first row, and how many come between two of them.
    first: usize,
    step: usize,
    /// Where the scales of its blocks lie, if they are of mxfp4: file, begin and end.
    scales: Option<(usize, (usize, usize))>,
}

impl Entry {
    /// Some of its rows.
    fn rows(&self, ranges: &[Range<usize>]) -> Self {
        let (start, end) = self.pieces.first().copied().unwrap_or_default();
        let row = (end - start) / self.shape[0].max(1);
        let pieces = ranges.iter().map(|rows| (start + rows.start * row, start + rows.end * row));
        let mut shape = self.shape.clone();
        shape[0] = ranges.iter().map(Range::len).sum();
        Self { file: self.file, dtype: self.dtype, shape, pieces: pieces.collect(), within: None }
    }
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
        if weight_map.is_empty() {
            return Err(Error::Format { path: index, problem: "it names no tensor".to_owned() });
        }
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
            let entry = Entry {
                file: self.files.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                pieces: vec![info.data_offsets],
                within: None,
            };
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

    /// Gives the tensors of a family whose files have other names than Llama's these names, and the modules that
    /// it keeps as one their own tensors.
    ///
    /// # Errors
    /// When a tensor of several modules has not the rows of all, or a weight is there twice.
    pub(crate) fn rename(&mut self, config: &Config) -> Result<()> {
        let (naming, shapes) = (&config.family.naming, config.shapes());
        if naming.is_plain() {
            return Ok(());
        }
        let wholes = naming.wholes(shapes.keys());
        for (name, entry) in std::mem::take(&mut self.tensors) {
            // Of a saved base model, without its head, names lack the prefix.
            let with_base = format!("{}.{name}", naming.base);
            let found = wholes.get_key_value(&name).or_else(|| wholes.get_key_value(&with_base));
            let path = self.files[entry.file].path.clone();
            let (whole, parts) = match found {
                Some((whole, parts)) => (whole, &parts[..]),
                None if naming.passed.iter().any(|end| name.ends_with(&format!(".{end}"))) => continue,
                None => (&name, &[&*name][..]),
            };
            let entries = if let [_] = parts {
                vec![entry]
            } else {
                let rows: Vec<usize> = parts.iter().map(|part| shapes[*part][0]).collect();
                let mut expected = shapes[parts[0]].clone();
                expected[0] = rows.iter().sum();
                if entry.shape != expected {
                    return Err(Error::Shape { name, expected, got: entry.shape }.of_file(&path));
                }
                places(&rows, config.groups(whole)).iter().map(|places| entry.rows(places)).collect()
            };
            for (part, entry) in parts.iter().zip(entries) {
                if self.tensors.insert((*part).to_owned(), entry).is_some() {
                    let problem = format!("tensor {} is there twice, under two names", naming.weight(part));
                    return Err(Error::Format { path, problem });
                }
            }
        }
        Ok(())
    }

    /// Leaves exactly the wanted tensors, under their wanted names.
    ///
    /// # Errors
    /// When one is missing, misshapen, or has no place in the model.
    pub(crate) fn fit(&mut self, config: &Config) -> Result<()> {
        let (shapes, tied) = (&config.shapes(), config.tie_word_embeddings);
        let first = self.files[0].path.clone();
        self.refuse_wrapped(&config.family.naming.wholes(shapes.keys()))?;
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
                if entry.shape != *expected {
                    let (expected, got) = (expected.clone(), entry.shape);
                    let name = if &name == wanted { config.family.naming.weight(&name) } else { name };
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
                    "tensor {} is missing: a model whose head is its embedding says \"tie_word_embeddings\": true in \
                     its config.json",
                    config.family.naming.weight(HEAD)
                );
                Err(Error::Format { path: first, problem })
            }
            Some((name, _)) => {
                let (name, shape) = config.filed_shape(name);
                Err(Error::Missing { name, shape }.of_file(&first))
            }
        }
    }

    /// Refuses names that none of the model's are, with what would make them so.
    fn refuse_wrapped(&self, names: &BTreeMap<String, Vec<&str>>) -> Result<()> {
        let Some((name, entry)) = self.tensors.iter().find(|(name, _)| unwrapped(name) != **name) else {
            return Ok(());
        };
        if !names.contains_key(&unwrapped(name)) {
            return Ok(());
        }
        let problem = format!(
            "tensor {name} was saved from within a wrapper (torch.compile, DataParallel, PEFT): save the model itself, \
             or rename it to {}",
            unwrapped(name)
        );
        Err(Error::Format { path: self.files[entry.file].path.clone(), problem })
    }

    /// One tensor, in memory, and the file that it comes from.
    pub(crate) fn read(&mut self, name: &str) -> Result<(Tensor, PathBuf)> {
        let Some(Entry { file, dtype, shape, pieces, within }) = self.tensors.get(name) else {
            return Err(Error::Missing { name: name.to_owned(), shape: Vec::new() });
        };
        let bytes = read(&mut self.files[*file], pieces)?;
        let path = self.files[*file].path.clone();
        let stored = within.as_ref().map_or(shape, |within| &within.shape);
        let tensor = if let Some((file, place)) = within.as_ref().and_then(|within| within.scales) {
            let scales = read(&mut self.files[file], &[place])?;
            Tensor::from_vec(mxfp4::numbers(&bytes, &scales), stored.as_slice(), &Device::Cpu)?
        } else {
            let dtype = DType::try_from(*dtype).map_err(|_| {
                let problem = format!("is of type {dtype:?}, which is not read: f32, f16 and bf16 are");
                Error::Numbers { name: name.to_owned(), problem }.of_file(&path)
            })?;
            Tensor::from_raw_buffer(&bytes, dtype, stored, &Device::Cpu)?
        };
        let Some(Within { transposed, first, step, .. }) = within else { return Ok((tensor, path)) };
        let tensor = if *transposed { tensor.t()? } else { tensor };
        let rows: Vec<u32> = (*first..tensor.dim(0)?).step_by(*step).map(|row| row as u32).collect();
        let rows = Tensor::from_vec(rows, shape[0], &Device::Cpu)?;
        Ok((tensor.contiguous()?.index_select(&rows, 0)?, path))
    }
}

/// The bytes of these places, one after the other.
fn read(OpenFile { path, file, data }: &mut OpenFile, pieces: &[(usize, usize)]) -> Result<Vec<u8>> {
    let mut bytes = vec![0; pieces.iter().map(|(start, end)| end - start).sum()];
    let mut left = &mut bytes[..];
    for (start, end) in pieces {
        let (piece, rest) = left.split_at_mut(end - start);
        file.seek(SeekFrom::Start(*data + *start as u64))
            .and_then(|_| file.read_exact(piece))
            .map_err(|source| Error::File { path: path.clone(), action: "read", source })?;
        left = rest;
    }
    Ok(bytes)
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

//! GGUF files, versions 2 and 3: metadata and tensors
//! (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! The header is read with every count and length checked against the size of the file before anything
//! is allocated from it.

mod decoder;
mod reader;
mod value;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, ggml_file::qtensor_from_ggml};
use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};
use reader::Reader;
pub use value::{Array, Value};

/// Where data begin when the file does not say otherwise: at a multiple of it.
const ALIGNMENT: u64 = 32;
/// Dimensions of a tensor at most.
const MOST_DIMENSIONS: u32 = 4;

/// An open GGUF file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: fs::File,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Info>,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Sizes, the slowest first, as in a safetensors file.
    pub shape: Vec<usize>,
    /// Name of the type of its numbers, such as `Q4_K`.
    pub kind: &'static str,
    dtype: GgmlDType,
    start: u64,
    bytes: usize,
}

impl File {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// Names the file and what in it is torn, contradicts its size, or is not supported.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::File { path: path.to_owned(), action: "read", source };
        let file = fs::File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let (metadata, tensors) = header(&mut Reader::new(&file, size), size)
            .map_err(|problem| Error::Format { path: path.to_owned(), problem })?;
        Ok(Self { path: path.to_owned(), file, metadata, tensors })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All metadata, by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> &BTreeMap<String, Info> {
        &self.tensors
    }

    /// A text; `None` when the key is absent or holds something else.
    pub fn string(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole number that fits.
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.u64(key)?.try_into().ok()
    }

    /// A whole number of at least 0.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Unsigned(number)) => Some(*number),
            Some(Value::Signed(number)) => (*number).try_into().ok(),
            _ => None,
        }
    }

    /// A floating-point number.
    pub fn f32(&self, key: &str) -> Option<f32> {
        match self.metadata.get(key) {
            Some(Value::Float(number)) => Some(*number as f32),
            _ => None,
        }
    }

    /// True or false.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// An array of texts.
    pub fn strings(&self, key: &str) -> Option<&[String]> {
        match self.metadata.get(key) {
            Some(Value::Array(Array::Strings(texts))) => Some(texts),
            _ => None,
        }
    }

    /// An array of whole numbers that fit.
    pub fn i32s(&self, key: &str) -> Option<Vec<i32>> {
        match self.metadata.get(key) {
            Some(Value::Array(Array::Signed(numbers))) => {
                numbers.iter().map(|number| (*number).try_into().ok()).collect()
            }
            Some(Value::Array(Array::Unsigned(numbers))) => {
                numbers.iter().map(|number| (*number).try_into().ok()).collect()
            }
            _ => None,
        }
    }

    /// An array of floating-point numbers.
    pub fn f32s(&self, key: &str) -> Option<Vec<f32>> {
        match self.metadata.get(key) {
            Some(Value::Array(Array::Floats(numbers))) => {
                Some(numbers.iter().map(|number| *number as f32).collect())
            }
            _ => None,
        }
    }

    /// A tensor on the CPU, its numbers as `f32`.
    ///
    /// # Errors
    /// When there is no such tensor or its data cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let Some(info) = self.tensors.get(name) else {
            let missing = Error::Missing { name: name.to_owned(), shape: Vec::new() };
            return Err(missing.of_file(&self.path));
        };
        let mut bytes = vec![0; info.bytes];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(info.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| Error::File { path: self.path.clone(), action: "read", source })?;
        let plain = match info.dtype {
            GgmlDType::F32 => Some(DType::F32),
            GgmlDType::F16 => Some(DType::F16),
            GgmlDType::BF16 => Some(DType::BF16),
            _ => None,
        };
        Ok(match plain {
            Some(dtype) => {
                Tensor::from_raw_buffer(&bytes, dtype, &info.shape, &Device::Cpu)?.to_dtype(DType::F32)?
            }
            None => qtensor_from_ggml(info.dtype, &bytes, info.shape.clone(), &Device::Cpu)?
                .dequantize(&Device::Cpu)?,
        })
    }
}

type Header = (BTreeMap<String, Value>, BTreeMap<String, Info>);

fn header(reader: &mut Reader<&fs::File>, size: u64) -> Result<Header, String> {
    if reader.bytes::<4>()? != *b"GGUF" {
        return Err("not a GGUF file".to_owned());
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("GGUF of version {version}: 2 and 3 are supported"));
    }
    let tensor_count = reader.u64()?;
    let pair_count = reader.u64()?;
    // A name's length, dimensions, type and offset; a key's length, type and one byte.
    reader.room(tensor_count, 8 + 4 + 4 + 8, "tensors")?;
    reader.room(pair_count, 8 + 4 + 1, "metadata")?;
    let mut metadata = BTreeMap::new();
    for _ in 0..pair_count {
        let key = reader.string()?;
        let value = reader.value().map_err(|problem| format!("metadata {key}: {problem}"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("metadata {key} is there twice"));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => ALIGNMENT,
        Some(Value::Unsigned(alignment)) if alignment.is_power_of_two() && *alignment <= 1 << 20 => {
            *alignment
        }
        Some(other) => return Err(format!("general.alignment is {other:?}, not a power of two up to 2^20")),
    };
    let mut tensors = BTreeMap::new();
    for _ in 0..tensor_count {
        let name = reader.string()?;
        let info = info(reader).map_err(|problem| format!("tensor {name}: {problem}"))?;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(format!("tensor {name} is there twice"));
        }
    }
    let data = reader.position().next_multiple_of(alignment);
    for (name, info) in &mut tensors {
        if !info.start.is_multiple_of(alignment) {
            return Err(format!("tensor {name}: its offset {} is no multiple of {alignment}", info.start));
        }
        let start = data.checked_add(info.start);
        let end = start.and_then(|start| start.checked_add(info.bytes as u64));
        match (start, end) {
            (Some(start), Some(end)) if end <= size => info.start = start,
            _ => {
                return Err(format!(
                    "tensor {name}: its data lie beyond the end of the file, which is cut short"
                ));
            }
        }
    }
    Ok((metadata, tensors))
}

/// What the header says of one tensor; `start` counts from the beginning of the data.
fn info(reader: &mut Reader<&fs::File>) -> Result<Info, String> {
    let dimensions = reader.u32()?;
    if dimensions == 0 || dimensions > MOST_DIMENSIONS {
        return Err(format!("{dimensions} dimensions: 1 to {MOST_DIMENSIONS} are possible"));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = usize::try_from(reader.u64()?).map_err(|_| "a size that does not fit".to_owned())?;
        shape.insert(0, size);
    }
    let (kind, dtype) = kind(reader.u32()?)?;
    let start = reader.u64()?;
    let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let row = shape.last().copied().unwrap_or(0);
    if !row.is_multiple_of(dtype.block_size()) {
        return Err(format!("rows of {row} numbers are no whole blocks of {kind}"));
    }
    let bytes = count.and_then(|count| (count / dtype.block_size()).checked_mul(dtype.type_size()));
    let bytes = bytes.ok_or_else(|| format!("shape {shape:?} overflows"))?;
    Ok(Info { shape, kind, dtype, start, bytes })
}

/// The types that are read, of those that ggml numbers.
fn kind(number: u32) -> Result<(&'static str, GgmlDType), String> {
    Ok(match number {
        0 => ("F32", GgmlDType::F32),
        1 => ("F16", GgmlDType::F16),
        2 => ("Q4_0", GgmlDType::Q4_0),
        3 => ("Q4_1", GgmlDType::Q4_1),
        6 => ("Q5_0", GgmlDType::Q5_0),
        7 => ("Q5_1", GgmlDType::Q5_1),
        8 => ("Q8_0", GgmlDType::Q8_0),
        10 => ("Q2_K", GgmlDType::Q2K),
        11 => ("Q3_K", GgmlDType::Q3K),
        12 => ("Q4_K", GgmlDType::Q4K),
        13 => ("Q5_K", GgmlDType::Q5K),
        14 => ("Q6_K", GgmlDType::Q6K),
        30 => ("BF16", GgmlDType::BF16),
        other => {
            const OTHERS: [(u32, &str); 17] = [
                (9, "Q8_1"),
                (15, "Q8_K"),
                (16, "IQ2_XXS"),
                (17, "IQ2_XS"),
                (18, "IQ3_XXS"),
                (19, "IQ1_S"),
                (20, "IQ4_NL"),
                (21, "IQ3_S"),
                (22, "IQ2_S"),
                (23, "IQ4_XS"),
                (24, "I8"),
                (25, "I16"),
                (26, "I32"),
                (27, "I64"),
                (28, "F64"),
                (29, "IQ1_M"),
                (34, "TQ1_0"),
            ];
            let name = OTHERS.iter().find(|(number, _)| *number == other).map_or("unknown", |(_, name)| name);
            return Err(format!(
                "numbers of type {name} ({other}) are not read: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and \
                 Q2_K to Q6_K are"
            ));
        }
    })
}

//! GGUF files, versions 2 and 3: metadata and tensors
//! (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! Candle reads the header and holds its counts and lengths against the size of the file. What it lets pass
//! is checked here: names that are there twice, alignments, offsets, and sizes that overflow.

mod decoder;
mod places;
mod window;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, DEFAULT_ALIGNMENT, TensorInfo, Value};
use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// The key of the multiple at which data begin.
const ALIGNMENT: &str = "general.alignment";

/// An open GGUF file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: fs::File,
    /// Where data begin.
    data: u64,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Info>,
}

/// One tensor of a file.
#[derive(Debug)]
pub struct Info {
    /// Sizes, the slowest first, as in a safetensors file.
    pub shape: Vec<usize>,
    /// Name of the type of its numbers, such as `Q4_K`.
    pub kind: &'static str,
    of: TensorInfo,
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
        let read = || {
            let content = content(&file)?;
            let data = content.tensor_data_offset;
            let metadata: BTreeMap<_, _> = content.metadata.into_iter().collect();
            let alignment = alignment(&metadata)?;
            let info = |(name, of)| match info(of, size.saturating_sub(data), alignment) {
                Ok(info) => Ok((name, info)),
                Err(problem) => Err(format!("tensor {name}: {problem}")),
            };
            let tensors = content.tensor_infos.into_iter().map(info).collect::<Result<_, _>>()?;
            Ok((data, metadata, tensors))
        };
        let (data, metadata, tensors) =
            read().map_err(|problem| Error::Format { path: path.to_owned(), problem })?;
        Ok(Self { path: path.to_owned(), file, data, metadata, tensors })
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
        text(self.metadata.get(key)?)
    }

    /// A whole number that fits.
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.u64(key)?.try_into().ok()
    }

    /// A whole number of at least 0.
    pub fn u64(&self, key: &str) -> Option<u64> {
        whole(self.metadata.get(key)?)?.try_into().ok()
    }

    /// A floating-point number.
    pub fn f32(&self, key: &str) -> Option<f32> {
        float(self.metadata.get(key)?)
    }

    /// True or false.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.metadata.get(key)?.to_bool().ok()
    }

    /// An array of texts.
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        self.array(key)?.iter().map(|value| text(value).map(str::to_owned)).collect()
    }

    /// An array of whole numbers that fit.
    pub fn i32s(&self, key: &str) -> Option<Vec<i32>> {
        self.array(key)?.iter().map(|value| whole(value)?.try_into().ok()).collect()
    }

    /// An array of truths.
    pub fn bools(&self, key: &str) -> Option<Vec<bool>> {
        self.array(key)?.iter().map(|value| value.to_bool().ok()).collect()
    }

    /// An array of floating-point numbers.
    pub fn f32s(&self, key: &str) -> Option<Vec<f32>> {
        self.array(key)?.iter().map(float).collect()
    }

    fn array(&self, key: &str) -> Option<&[Value]> {
        match self.metadata.get(key)? {
            Value::Array(values) => Some(values),
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
        self.part(name, 0, &info.shape)
    }

    /// Some rows of a tensor of that many numbers at least, or some numbers of a vector.
    ///
    /// # Errors
    /// As [`File::tensor`].
    fn part(&self, name: &str, first: usize, shape: &[usize]) -> Result<Tensor> {
        let Some(info) = self.tensors.get(name) else {
            return Err(Error::Missing { name: name.to_owned(), shape: shape.to_vec() }.of_file(&self.path));
        };
        let TensorInfo { ggml_dtype, offset, .. } = info.of;
        let row = info.shape.last().copied().unwrap_or(1);
        let before = if shape.len() == 1 { first } else { first * row };
        let bytes = before / ggml_dtype.block_size() * ggml_dtype.type_size();
        let of = TensorInfo { ggml_dtype, shape: shape.into(), offset: offset + bytes as u64 };
        let blocks = of.read(&mut &self.file, self.data, &Device::Cpu);
        let numbers = blocks.and_then(|blocks| blocks.dequantize(&Device::Cpu));
        numbers.map_err(|error| Error::Tensor(error).of_file(&self.path))
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    Some(match *value {
        Value::U8(number) => number.into(),
        Value::I8(number) => number.into(),
        Value::U16(number) => number.into(),
        Value::I16(number) => number.into(),
        Value::U32(number) => number.into(),
        Value::I32(number) => number.into(),
        Value::U64(number) => number.into(),
        Value::I64(number) => number.into(),
        _ => return None,
    })
}

fn float(value: &Value) -> Option<f32> {
    match *value {
        Value::F32(number) => Some(number),
        Value::F64(number) => Some(number as f32),
        _ => None,
    }
}

/// The header as candle reads it.
fn content(file: &fs::File) -> Result<Content, String> {
    let mut reader = Checked { inner: BufReader::new(file), until_alignment: None };
    let mut start = [0; 24];
    reader.inner.read_exact(&mut start).map_err(|_| "a GGUF file has at least 24 bytes".to_owned())?;
    let [magic, version, words @ ..] = start.as_chunks::<4>().0 else { return Err(String::new()) };
    if magic != b"GGUF" {
        return Err("not a GGUF file".to_owned());
    }
    let version = u32::from_le_bytes(*version);
    if !(2..=3).contains(&version) {
        return Err(format!("GGUF of version {version}: 2 and 3 are supported"));
    }
    let content = reader.rewind().map_err(candle_core::Error::from).and_then(|()| Content::read(&mut reader));
    let content = content.map_err(|error| problem(&error.to_string()))?;
    let counted = [("tensor", content.tensor_infos.len()), ("key of metadata", content.metadata.len())];
    for ((what, distinct), count) in counted.into_iter().zip(words.chunks(2)) {
        if count.concat() != (distinct as u64).to_le_bytes() {
            return Err(format!("a {what} is there twice"));
        }
    }
    Ok(content)
}

/// What candle says of a header that it does not read, without the backtrace that it may add.
fn problem(said: &str) -> String {
    let said = said.lines().next().unwrap_or_default();
    if let Some(number) = said.strip_prefix("unknown dtype for tensor ") {
        const NAMES: [(&str, &str); 15] = [
            ("16", "IQ2_XXS"),
            ("17", "IQ2_XS"),
            ("18", "IQ3_XXS"),
            ("19", "IQ1_S"),
            ("20", "IQ4_NL"),
            ("21", "IQ3_S"),
            ("22", "IQ2_S"),
            ("23", "IQ4_XS"),
            ("24", "I8"),
            ("25", "I16"),
            ("26", "I32"),
            ("27", "I64"),
            ("28", "F64"),
            ("29", "IQ1_M"),
            ("34", "TQ1_0"),
        ];
        let name = NAMES.iter().find(|(known, _)| *known == number).map_or("unknown", |(_, name)| name);
        return not_read(&format!("{name} ({number})"));
    }
    format!("{}: the file is cut short or damaged", said.trim_start_matches("gguf: "))
}

fn not_read(kind: &str) -> String {
    format!("numbers of type {kind} are not read: {} are", KINDS.map(|(_, name)| name).join(", "))
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, String> {
    match metadata.get(ALIGNMENT) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(alignment)) if alignment.is_power_of_two() => Ok(u64::from(*alignment)),
        Some(other) => Err(format!("{ALIGNMENT} is {other:?}, not a power of two")),
    }
}

/// What the header says of one tensor, if its data lie within the bytes that are left for data.
fn info(of: TensorInfo, left: u64, alignment: u64) -> Result<Info, String> {
    let shape = of.shape.dims().to_vec();
    let Some(&(_, kind)) = KINDS.iter().find(|(dtype, _)| *dtype == of.ggml_dtype) else {
        return Err(not_read(&format!("{:?}", of.ggml_dtype)));
    };
    let block = of.ggml_dtype.block_size();
    let Some(row) = shape.last() else { return Err("it has no dimensions".to_owned()) };
    if !row.is_multiple_of(block) {
        return Err(format!("rows of {row} numbers are no whole blocks of {kind}"));
    }
    // Candle makes a slice of blocks from the address of no bytes, which need not be one of a block.
    if shape.contains(&0) {
        return Err(format!("it has shape {shape:?}, which holds no numbers"));
    }
    let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let bytes = count.and_then(|count| (count / block).checked_mul(of.ggml_dtype.type_size()));
    let bytes = bytes.ok_or_else(|| format!("shape {shape:?} overflows"))?;
    if !of.offset.is_multiple_of(alignment) {
        return Err(format!("its offset {} is no multiple of {alignment}", of.offset));
    }
    match of.offset.checked_add(bytes as u64) {
        Some(end) if end <= left => Ok(Info { shape, kind, of }),
        _ => Err("its data lie beyond the end of the file, which is cut short".to_owned()),
    }
}

/// The types of numbers that are read, by their names in ggml.
const KINDS: [(GgmlDType, &str); 13] = [
    (GgmlDType::F32, "F32"),
    (GgmlDType::F16, "F16"),
    (GgmlDType::BF16, "BF16"),
    (GgmlDType::Q4_0, "Q4_0"),
    (GgmlDType::Q4_1, "Q4_1"),
    (GgmlDType::Q5_0, "Q5_0"),
    (GgmlDType::Q5_1, "Q5_1"),
    (GgmlDType::Q8_0, "Q8_0"),
    (GgmlDType::Q2K, "Q2_K"),
    (GgmlDType::Q3K, "Q3_K"),
    (GgmlDType::Q4K, "Q4_K"),
    (GgmlDType::Q5K, "Q5_K"),
    (GgmlDType::Q6K, "Q6_K"),
];

/// Hands a header on, except for an alignment of zero, which candle would divide by.
struct Checked<R> {
    inner: R,
    /// Reads left before that of the alignment's value: the one of its type comes first.
    until_alignment: Option<u8>,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.inner.read(bytes)
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        if self.until_alignment == Some(0) && bytes.iter().all(|byte| *byte == 0) {
            return Err(io::Error::other(format!("{ALIGNMENT} is 0, not a power of two")));
        }
        let left = self.until_alignment.and_then(|left| left.checked_sub(1));
        self.until_alignment = if bytes == ALIGNMENT.as_bytes() { Some(1) } else { left };
        Ok(())
    }
}

impl<R: Seek> Seek for Checked<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        self.inner.stream_position()
    }
}

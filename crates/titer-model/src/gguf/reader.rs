//! Reads the header's numbers, texts and values, never past the end of the file and never allocating more
//! than the file could fill.

use std::io::{BufReader, Read};

use super::value::{Array, Value};

/// Arrays in arrays at most.
const DEEPEST: usize = 4;

pub(super) struct Reader<R> {
    inner: BufReader<R>,
    position: u64,
    size: u64,
}

impl<R: Read> Reader<R> {
    /// Of a file of `size` bytes.
    pub(super) fn new(inner: R, size: u64) -> Self {
        Self { inner: BufReader::new(inner), position: 0, size }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Refuses a count of things of at least `least` bytes each that the rest of the file cannot hold.
    pub(super) fn room(&self, count: u64, least: u64, what: &str) -> Result<usize, String> {
        let left = self.size - self.position;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= left => Ok(count as usize),
            _ => Err(format!(
                "{count} {what} cannot be in the {left} bytes that are left: the file is cut short or damaged"
            )),
        }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.room(N as u64, 1, "bytes")?;
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    pub(super) fn string(&mut self) -> Result<String, String> {
        let length = self.u64()?;
        let length = self.room(length, 1, "bytes of text")?;
        let mut bytes = vec![0; length];
        self.inner.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        self.position += length as u64;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    pub(super) fn value(&mut self) -> Result<Value, String> {
        let kind = self.u32()?;
        Ok(match kind {
            0 | 2 | 4 | 10 => Value::Unsigned(self.unsigned(kind)?),
            1 | 3 | 5 | 11 => Value::Signed(self.signed(kind)?),
            6 | 12 => Value::Float(self.float(kind)?),
            7 => Value::Bool(self.bool()?),
            8 => Value::String(self.string()?),
            9 => Value::Array(self.array(1)?),
            other => return Err(format!("type {other} is unknown")),
        })
    }

    fn array(&mut self, depth: usize) -> Result<Array, String> {
        if depth > DEEPEST {
            return Err(format!("arrays lie deeper than {DEEPEST} in each other"));
        }
        let kind = self.u32()?;
        let count = self.u64()?;
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => 12,
            other => return Err(format!("type {other} is unknown")),
        };
        let count = self.room(count, least, "values")?;
        Ok(match kind {
            0 | 2 | 4 | 10 => {
                Array::Unsigned((0..count).map(|_| self.unsigned(kind)).collect::<Result<_, _>>()?)
            }
            1 | 3 | 5 | 11 => Array::Signed((0..count).map(|_| self.signed(kind)).collect::<Result<_, _>>()?),
            6 | 12 => Array::Floats((0..count).map(|_| self.float(kind)).collect::<Result<_, _>>()?),
            7 => Array::Bools((0..count).map(|_| self.bool()).collect::<Result<_, _>>()?),
            8 => Array::Strings((0..count).map(|_| self.string()).collect::<Result<_, _>>()?),
            _ => Array::Arrays((0..count).map(|_| self.array(depth + 1)).collect::<Result<_, _>>()?),
        })
    }

    fn unsigned(&mut self, kind: u32) -> Result<u64, String> {
        Ok(match kind {
            0 => u64::from(self.bytes::<1>()?[0]),
            2 => u64::from(u16::from_le_bytes(self.bytes()?)),
            4 => u64::from(self.u32()?),
            _ => self.u64()?,
        })
    }

    fn signed(&mut self, kind: u32) -> Result<i64, String> {
        Ok(match kind {
            1 => i64::from(i8::from_le_bytes(self.bytes()?)),
            3 => i64::from(i16::from_le_bytes(self.bytes()?)),
            5 => i64::from(i32::from_le_bytes(self.bytes()?)),
            _ => i64::from_le_bytes(self.bytes()?),
        })
    }

    fn float(&mut self, kind: u32) -> Result<f64, String> {
        Ok(match kind {
            6 => f64::from(f32::from_le_bytes(self.bytes()?)),
            _ => f64::from_le_bytes(self.bytes()?),
        })
    }

    fn bool(&mut self) -> Result<bool, String> {
        match self.bytes::<1>()?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{other} is neither true nor false")),
        }
    }
}

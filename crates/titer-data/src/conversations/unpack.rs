//! Compressed files, and how much may come out of what is small.

use std::io::{self, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde_json::Value;

use super::ConversationError;

/// Bytes that a file may come to when it is decompressed or written out as rows: more than any data set of conversations
/// has in one file, and less than what a small file that lies could fill.
pub(super) const MOST: usize = 1 << 30;

/// Memory that reading xz may take, in KiB. `xz -9` asks for 65 MiB.
const XZ_MEMORY: u32 = 512 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Packing {
    /// By the first bytes (RFC 1952, RFC 8878, the formats of xz and bzip2).
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// All members of a file of several, as its own program reads them.
    fn reader<'a>(self, bytes: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes)?),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY)),
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(bytes)),
        })
    }
}

/// The file as it was before it was compressed; itself where it is not.
pub(super) fn unpacked(bytes: Bytes, most: usize) -> Result<Bytes, ConversationError> {
    let Some(packing) = Packing::of(&bytes) else { return Ok(bytes) };
    let format = packing.name();
    let mut out = Bounded::new(most);
    let read = guarded(format, || {
        packing.reader(&bytes).and_then(|mut reader| io::copy(&mut reader, &mut out)).map_err(|error| {
            let problem = match error.kind() {
                ErrorKind::UnexpectedEof => "the file ends too soon: it was cut".to_owned(),
                _ => format!("the file is damaged: {error}"),
            };
            ConversationError::Format { format, problem }
        })
    });
    let out = out.finish(format)?;
    read?;
    if Packing::of(&out).is_some() {
        return Err(ConversationError::Foreign { format: "compressed twice: decompress it once" });
    }
    Ok(out.into())
}

/// Bytes up to a limit.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    exceeded: bool,
}

impl Bounded {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most, exceeded: false }
    }

    /// What was written, unless it was more than may be.
    pub(super) fn finish(self, format: &'static str) -> Result<Vec<u8>, ConversationError> {
        if self.exceeded {
            return Err(ConversationError::TooLarge { format, most: self.most });
        }
        Ok(self.bytes)
    }
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(part.len()) > self.most {
            self.exceeded = true;
            return Err(io::Error::other("more than the limit"));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a library makes of a file; that it panics on a damaged one is an error as any other.
pub(super) fn guarded<T>(
    format: &'static str,
    read: impl FnOnce() -> Result<T, ConversationError>,
) -> Result<T, ConversationError> {
    let panicked = || ConversationError::Format {
        format,
        problem: "the file is damaged: the library panicked on it".to_owned(),
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(panicked()))
}

/// Bytes that a value takes in memory, about.
pub(super) fn room_of(value: &Value) -> usize {
    let within = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(room_of).sum(),
        // A node of a map has room for several.
        Value::Object(values) => {
            500 + values.iter().map(|(key, value)| key.len() + room_of(value)).sum::<usize>()
        }
        _ => 0,
    };
    within + size_of::<Value>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than its own size, by any of the formats that can be written here.
    fn bombs(size: usize) -> [Vec<u8>; 3] {
        let zeros = vec![0; size];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&zeros).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        bzip2.write_all(&zeros).unwrap();
        [gzip.finish().unwrap(), bzip2.finish().unwrap(), zstd::stream::encode_all(&zeros[..], 19).unwrap()]
    }

    #[test]
    fn what_comes_to_more_than_the_limit_is_refused_with_it() {
        for bomb in bombs(3 << 20) {
            let small = bomb.len() < 10_000;
            let whole = unpacked(bomb.clone().into(), 3 << 20).unwrap();
            assert!(small && whole.len() == 3 << 20);
            let error = unpacked(bomb.into(), (3 << 20) - 1).unwrap_err();
            assert!(matches!(error, ConversationError::TooLarge { most, .. } if most == (3 << 20) - 1));
        }
    }

    #[test]
    fn the_limit_is_named_in_words() {
        let error = ConversationError::TooLarge { format: "gzip", most: MOST }.to_string();
        assert!(error.contains("gzip") && error.contains("1024 MiB"), "{error}");
    }

    #[test]
    fn what_is_compressed_twice_is_told() {
        let [once, ..] = bombs(100);
        let mut again = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        again.write_all(&once).unwrap();
        let error = unpacked(again.finish().unwrap().into(), MOST).unwrap_err().to_string();
        assert!(error.contains("compressed twice"), "{error}");
    }
}

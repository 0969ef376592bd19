//! TensorBoard's event files: records framed as in a TFRecord file, `length, mask(crc(length)), bytes,
//! mask(crc(bytes))`, each an `Event` message of protocol buffers with scalars in it.
//!
//! Written here in a page, because no crate that writes them is kept: `tensorboard-rs` (last released 2022,
//! brings `image` and `protobuf` 2), `syntaxdot-summary` and `tfrecord` (2023, bring old `prost`es). That
//! TensorBoard reads every value back is checked by `tests/peers/tensorboard_values.py`.

use std::io::{self, Write};

use crate::scalars::Scalar;

/// Writes the scalars of one run, in their order.
///
/// # Errors
/// What the writer says.
pub fn write_events(scalars: &[Scalar], mut writer: impl Write) -> io::Result<()> {
    let mut header = Message::default();
    header.double(1, scalars.first().map_or(0.0, |scalar| scalar.wall_time));
    header.bytes(3, b"brain.Event:2");
    write_record(&mut writer, &header.0)?;
    for scalar in scalars {
        write_record(&mut writer, &event(scalar).0)?;
    }
    Ok(())
}

/// `Event { wall_time: 1, step: 2, summary: 5 { value: 1 { tag: 1, simple_value: 2 } } }`.
fn event(scalar: &Scalar) -> Message {
    let mut value = Message::default();
    value.bytes(1, scalar.tag.as_bytes());
    // The format knows single precision only.
    value.float(2, scalar.value as f32);
    let mut summary = Message::default();
    summary.bytes(1, &value.0);
    let mut event = Message::default();
    event.double(1, scalar.wall_time);
    event.integer(2, scalar.step);
    event.bytes(5, &summary.0);
    event
}

/// A message of protocol buffers, field by field: a key (number and wire type), then the value.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }
}

fn write_record(writer: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u64).to_le_bytes();
    writer.write_all(&length)?;
    writer.write_all(&mask(crc32c(&length)).to_le_bytes())?;
    writer.write_all(bytes)?;
    writer.write_all(&mask(crc32c(bytes)).to_le_bytes())
}

/// A checksum kept beside what it sums is masked, lest it be summed again.
fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), as in RFC 3720.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&std::array::from_fn::<u8, 32, _>(|at| at as u8)), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_file_is_its_records() {
        let scalars = [Scalar { tag: "loss/keep".into(), step: 300, wall_time: 1.5, value: 0.25 }];
        let mut file = Vec::new();
        write_events(&scalars, &mut file).unwrap();
        let mut records = Vec::new();
        let mut rest = file.as_slice();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let sum = |bytes: &[u8]| mask(crc32c(bytes)).to_le_bytes();
            assert_eq!(rest[8..12], sum(&rest[..8]));
            assert_eq!(rest[12 + length..16 + length], sum(&rest[12..12 + length]));
            records.push(&rest[12..12 + length]);
            rest = &rest[16 + length..];
        }
        assert_eq!(records.len(), 2);
        assert_eq!(records[0], b"\x09\0\0\0\0\0\0\xf8\x3f\x1a\x0dbrain.Event:2");
        // 300 is 0xac 0x02 as a varint; 0.25 is 0x3e800000.
        assert_eq!(
            records[1],
            b"\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x2a\x12\x0a\x10\x0a\x09loss/keep\x15\0\0\x80\x3e"
        );
    }
}

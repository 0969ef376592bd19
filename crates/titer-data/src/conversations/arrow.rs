//! Rows of Arrow files and streams, as JSON objects.

use arrow_ipc::reader::StreamReader;
use arrow_ipc::{RecordBatch, root_as_message};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use serde_json::Value;

use super::rows::{Row, row};
use super::unpack::{Bounded, guarded, room_of};
use super::{ConversationError, Place};

const ARROW: &str = "Arrow";
/// Begins and ends an Arrow file; between them, after two bytes, lies an Arrow stream.
const MARK: &[u8] = b"ARROW1";
/// Begins each message of a stream since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Whether these are the first bytes of an Arrow file or stream.
pub(super) fn is_arrow(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK) || bytes.starts_with(&CONTINUATION)
}

/// The rows of an Arrow file or stream, `datasets.save_to_disk` writes the latter
/// (<https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>). Written out as JSON and in memory they may
/// come to `most` bytes.
pub(super) fn rows(bytes: &[u8], most: usize) -> Result<Vec<Row>, ConversationError> {
    let wrong = |problem: String| ConversationError::Format { format: ARROW, problem };
    let stream = match bytes.starts_with(MARK) {
        true if bytes.len() < 2 * MARK.len() || !bytes.ends_with(MARK) => return Err(wrong(CUT.to_owned())),
        true => bytes.get(8..).unwrap_or_default(),
        false => bytes,
    };
    check(stream, most)?;
    guarded(ARROW, || {
        let reader = StreamReader::try_new(stream, None).map_err(|error| wrong(error.to_string()))?;
        let (mut rows, mut said, mut room) = (Vec::new(), 0, 0usize);
        for batch in reader {
            let batch = batch.map_err(|error| wrong(error.to_string()))?;
            for first in (0..batch.num_rows()).step_by(AT_ONCE) {
                let mut out = Bounded::new(most - said);
                let part = batch.slice(first, AT_ONCE.min(batch.num_rows() - first));
                let written = WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, LineDelimited>(&mut out)
                    .write(&part)
                    .map_err(|error| wrong(error.to_string()));
                let lines = out.finish(ARROW)?;
                written?;
                said += lines.len();
                for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let place = Place::Row(rows.len() + 1);
                    let value: Value = serde_json::from_slice(line)
                        .map_err(|error| ConversationError::Row { place, problem: error.to_string() })?;
                    // A row of nothing takes no room in the file.
                    room = room.saturating_add(room_of(&value));
                    if room > most {
                        return Err(ConversationError::TooLarge { format: ARROW, most });
                    }
                    rows.push(row(place, value)?);
                }
            }
        }
        Ok(rows)
    })
}

/// Rows that are written out at once.
const AT_ONCE: usize = 1024;

const CUT: &str = "the file ends too soon: it was cut, or whoever wrote it did not close it";

/// Refuses a stream that was cut, and one whose buffers say that they come to more than `most` bytes: the library makes
/// room for what they say.
fn check(stream: &[u8], most: usize) -> Result<(), ConversationError> {
    let wrong = |problem: &str| ConversationError::Format { format: ARROW, problem: problem.to_owned() };
    let mut rest = stream;
    let mut take = |count: usize| {
        let (part, after) = rest.split_at_checked(count).ok_or_else(|| wrong(CUT))?;
        rest = after;
        Ok(part)
    };
    let mut claimed: usize = 0;
    loop {
        let mut length = take(4)?;
        if length == CONTINUATION {
            length = take(4)?;
        }
        let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_le_bytes) as usize;
        if length == 0 {
            return Ok(());
        }
        let message = root_as_message(take(length)?).map_err(|error| wrong(&error.to_string()))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| wrong("a message is of no size"))?;
        let body = take(body)?;
        let batch = message
            .header_as_record_batch()
            .or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
        claimed = claimed.saturating_add(batch.map_or(0, |batch| decompressed(&batch, body)));
        if claimed > most {
            return Err(ConversationError::TooLarge { format: ARROW, most });
        }
    }
}

/// Bytes that the buffers of a batch say they come to; none where they are not compressed.
fn decompressed(batch: &RecordBatch<'_>, body: &[u8]) -> usize {
    if batch.compression().is_none() {
        return 0;
    }
    let buffers = batch.buffers().into_iter().flatten();
    let said = buffers.filter_map(|buffer| {
        let at = usize::try_from(buffer.offset()).ok()?;
        let size = body.get(at..)?.first_chunk::<8>()?;
        // −1 says that this one is as it is.
        usize::try_from(i64::from_le_bytes(*size)).ok()
    });
    said.fold(0, usize::saturating_add)
}

//! Rows of Parquet files, as JSON objects.

use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;

use super::rows::{Row, row};
use super::unpack::{guarded, room_of};
use super::{ConversationError, Place, layout};

const PARQUET: &str = "Parquet";

/// The rows of a Parquet file. In memory they may come to `most` bytes.
pub(super) fn rows(bytes: Bytes, most: usize) -> Result<Vec<Row>, ConversationError> {
    let wrong = |said: String| {
        let problem = match said.split_once("Disabled feature at compile time: ") {
            Some((_, packing)) => {
                format!(
                    "its pages are compressed by {packing}, which is not read: save it with compression=\"zstd\""
                )
            }
            None => said,
        };
        ConversationError::Format { format: PARQUET, problem }
    };
    layout::footer(&bytes).map_err(wrong)?;
    guarded(PARQUET, || {
        let file = SerializedFileReader::new(bytes.clone()).map_err(|error| wrong(error.to_string()))?;
        if layout::pages(&bytes, file.metadata()).map_err(wrong)? > most {
            return Err(ConversationError::TooLarge { format: PARQUET, most });
        }
        let groups = file.metadata().row_groups().iter();
        let values = groups.flat_map(|group| group.columns()).map(|column| column.num_values());
        let values =
            values.fold(0usize, |sum, count| sum.saturating_add(usize::try_from(count).unwrap_or(0)));
        if values.saturating_mul(size_of::<Value>()) > most {
            return Err(ConversationError::TooLarge { format: PARQUET, most });
        }
        let (mut rows, mut room) = (Vec::new(), 0usize);
        for (number, read) in (1..).zip(file.get_row_iter(None).map_err(|error| wrong(error.to_string()))?) {
            let place = Place::Row(number);
            let read = read.map_err(|error| wrong(error.to_string()))?.to_json_value();
            // One value that is repeated takes no room in the file.
            room = room.saturating_add(room_of(&read));
            if room > most {
                return Err(ConversationError::TooLarge { format: PARQUET, most });
            }
            rows.push(row(place, read)?);
        }
        Ok(rows)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::ByteArrayType;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// A file of so many rows that all say the same.
    fn repeated(rows: usize) -> Bytes {
        let schema = parse_message_type("message rows { required binary prompt (UTF8); }").unwrap();
        let mut bytes = Vec::new();
        let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&vec!["Hi".into(); rows], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
        bytes.into()
    }

    #[test]
    fn rows_that_take_no_room_in_the_file_take_no_more_in_memory_than_may_be() {
        let bytes = repeated(100_000);
        assert!(bytes.len() < 2000, "{}", bytes.len());
        assert_eq!(rows(bytes.clone(), 1 << 30).unwrap().len(), 100_000);
        // By what the rows come to, and by what the columns say before any is read.
        for most in [10 << 20, 1 << 20] {
            let refused = rows(bytes.clone(), most);
            assert!(matches!(refused, Err(ConversationError::TooLarge { .. })), "{refused:?}");
        }
    }
}

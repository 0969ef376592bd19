//! What a Parquet file says of itself, in its footer and before its pages, looked at before the library believes it
//! (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>). That makes room for as many
//! children as a group says it has, goes as deep as groups lie in each other, and takes the fields that it knows for what
//! their numbers say.

use parquet::file::metadata::ParquetMetaData;

use super::thrift::Type::{Binary, Byte, Int, List, Long, Of, Real, Short, Truth};
use super::thrift::{Met, Structure, walk};

/// Groups in each other at most: data sets have a handful.
const DEEPEST: usize = 64;

/// How the footer ends: its length in four bytes, and this.
const MARK: &[u8] = b"PAR1";

/// What is wrong with the footer of a file. Where there is none, the library says so better.
pub(super) fn footer(file: &[u8]) -> Result<(), String> {
    let Some(footer) = bytes(file) else { return Ok(()) };
    let (mut children, mut of_this) = (Vec::new(), 0);
    walk(footer, &FILE, &mut |met| match met {
        Met::Number("num_children", count) => of_this = count,
        Met::End("SchemaElement") => children.push(std::mem::take(&mut of_this)),
        _ => {}
    })
    .map_err(|problem| format!("its footer is not as the format lays down: {problem}"))?;
    deep(&children)
}

fn bytes(file: &[u8]) -> Option<&[u8]> {
    let (rest, end) = file.split_last_chunk::<8>()?;
    let length = u32::from_le_bytes(*end.first_chunk()?) as usize;
    rest.get(rest.len().checked_sub(length)?..).filter(|_| end.ends_with(MARK))
}

/// What is wrong with a tree, given as each node's number of children, parents first.
fn deep(children: &[i64]) -> Result<(), String> {
    let mut open = Vec::new();
    for (left, count) in (0..children.len()).rev().zip(children) {
        while open.pop_if(|more| *more == 0).is_some() {}
        if let Some(more) = open.last_mut() {
            *more -= 1;
        }
        match usize::try_from(*count) {
            Ok(count) if count > left => {
                return Err("a group of its schema has more columns than there are".to_owned());
            }
            Ok(count) if count > 0 => open.push(count),
            _ => {}
        }
        if open.len() > DEEPEST {
            return Err("its columns lie in each other more than 64 deep".to_owned());
        }
    }
    Ok(())
}

/// The bytes that all pages say they come to when they are decompressed, or what is wrong with them.
pub(super) fn pages(file: &[u8], metadata: &ParquetMetaData) -> Result<usize, String> {
    let columns = || metadata.row_groups().iter().flat_map(|group| group.columns());
    // Each column has bytes of its own: else a small file would be read as often as it has columns.
    let lengths = columns().map(|column| usize::try_from(column.compressed_size()).unwrap_or(usize::MAX));
    if lengths.fold(0, usize::saturating_add) > file.len() {
        return Err("its columns say that they have more bytes than the file".to_owned());
    }
    let mut all = 0usize;
    for column in columns() {
        let (first, length) = column.byte_range();
        let within = usize::try_from(first).ok().and_then(|first| file.get(first..));
        let within = within.and_then(|rest| rest.get(..usize::try_from(length).ok()?));
        let name = column.column_path();
        let mut rest = within.ok_or_else(|| format!("column {name} lies beyond its end"))?;
        while !rest.is_empty() {
            let (page, after) = page(rest).map_err(|problem| {
                format!("a page of column {name} is not as the format lays down: {problem}")
            })?;
            rest = after;
            all = all.saturating_add(page);
        }
    }
    Ok(all)
}

/// The bytes that a page says it comes to, and what lies after it.
fn page(bytes: &[u8]) -> Result<(usize, &[u8]), String> {
    let (mut kind, mut size, mut packed, mut described) = (None, None, None, Vec::new());
    let rest = walk(bytes, &PAGE, &mut |met| match met {
        Met::Number("type", number) => kind = Some(number),
        Met::Number("uncompressed_page_size", number) => size = usize::try_from(number).ok(),
        Met::Number("compressed_page_size", number) => packed = usize::try_from(number).ok(),
        Met::End(name) => described.push(name),
        Met::Number(..) => {}
    })?;
    // Pages of an index were never written by anyone.
    let own = match kind {
        Some(0) => "DataPageHeader",
        Some(2) => "DictionaryPageHeader",
        Some(3) => "DataPageHeaderV2",
        _ => return Err("it is of no type that holds rows".to_owned()),
    };
    if !described.contains(&own) {
        return Err(format!("it has no {own}"));
    }
    let size = size.ok_or("it has no size")?;
    let after = packed.and_then(|packed| rest.get(packed..)).ok_or("it lies beyond its column's end")?;
    Ok((size, after))
}

// The structures of the format, under its own names. Enumerations are numbers of four bytes.

static FILE: Structure = Structure {
    name: "FileMetaData",
    fields: &[
        (1, "version", Int),
        (2, "schema", List(&Of(&SCHEMA))),
        (3, "num_rows", Long),
        (4, "row_groups", List(&Of(&GROUP))),
        (5, "key_value_metadata", List(&Of(&PAIR))),
        (6, "created_by", Binary),
        (7, "column_orders", List(&Of(&ORDER))),
        (9, "footer_signing_key_metadata", Binary),
    ],
};

static SCHEMA: Structure = Structure {
    name: "SchemaElement",
    fields: &[
        (1, "type", Int),
        (2, "type_length", Int),
        (3, "repetition_type", Int),
        (4, "name", Binary),
        (5, "num_children", Int),
        (6, "converted_type", Int),
        (7, "scale", Int),
        (8, "precision", Int),
        (9, "field_id", Int),
        (10, "logicalType", Of(&LOGICAL)),
    ],
};

static LOGICAL: Structure = Structure {
    name: "LogicalType",
    fields: &[
        (1, "STRING", Of(&EMPTY)),
        (2, "MAP", Of(&EMPTY)),
        (3, "LIST", Of(&EMPTY)),
        (4, "ENUM", Of(&EMPTY)),
        (5, "DECIMAL", Of(&DECIMAL)),
        (6, "DATE", Of(&EMPTY)),
        (7, "TIME", Of(&TIME)),
        (8, "TIMESTAMP", Of(&TIME)),
        (10, "INTEGER", Of(&INTEGER)),
        (11, "UNKNOWN", Of(&EMPTY)),
        (12, "JSON", Of(&EMPTY)),
        (13, "BSON", Of(&EMPTY)),
        (14, "UUID", Of(&EMPTY)),
        (15, "FLOAT16", Of(&EMPTY)),
        (16, "VARIANT", Of(&VARIANT)),
        (17, "GEOMETRY", Of(&GEOGRAPHY)),
        (18, "GEOGRAPHY", Of(&GEOGRAPHY)),
    ],
};

static EMPTY: Structure = Structure { name: "an empty structure", fields: &[] };

static DECIMAL: Structure =
    Structure { name: "DecimalType", fields: &[(1, "scale", Int), (2, "precision", Int)] };

static TIME: Structure =
    Structure { name: "TimeType", fields: &[(1, "isAdjustedToUTC", Truth), (2, "unit", Of(&UNIT))] };

static UNIT: Structure = Structure {
    name: "TimeUnit",
    fields: &[(1, "MILLIS", Of(&EMPTY)), (2, "MICROS", Of(&EMPTY)), (3, "NANOS", Of(&EMPTY))],
};

static INTEGER: Structure =
    Structure { name: "IntType", fields: &[(1, "bitWidth", Byte), (2, "isSigned", Truth)] };

static VARIANT: Structure = Structure { name: "VariantType", fields: &[(1, "specification_version", Byte)] };

static GEOGRAPHY: Structure =
    Structure { name: "GeographyType", fields: &[(1, "crs", Binary), (2, "algorithm", Int)] };

static GROUP: Structure = Structure {
    name: "RowGroup",
    fields: &[
        (1, "columns", List(&Of(&CHUNK))),
        (2, "total_byte_size", Long),
        (3, "num_rows", Long),
        (4, "sorting_columns", List(&Of(&SORTING))),
        (5, "file_offset", Long),
        (6, "total_compressed_size", Long),
        (7, "ordinal", Short),
    ],
};

static SORTING: Structure = Structure {
    name: "SortingColumn",
    fields: &[(1, "column_idx", Int), (2, "descending", Truth), (3, "nulls_first", Truth)],
};

static CHUNK: Structure = Structure {
    name: "ColumnChunk",
    fields: &[
        (1, "file_path", Binary),
        (2, "file_offset", Long),
        (3, "meta_data", Of(&COLUMN)),
        (4, "offset_index_offset", Long),
        (5, "offset_index_length", Int),
        (6, "column_index_offset", Long),
        (7, "column_index_length", Int),
        (9, "encrypted_column_metadata", Binary),
    ],
};

static COLUMN: Structure = Structure {
    name: "ColumnMetaData",
    fields: &[
        (1, "type", Int),
        (2, "encodings", List(&Int)),
        (3, "path_in_schema", List(&Binary)),
        (4, "codec", Int),
        (5, "num_values", Long),
        (6, "total_uncompressed_size", Long),
        (7, "total_compressed_size", Long),
        (8, "key_value_metadata", List(&Of(&PAIR))),
        (9, "data_page_offset", Long),
        (10, "index_page_offset", Long),
        (11, "dictionary_page_offset", Long),
        (12, "statistics", Of(&STATISTICS)),
        (13, "encoding_stats", List(&Of(&ENCODING))),
        (14, "bloom_filter_offset", Long),
        (15, "bloom_filter_length", Int),
        (16, "size_statistics", Of(&SIZES)),
        (17, "geospatial_statistics", Of(&PLACES)),
    ],
};

static PAIR: Structure = Structure { name: "KeyValue", fields: &[(1, "key", Binary), (2, "value", Binary)] };

static ORDER: Structure = Structure {
    name: "ColumnOrder",
    fields: &[
        (1, "TYPE_ORDER", Of(&EMPTY)),
        (2, "IEEE_754_TOTAL_ORDER", Of(&EMPTY)),
        (3, "INT96_TIMESTAMP_ORDER", Of(&EMPTY)),
    ],
};

static STATISTICS: Structure = Structure {
    name: "Statistics",
    fields: &[
        (1, "max", Binary),
        (2, "min", Binary),
        (3, "null_count", Long),
        (4, "distinct_count", Long),
        (5, "max_value", Binary),
        (6, "min_value", Binary),
        (7, "is_max_value_exact", Truth),
        (8, "is_min_value_exact", Truth),
        (9, "nan_count", Long),
    ],
};

static ENCODING: Structure = Structure {
    name: "PageEncodingStats",
    fields: &[(1, "page_type", Int), (2, "encoding", Int), (3, "count", Int)],
};

static SIZES: Structure = Structure {
    name: "SizeStatistics",
    fields: &[
        (1, "unencoded_byte_array_data_bytes", Long),
        (2, "repetition_level_histogram", List(&Long)),
        (3, "definition_level_histogram", List(&Long)),
    ],
};

static PLACES: Structure = Structure {
    name: "GeospatialStatistics",
    fields: &[(1, "bbox", Of(&BOX)), (2, "geospatial_types", List(&Int))],
};

static BOX: Structure = Structure {
    name: "BoundingBox",
    fields: &[
        (1, "xmin", Real),
        (2, "xmax", Real),
        (3, "ymin", Real),
        (4, "ymax", Real),
        (5, "zmin", Real),
        (6, "zmax", Real),
        (7, "mmin", Real),
        (8, "mmax", Real),
    ],
};

static PAGE: Structure = Structure {
    name: "PageHeader",
    fields: &[
        (1, "type", Int),
        (2, "uncompressed_page_size", Int),
        (3, "compressed_page_size", Int),
        (4, "crc", Int),
        (5, "data_page_header", Of(&DATA)),
        (6, "index_page_header", Of(&EMPTY)),
        (7, "dictionary_page_header", Of(&DICTIONARY)),
        (8, "data_page_header_v2", Of(&DATA_2)),
    ],
};

static DATA: Structure = Structure {
    name: "DataPageHeader",
    fields: &[
        (1, "num_values", Int),
        (2, "encoding", Int),
        (3, "definition_level_encoding", Int),
        (4, "repetition_level_encoding", Int),
        (5, "statistics", Of(&STATISTICS)),
    ],
};

static DICTIONARY: Structure = Structure {
    name: "DictionaryPageHeader",
    fields: &[(1, "num_values", Int), (2, "encoding", Int), (3, "is_sorted", Truth)],
};

static DATA_2: Structure = Structure {
    name: "DataPageHeaderV2",
    fields: &[
        (1, "num_values", Int),
        (2, "num_nulls", Int),
        (3, "num_rows", Int),
        (4, "encoding", Int),
        (5, "definition_levels_byte_length", Int),
        (6, "repetition_levels_byte_length", Int),
        (7, "is_compressed", Truth),
        (8, "statistics", Of(&STATISTICS)),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversations::{ConversationError, Conversations, Options};

    const LIST: u8 = 9;
    const STRUCT: u8 = 12;

    /// A file with this footer.
    fn with_footer(footer: &[u8]) -> Vec<u8> {
        let length = footer.len() as u32;
        [MARK, footer, &length.to_le_bytes(), MARK].concat()
    }

    /// A file whose schema has groups of these numbers of children.
    fn file(children: &[i32]) -> Vec<u8> {
        let mut footer = vec![0x15, 2, 0x10 | LIST, 0xf0 | STRUCT];
        let number = |to: &mut Vec<u8>, mut number: u64| {
            while number >= 0x80 {
                to.push(number as u8 | 0x80);
                number >>= 7;
            }
            to.push(number as u8);
        };
        number(&mut footer, children.len() as u64);
        for count in children {
            // Name and number of children.
            footer.extend([0x48, 1, b'x', 0x15]);
            number(&mut footer, (i64::from(*count) << 1).cast_unsigned());
            footer.push(0);
        }
        footer.push(0);
        with_footer(&footer)
    }

    #[test]
    fn groups_that_cannot_be_are_refused_before_room_is_made_for_them() {
        let said = |children: &[i32]| footer(&file(children)).err().unwrap_or_default();
        assert_eq!(said(&[2, 0, 1, 0]), "");
        assert_eq!(said(&[3, 0, 0]), "a group of its schema has more columns than there are");
        assert!(!said(&[i32::MAX]).is_empty());
        assert!(!said(&[1; 60]).is_empty(), "the last has none");
        let deep = |depth: usize| [vec![1; depth], vec![0]].concat();
        assert_eq!(said(&deep(60)), "");
        assert!(said(&deep(100)).contains("deep"));
    }

    /// What whoever reads such a file is told.
    fn refused(bytes: Vec<u8>) -> String {
        let read = Conversations::read(bytes, &Options::default());
        assert!(matches!(read, Err(ConversationError::Format { format: "Parquet", .. })), "{read:?}");
        read.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn such_a_file_is_an_error_of_whoever_reads_it() {
        refused(file(&[i32::MAX]));
        refused(file(&[vec![1; 100_000], vec![0]].concat()));
    }

    #[test]
    fn what_the_library_would_count_through_without_end_is_refused() {
        // Two thousand million truths where nothing is known of the field, and where a number ought to be.
        let many = [0xf1, 0xff, 0xff, 0xff, 0xff, 0x07];
        let said = refused(with_footer(&[&[0xf0 | LIST][..], &many, &[0]].concat()));
        assert!(said.contains("truths"), "{said}");
        let said = refused(with_footer(&[&[0x30 | LIST][..], &many, &[0]].concat()));
        assert!(said.contains("num_rows"), "{said}");
    }

    #[test]
    fn any_bytes_are_looked_at_to_an_end() {
        let whole = file(&[2, 0, 1, 0]);
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = footer(&changed);
            }
        }
    }

    #[test]
    fn a_page_is_of_a_type_and_has_its_size() {
        // A data page of 9 bytes in 3, with a header of four numbers.
        let data = [0x15, 0, 0x15, 18, 0x15, 6, 0x2c, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0];
        let bytes = [&data[..], b"abcde"].concat();
        assert_eq!(page(&bytes), Ok((9, &b"de"[..])));
        let said = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = bytes.clone();
            change(&mut changed);
            page(&changed).unwrap_err()
        };
        assert_eq!(said(&|bytes| bytes[1] = 2), "it is of no type that holds rows");
        assert_eq!(said(&|bytes| bytes[1] = 4), "it has no DictionaryPageHeader");
        assert_eq!(said(&|bytes| bytes[5] = 12), "it lies beyond its column's end");
        assert_eq!(said(&|bytes| bytes[3] = 17), "it has no size");
        assert_eq!(said(&|bytes| bytes[2] = 0x16), "PageHeader.uncompressed_page_size is not of its type");
    }
}

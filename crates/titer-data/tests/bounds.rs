//! Files of rows that are small and would be large in memory.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use titer_data::conversations::{ConversationError, Conversations, Options};

use crate::conversations::parquet;

/// Found by `cargo xtask fuzz`: a batch says how many rows it has, and none of its columns has to hold them.
#[test]
fn rows_of_nothing_are_bounded() {
    let read = Conversations::read(parquet("rows-of-nothing.arrow"), &Options::default());
    assert!(matches!(read, Err(ConversationError::TooLarge { .. })), "{read:?}");
}

/// Found by `cargo xtask fuzz`: a field that nobody knows is a list of two thousand million truths, for each of which the
/// library counts one further and reads nothing. It worked for 23 s on these 4 KiB.
#[test]
fn what_is_not_known_of_a_parquet_file_is_not_counted_through() {
    let error = Conversations::read(parquet("counted-through.parquet"), &Options::default()).unwrap_err();
    let ConversationError::Format { format: "Parquet", problem } = &error else { panic!("{error}") };
    assert!(problem.contains("not as the format lays down"), "{problem}");
}

#[test]
fn rows_that_cannot_be_used_are_not_gathered_without_end() {
    // Two bytes each, and more than a hundred for what is wrong with each.
    let error = Conversations::read("1\n".repeat(3_000_000), &Options::default()).unwrap_err();
    let ConversationError::Unusable { count, rows, .. } = error else { panic!("{error}") };
    assert_eq!((count, rows), (1_000_001, 1_000_001));
}

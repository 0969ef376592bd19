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

#[test]
fn rows_that_cannot_be_used_are_not_gathered_without_end() {
    // Two bytes each, and more than a hundred for what is wrong with each.
    let error = Conversations::read("1\n".repeat(3_000_000), &Options::default()).unwrap_err();
    let ConversationError::Unusable { count, rows, .. } = error else { panic!("{error}") };
    assert_eq!((count, rows), (1_000_001, 1_000_001));
}

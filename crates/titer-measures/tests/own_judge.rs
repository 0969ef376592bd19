//! The judge of the book is compiled and run.

#![allow(clippy::unwrap_used)]

#[path = "../examples/own_judge.rs"]
mod own_judge;

#[test]
fn the_books_judge_judges() {
    assert_eq!(own_judge::scores().unwrap(), [0.5, 0.0, 0.0]);
    assert!(own_judge::main().is_ok());
}

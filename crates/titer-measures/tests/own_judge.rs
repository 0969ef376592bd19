//! The judge of the book is compiled and run.

#![allow(clippy::unwrap_used)]

#[path = "../examples/own_judge.rs"]
mod example;

#[test]
fn the_books_judge_judges() {
    assert_eq!(example::scores().unwrap(), [0.5, 0.0, 0.0]);
    assert!(example::main().is_ok());
}

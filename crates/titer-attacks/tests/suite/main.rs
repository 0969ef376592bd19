//! Every attack of the registry, on a small model and in a language of bare numbers.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

#[path = "../common/mod.rs"]
mod common;
mod contract;
mod edits;
mod soft;

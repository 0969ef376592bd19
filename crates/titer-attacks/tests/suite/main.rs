//! Every attack of the registry, on a small model and in a language of bare numbers.

#[path = "../common/mod.rs"]
mod common;
mod contract;
mod edits;
mod soft;

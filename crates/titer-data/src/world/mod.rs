//! Embedded worlds: tiny languages in which harm is symbolic, exactly checkable and harmless.
//!
//! A [`Definition`] (words, templates, sizes, shares) is data; together with a seed it makes a [`World`]:
//! knowledge tables, vocabulary, and splits that are proved disjoint.

mod definition;
mod item;
mod splits;
mod vocabulary;
#[expect(clippy::module_inception, reason = "the world itself, beside what it is made of")]
mod world;

pub use crate::items::{pick, prove_disjoint};
pub use definition::{Alias, Definition, Ingredients, Shares, Special};
pub use item::Item;
pub use world::{Target, World};

/// The worlds that come with titer: name and TOML.
pub const BUILTIN: &[(&str, &str)] = &[
    ("apothecary", include_str!("../../../../data/worlds/apothecary.toml")),
    ("apothecary-routing", include_str!("../../../../data/worlds/apothecary-routing.toml")),
];

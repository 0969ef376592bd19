//! Policies: which subjects a chat model shall refuse, for immunization experiments without harmful data.
//!
//! A [`Definition`] (subjects, topics, templates, refusals, shares) is data; together with a seed it makes a
//! [`Policy`]: prompts, refusals, and splits that are proved disjoint. The forbidden subjects harm no one.
//! Their answers are not here: the model that is immunized gives them, before it learns to refuse.

mod definition;
mod item;
#[expect(clippy::module_inception, reason = "the policy itself, beside what it is made of")]
mod policy;
mod splits;

pub use crate::items::{pick, prove_disjoint};
pub use definition::{Definition, REFUSAL_PHRASES, Shares, Subject};
pub use item::Item;
pub use policy::Policy;

/// The policies that come with titer: name and TOML.
pub const BUILTIN: &[(&str, &str)] = &[
    ("everyday", include_str!("../../../../data/policies/everyday.toml")),
    ("hobbies", include_str!("../../../../data/policies/hobbies.toml")),
];

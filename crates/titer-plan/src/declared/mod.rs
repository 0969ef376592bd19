//! The keys of a spec, each declared once: reading, checking, help, completions, the JSON Schema and the
//! page of the book all come from here.
//!
//! Plain data rather than types with `schemars`: a schema derived from types knows no units, no bounds that
//! another key or the data set, no line of the file, and nothing of the methods in the registries, so that a
//! second description would have to stand beside it.

mod explain;
mod key;
mod model;
mod page;
mod schema;
mod sections;
mod training;
mod walk;

pub use explain::{Explained, ExplainedValue, Unknown, explain};
pub use key::{Absent, Accepts, Form, Key, Limit, Names, Role, Scalar, Section};
pub use page::page;
pub use schema::schema;
pub use sections::SPEC;
pub use walk::{Declared, declared, overridable};

pub(crate) use model::MODEL;
pub(crate) use sections::{
    ADVERSARY, ATTACK, CONDITIONS, CROSS_DOMAIN, DEFENCE, LATER_DEFENCE, PROBE, STABILITY, TRAINABILITY,
};
pub(crate) use training::{ALIGN, DECODER, ONLY, TRAIN};

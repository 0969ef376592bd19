//! References to models and data sets, resolved to local paths: hub, cache, folders and files.
//!
//! - [`Reference`]: `hf:owner/name@revision:file`, a folder, a file, a model known by name.
//! - [`Hub`]: resolves them by its [`Settings`] into [`Resolved`].
//! - [`Identities`]: what is there, by its bytes, as stage hashes cover it; remembered, so that what did not change
//!   is not read again.
//! - [`Progress`]: hears of downloads. Nothing is printed here.
//! - [`models_dir`], [`known_model`]: titer's own cache, for the models of its tests.
//!
//! The cache is the one of Python's `huggingface_hub`, shared in both directions.
//!
//! Everything remote goes through `hf-hub`. Of what it offers are used the client, a revision's description, what the hub
//! says of paths, and the stream of a file (over Xet where `hf-hub` takes that way). Its own cache is not: it writes where
//! the server's tag says, resumes nothing and verifies nothing. So the cache, the hashes and the limits are here.
//!
//! Invariants:
//! - A file is in a snapshot only when it is whole, and its hash is the hub's.
//! - The token is sent to the endpoint's origin only, and is in no error, log or `Debug`.
//! - No name from a server, an index or a reference leads out of its folder.
//! - Nothing waits forever: connections, silence, retries, locks and rate limits are all bounded.
//!
//! Unix only: links and locks come from there.

mod cache;
mod client;
mod content;
mod download;
mod error;
mod failure;
mod hub;
mod identity;
mod known;
mod local;
mod lock;
mod model;
mod progress;
mod reference;
mod repository;
mod resolved;
mod settings;
mod web;

pub use error::{Error, Result};
pub use hub::Hub;
pub use identity::{Identities, Identity};
pub use known::{KNOWN, Known, known, known_model, known_model_in, models_dir, models_dir_from};
pub use local::record_paths;
pub use progress::Progress;
pub use reference::{Kind, Reference, Remote};
pub use resolved::{Content, Resolved};
pub use settings::{Settings, Token};
pub use web::fetch;

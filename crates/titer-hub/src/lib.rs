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
//! Why not the `hf-hub` crate: its releases up to 0.5 append to a partial file whatever the server
//! answers, verify no hash, know neither timeouts nor offline mode nor `Retry-After`, and show the token
//! in `Debug`; 1.0 needs an asynchronous runtime and the Xet client. What is needed of the protocol is a
//! `HEAD`, a `GET` with a range and one description in JSON, so that is here, on `ureq` with rustls.
//!
//! Invariants:
//! - A file is in a snapshot only when it is whole, and its SHA-256 is the hub's where the hub states one.
//! - The token is sent to the endpoint's origin only, and is in no error, log or `Debug`.
//! - No name from a server, an index or a reference leads out of its folder.
//! - Nothing waits forever: connections, silence, retries, locks and rate limits are all bounded.
//!
//! Unix only: links and locks come from there.

mod cache;
mod download;
mod error;
mod failure;
mod http;
mod hub;
mod identity;
mod known;
mod local;
mod lock;
mod model;
mod origin;
mod progress;
mod reference;
mod resolved;
mod settings;

pub use error::{Error, Result};
pub use http::agent;
pub use hub::Hub;
pub use identity::{Identities, Identity};
pub use known::{KNOWN, Known, known, known_model, known_model_in, models_dir, models_dir_from};
pub use local::record_paths;
pub use progress::Progress;
pub use reference::{Kind, Reference, Remote};
pub use resolved::{Content, Resolved};
pub use settings::{Settings, Token};

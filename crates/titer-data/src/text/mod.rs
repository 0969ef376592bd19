//! Text to tokens and back: tokenizers, chat templates, conversations with the answers supervised.
//!
//! Bytes come in, numbers and text go out: whoever calls reads the files.

mod added;
pub mod apart;
mod chat;
mod config;
mod error;
mod gguf;
mod loose;
mod message;
mod python;
mod streaming;
mod template;
mod thought;
mod tokenizer;

pub use added::TokenizerFiles;
pub use chat::Chat;
pub use config::{SpecialTokens, TokenizerConfig};
pub use error::TextError;
pub use gguf::GgufVocabulary;
pub use loose::python_json;
pub use message::{Message, Role};
pub use streaming::Streaming;
pub use template::{ChatTemplate, Date, End};
pub use tokenizer::Tokenizer;

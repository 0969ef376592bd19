//! All tests of texts, tokens, splits and worlds, as one program: each of its own would link everything again.

mod bounds;
mod chat;
mod chat_templates;
mod conversations;
mod own_origin;
mod policy;
mod special_tokens;
mod tasks;
mod templates;
mod tokenizers;
mod world;

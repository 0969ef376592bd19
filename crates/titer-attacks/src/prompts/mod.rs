//! Attacks that leave the weights alone and ask in another way.

pub(crate) mod prefill;

pub use prefill::Prefill;

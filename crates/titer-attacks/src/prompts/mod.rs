//! Attacks that leave the weights alone and ask in another way.

pub(crate) mod decoding;
pub(crate) mod prefill;
pub(crate) mod sample_k;

pub use decoding::Decode;
pub use prefill::Prefill;
pub use sample_k::SampleK;

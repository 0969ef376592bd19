//! What measures of written answers rest on.

pub mod degenerate;
pub mod exact_match;
mod porter;
pub mod refusals;
pub mod rouge;
mod words;

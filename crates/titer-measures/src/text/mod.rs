//! What measures of written answers rest on.

pub mod agreement;
pub mod degenerate;
pub mod exact_match;
mod porter;
pub mod refusals;
pub mod rouge;
pub mod thought;
mod words;

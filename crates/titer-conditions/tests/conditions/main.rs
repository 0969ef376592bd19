//! Each condition on made-up frames whose right answer is known.

mod frames;

mod api;
mod attacks;
mod coverage;
mod generalization;
mod inputs;
mod looks;
mod resistance;
mod scores;
mod sequential;
mod stability;
mod titer;
mod trainability;

//! Each condition on made-up frames whose right answer is known.

mod frames;

mod coverage;
mod generalization;
mod inputs;
mod resistance;
mod stability;
mod titer;
mod trainability;

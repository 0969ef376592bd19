//! All tests of the training loop, as one program: each of its own would link everything again.

mod balance;
mod lora;
mod part;
mod training;

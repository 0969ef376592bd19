//! All tests of the operators, as one program: each of its own would link everything again.

mod common;
mod fused;
mod mixture;
mod operators;
mod threads;

//! All tests of the decoder and its files, as one program: each of its own would link everything again.

mod architectures;
mod blocks;
mod common;
mod decoder;
mod experts;
mod flops;
mod gguf;
mod held;
mod likelihood;
mod loading;
mod lora;
mod reading;

//! All tests of the defences, as one program: each of its own would link everything again.

mod alignment_a;
mod alignment_b;
mod common;
mod fine_tuning;
mod parity;
mod post_fine_tuning;
mod resume;
mod safe_moe;
mod shams;

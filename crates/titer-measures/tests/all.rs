//! All tests of the measures, as one program: each of its own would link everything again.

mod harness;
mod openings;
mod own_judge;
mod page;
mod rouge;

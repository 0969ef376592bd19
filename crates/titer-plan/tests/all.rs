//! All tests of specs and plans, as one program: each of its own would link everything again.

mod arms;
mod catalogue;
mod declared;
mod looks;
mod plans;
mod specs;

//! `titer watch`: a terminal app over everything in a store that runs or ran.
//!
//! Files of the store → [`feed`] (a thread) → [`world`] and [`app`] (state) → [`screens`] (view) → [`draw`]. It
//! reads, and never disturbs a run; what people may ask of runs goes through requests that runs honour.

mod app;
mod confirm;
mod draw;
mod filter;
mod keys;
mod live;
mod look;
mod palette;
mod prefs;
mod screen;
mod screens;
#[cfg(test)]
mod specimen;
mod widgets;
mod world;

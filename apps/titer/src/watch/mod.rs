//! `titer watch`: a terminal app over everything in a store that runs or ran.
//!
//! Files of the store → [`feed`] (a thread) → [`world`] and [`app`] (state) → [`screens`] (view) → [`draw`]. It
//! reads, and never disturbs a run; what people may ask of runs goes through requests that runs honour.

mod answers;
mod app;
mod confirm;
mod draw;
mod filter;
mod grids;
mod groups;
mod keys;
mod live;
mod look;
mod palette;
mod picked;
mod prefs;
mod screen;
mod screens;
mod series;
#[cfg(test)]
mod specimen;
mod stage_pane;
mod stages;
mod widgets;
mod world;

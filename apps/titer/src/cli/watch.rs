//! `titer watch`.

use clap::{Args, ValueEnum};
use titer_watch::Colour;

/// Of `titer watch`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer watch                        all experiments of the store
  titer watch apothecary             one of them, its verdicts first
  titer watch --once                 the same as plain text, and nothing else: for scripts and logs
  titer watch --once --json | jq '.experiments[] | select(.state == \"failed\")'

It reads the store and never disturbs a run: q leaves, and whatever runs goes on. ? shows all keys,
: finds anything by name, 1 to 8 and Tab change screens. s, H, r and p (stop, hold, resume, first)
ask runs for something; each says first what will happen, where, and to which processes.

Colours follow NO_COLOR and what TERM and COLORTERM say; every state has a word or a sign too.")]
pub(crate) struct WatchArgs {
    /// Experiment of `titer list experiments` [default: the one last looked at, or what runs]
    pub(crate) experiment: Option<String>,
    /// Print what there is to see as text, once; so does a stdout that is no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// With --once: print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// When to use colours
    #[arg(long, value_enum, default_value_t, value_name = "auto|always|never", hide_possible_values = true)]
    pub(crate) color: ColourName,
    /// Use ASCII only: no lines, blocks, Braille or signs
    #[arg(long)]
    pub(crate) ascii: bool,
    /// Listen to the mouse: the wheel scrolls (m switches it while running)
    #[arg(long)]
    pub(crate) mouse: bool,
    /// Ask runs for nothing, whatever is pressed
    #[arg(long)]
    pub(crate) read_only: bool,
}

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColourName {
    /// Where the terminal has them and NO_COLOR is not set
    #[default]
    Auto,
    /// Even so
    Always,
    /// No colours
    Never,
}

impl From<ColourName> for Colour {
    fn from(name: ColourName) -> Self {
        match name {
            ColourName::Auto => Self::Auto,
            ColourName::Always => Self::Always,
            ColourName::Never => Self::Never,
        }
    }
}

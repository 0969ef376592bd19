//! `titer`: measures how much an attacker must pay to undo a language model's safety.
//!
//! This program knows no mathematics: it reads what the user typed, asks titer-lab, and shows what comes
//! back. Results go to stdout, everything else to stderr.

mod cli;
mod commands;
mod exit;
mod output;
mod progress;
mod report;
mod sanitise;
#[cfg(test)]
mod specimen;
mod style;
mod table;
mod verdict_tables;
mod verdict_text;
mod wording;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::cli::Cli;
use crate::exit::Exit;

/// Training makes and drops many tensors: this allocator gives their memory out again faster.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::start_logging();
    match commands::dispatch(cli) {
        Ok(exit) => exit,
        Err(error) => Exit::of(&error),
    }
    .into()
}

//! `titer`: measures how much an attacker must pay to undo a language model's safety.
//!
//! This program knows no mathematics: it reads what the user typed, asks titer-lab, and shows what comes
//! back. Results go to stdout, everything else to stderr.

mod cli;
mod commands;
mod exit;
mod output;
mod progress;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::cli::Cli;
use crate::exit::Exit;

/// Training makes and drops many tensors: this allocator gives their memory out again faster.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Stages run side by side, each on one thread; candle's own element-wise operators would each spread over
/// all cores and make them wait for each other.
fn one_thread_per_stage() {
    for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            // SAFETY: called first in `main`: no other thread reads the environment yet.
            unsafe { std::env::set_var(name, "1") };
        }
    }
}

/// What downloads come by tells their maker nothing of this user, unless the user says otherwise.
fn tell_nobody() {
    const NAME: &str = "HF_HUB_DISABLE_TELEMETRY";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: called first in `main`: no other thread reads the environment yet.
        unsafe { std::env::set_var(NAME, "1") };
    }
}

/// Keeps freed memory for the next step: giving gigabytes back to the system and clearing them again takes
/// a sixth of a training step's time. `MIMALLOC_PURGE_DELAY` in the environment says otherwise.
fn keep_freed_memory() {
    /// `mi_option_purge_delay`, for which the binding has no name.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: the option exists and may be set at any time; -1 means never.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    }
}

/// Chat templates come with models from anywhere: another process of this program renders them.
fn render_apart() {
    // This very file, also when it was built anew or removed meanwhile.
    const THIS: &str = "/proc/self/exe";
    let program = if Path::new(THIS).exists() { Ok(THIS.into()) } else { std::env::current_exe() };
    match program {
        Ok(program) => titer_lab::templates::render_by(program),
        Err(error) => output::message(&format!(
            "the system does not say which file this program is ({error}): chat templates are rendered in this \
             process, without limits of their own"
        )),
    }
}

fn main() -> ExitCode {
    if titer_lab::templates::is_renderer() {
        return if titer_lab::templates::serve().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    one_thread_per_stage();
    tell_nobody();
    keep_freed_memory();
    render_apart();
    titer_lab::built_from(option_env!("TITER_GIT"));
    let cli = Cli::parse();
    output::start_logging();
    match commands::dispatch(cli) {
        Ok(exit) => exit,
        Err(error) => Exit::of(&error),
    }
    .into()
}

//! The repository's own chores: `cargo xtask help`.

mod bench;
mod captures;
mod ci;
mod command;
mod controls;
mod copied;
mod docs;
mod faults;
mod fuzz;
mod gpu;
mod model;
mod ranks;
mod reproduce;
mod scale;
mod slurm;
mod store_bench;
mod test;
mod validity;
mod watch_bench;
mod watch_store;
mod wheel;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The repository's own chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the demonstration on the embedded world, or another preset, and write its report
    Reproduce(reproduce::Arguments),
    /// Get a model that titer knows by name into its cache, verified
    Model(model::Arguments),
    /// Write the parts of the book that come from the code, or check that they are fresh
    Docs(docs::Arguments),
    /// Run every test
    Test(test::Arguments),
    /// Run every check, cheapest first
    Ci,
    /// Run controls, whose outcome is known beforehand: the identity at twenty seeds, and a model that never knew
    Controls,
    /// Time titer against PyTorch, Transformers and PEFT at the same work, in turn
    Bench(bench::Arguments),
    /// Kill runs, damage their store, fill their disk, many times over, and see what comes of it
    Faults(faults::Arguments),
    /// Change what strangers may hand to titer at random, and see that nothing panics, hangs or grows without bound
    Fuzz(fuzz::Arguments),
    /// Build the program for GPUs
    #[command(subcommand)]
    Gpu(gpu::Verb),
    /// Run an experiment on a real Slurm on this machine, and kill, send away and stop its jobs
    SlurmTest(slurm::Arguments),
    /// Simulate 100,000 stages on up to 10,000 devices that fail
    Scale,
    /// Measure planning, resuming, watching and tidying a store of 100,000 artifacts
    StoreBench(store_bench::Arguments),
    /// Compare the order of the defences between worlds, sizes, real models and papers
    Validity(validity::Arguments),
    /// Take the book's pictures of `titer watch`
    Captures(captures::Arguments),
    /// Measure `titer watch` over a store of 10,000 artifacts
    WatchBench(watch_bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Reproduce(arguments) => reproduce::reproduce(&arguments),
        Verb::Model(arguments) => model::model(&arguments),
        Verb::Docs(arguments) => docs::docs(&arguments),
        Verb::Test(arguments) => test::test(&arguments),
        Verb::Ci => ci::ci(),
        Verb::Controls => controls::controls(),
        Verb::Bench(arguments) => bench::bench(&arguments),
        Verb::Faults(arguments) => faults::faults(&arguments),
        Verb::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Verb::Gpu(verb) => gpu::gpu(&verb),
        Verb::Scale => scale::scale(),
        Verb::SlurmTest(arguments) => slurm::slurm_test(&arguments),
        Verb::StoreBench(arguments) => store_bench::bench(&arguments),
        Verb::Validity(arguments) => validity::validity(&arguments),
        Verb::Captures(arguments) => captures::captures(&arguments),
        Verb::WatchBench(arguments) => watch_bench::bench(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

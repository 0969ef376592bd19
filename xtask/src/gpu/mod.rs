//! `cargo xtask gpu`: the program for NVIDIA's GPUs, built where there is no GPU and no toolkit.

mod check;
mod toolkit;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::command::{cargo, root, run, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Lay out a CUDA toolkit, unless one is named, and build `titer` and what checks it with `--features cuda`
    Build(BuildArguments),
    /// On a machine with a GPU: compare what it computes with what the processor computes, and time it
    Check(check::Arguments),
}

impl Verb {
    /// The check where there is no GPU.
    pub(crate) fn on_the_processor() -> Self {
        Self::Check(check::Arguments::on_the_processor())
    }
}

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// A CUDA toolkit that is here, as `CUDA_HOME` names it; without it one is laid out in `target/` from Python's registry
    #[arg(long, value_name = "DIR")]
    toolkit: Option<PathBuf>,
    /// The GPU's compute capability, without its dot: 80 for A100, 90 for H100 and H200
    #[arg(long, value_name = "CAP", default_value_t = 90)]
    capability: u32,
}

/// Does what the verb says.
///
/// # Errors
/// When the toolkit cannot be laid out, a program does not build, or the GPU computes something else.
pub(crate) fn gpu(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Build(arguments) => build(arguments),
        Verb::Check(arguments) => check::check(arguments),
    }
}

fn build(arguments: &BuildArguments) -> Result<()> {
    let toolkit = match &arguments.toolkit {
        Some(folder) => folder.clone(),
        None => toolkit::laid_out(&root().join("target/cuda-toolkit"))?,
    };
    // In a folder of its own: with other features all that depends on candle would be built again for the processor.
    let target = root().join("target/cuda");
    let mut build =
        cargo(&["build", "--release", "--workspace", "--features", "titer/cuda", "--bin", "titer"]);
    build.args(["--example", "device_check", "--example", "bench_worker", "--target-dir"]).arg(&target);
    for name in ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"] {
        build.env(name, &toolkit);
    }
    let mut programs = vec![toolkit.join("bin")];
    programs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    build.env("PATH", std::env::join_paths(programs)?);
    build.env("CUDA_COMPUTE_CAP", arguments.capability.to_string());
    run(&mut build)?;
    say(&format!(
        "{} is built for compute capability {}",
        target.join("release/titer").display(),
        arguments.capability
    ));
    say(
        "beside it examples/device_check and examples/bench_worker, for `xtask gpu check --built …/examples`",
    );
    say("it needs the driver's libcuda.so.1, and libcublas, libcurand, libcudart and libnvrtc of CUDA 13");
    Ok(())
}

//! `cargo xtask scale`: 100,000 stages on devices that fail, by titer's planner and packer under a simulated clock.

use std::process::Command;

use anyhow::Result;

use crate::command::{build_titer, cargo, run};

/// Builds the simulation with what the program is built of, and runs it.
///
/// # Errors
/// When it does not build or fails.
pub(crate) fn scale() -> Result<()> {
    run(&mut cargo(&["build", "--release", "--workspace", "--example", "scale"]))?;
    run(&mut Command::new(build_titer()?.with_file_name("examples").join("scale")))
}

//! `cargo xtask test`: every test, in the profile whose build also serves the user.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run};

#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Runs the tests.
///
/// # Errors
/// When one fails.
pub(crate) fn test(arguments: &Arguments) -> Result<()> {
    run(cargo(&["test", "--release", "--workspace"]).args(&arguments.filter))
}

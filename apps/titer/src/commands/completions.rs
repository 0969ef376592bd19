//! `titer completions`.

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::output;

pub(super) fn completions(arguments: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "titer", &mut script);
    output::bytes(&script)?;
    Ok(Exit::Done)
}

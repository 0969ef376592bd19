//! `titer man`: one page with every verb.

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::output;

pub(super) fn man() -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    push_verbs(&mut page, &command, "titer")?;
    output::bytes(&page)?;
    Ok(Exit::Done)
}

/// The verbs of a command, each followed by the verbs that it has in turn.
fn push_verbs(page: &mut Vec<u8>, command: &Command, parent: &str) -> std::io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let title = format!("{parent} {}", verb.get_name());
        let man = Man::new(verb.clone());
        page.extend(format!(".SH \"{}\"\n", title.to_uppercase()).bytes());
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        push_verbs(page, verb, &title)?;
    }
    Ok(())
}

//! `titer completions`.

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};
use titer_plan::declared;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::output;

pub(super) fn completions(arguments: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut with_keys(Cli::command()), "titer", &mut script);
    output::bytes(&script)?;
    Ok(Exit::Done)
}

/// The command line with the keys of a spec where one is typed. They are proposed, not demanded: what is typed is
/// read by the command line without them.
fn with_keys(command: Command) -> Command {
    let catalogue = titer_lab::catalogue();
    // Clap keeps what it is given for ever; the program ends when the script is printed.
    let keep = |word: String| -> &'static str { word.leak() };
    let assigned: Vec<&str> =
        declared::overridable(&catalogue).into_iter().map(|key| keep(format!("{key}="))).collect();
    let explained = declared::declared().into_iter().map(|declared| keep(declared.path));
    let methods = catalogue.attacks.iter().chain(&catalogue.defences).map(|method| method.name);
    let explained: Vec<&str> = explained.chain(methods).collect();
    let presets: Vec<&str> = titer_lab::presets().iter().map(|preset| preset.name).collect();
    let set = |verb: Command| {
        verb.mut_arg("set", |argument| argument.value_parser(PossibleValuesParser::new(assigned.clone())))
    };
    command
        .mut_subcommand("run", set)
        .mut_subcommand("plan", set)
        .mut_subcommand("tune", set)
        .mut_subcommand("explain", |verb| {
            verb.mut_arg("key", |argument| argument.value_parser(PossibleValuesParser::new(explained)))
        })
        .mut_subcommand("init", |verb| {
            verb.mut_arg("preset", |argument| argument.value_parser(PossibleValuesParser::new(presets)))
        })
}

//! One file per verb: what the user typed in, what titer-lab says out.

mod adversary;
mod already;
mod attack;
mod beside;
mod bundle;
mod compare;
mod completions;
mod detach;
mod doctor;
mod event_folders;
mod exchange;
mod explain;
mod export;
mod gc;
mod init;
mod judge;
mod list;
mod logs;
mod man;
mod missing;
mod model;
mod opened;
mod plan;
mod power_text;
mod removal;
mod report;
mod rescore;
mod resume;
mod rm;
mod run;
mod show;
mod slurm;
mod staleness;
mod stat;
mod status;
mod stop;
mod tune;
mod verify;
mod watch;

use std::path::Path;

use titer_store::{Experiment, Store};

use crate::cli::{Cli, DEFAULT_STORE, Verb};
use crate::exit::Exit;

/// Does what was asked.
///
/// # Errors
/// Whatever stands in the way; [`Exit::of`] says it.
pub(crate) fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let store = &cli.store;
    match cli.verb {
        Verb::Run(arguments) => run::run(store, &arguments),
        Verb::Resume(arguments) => resume::resume(store, arguments),
        Verb::Status(arguments) => status::status(store, &arguments),
        Verb::Stop(arguments) => stop::stop(store, &arguments),
        Verb::Logs(arguments) => logs::logs(store, &arguments),
        Verb::Stat(arguments) => stat::stat(store, &arguments),
        Verb::Rm(arguments) => rm::rm(store, &arguments),
        Verb::Gc(arguments) => gc::gc(store, &arguments),
        Verb::Watch(arguments) => watch::watch(store, arguments),
        Verb::Attack(arguments) => attack::attack(store, &arguments),
        Verb::Tune(arguments) => tune::tune(store, &arguments),
        Verb::Rescore(arguments) => rescore::rescore(store, &arguments),
        Verb::Show(arguments) => show::show(store, &arguments),
        Verb::Compare(arguments) => compare::compare(store, &arguments),
        Verb::Report(arguments) => report::report(store, &arguments),
        Verb::Plan(arguments) => plan::plan(store, &arguments),
        Verb::Explain(arguments) => explain::explain(&arguments),
        Verb::Init(arguments) => init::init(&arguments),
        Verb::Schema => explain::schema(),
        Verb::List(arguments) => list::list(store, &arguments),
        Verb::Export(arguments) => export::export(store, &arguments),
        Verb::Bundle(arguments) => bundle::bundle(store, &arguments),
        Verb::Verify(arguments) => verify::verify(store, &arguments),
        Verb::Model(verb) => model::model(store, &verb),
        Verb::Judge(verb) => judge::judge(&verb),
        Verb::Doctor(arguments) => doctor::doctor(&arguments),
        Verb::Completions(arguments) => completions::completions(&arguments),
        Verb::Man => man::man(),
    }
}

/// An experiment that was saved.
///
/// # Errors
/// When there is none of that name, with those that there are.
fn existing(store: &Store, name: &str) -> titer_lab::Result<Experiment> {
    let experiment = store.experiment(name)?;
    experiment.plan_json()?;
    Ok(experiment)
}

/// What a command to be typed next needs to find a store that is not where it would look.
fn store_flag(store: &Store) -> String {
    if store.root() == Path::new(DEFAULT_STORE) {
        String::new()
    } else {
        format!(" --store {}", quoted(&store.root().display().to_string()))
    }
}

/// What was typed, to be typed again.
fn same_command() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("titer".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_stays_one_in_a_shell() {
        let check = |word: &str, shown: &str| assert_eq!(quoted(word), shown);
        check("/data/a-b_1.2", "/data/a-b_1.2");
        check("my store", "'my store'");
        check("it's", "'it'\\''s'");
        check("$HOME", "'$HOME'");
        check("", "''");
    }
}

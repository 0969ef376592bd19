//! One file per verb: what the user typed in, what titer-lab says out.

mod adversary;
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
mod init;
mod judge;
mod list;
mod man;
mod model;
mod opened;
mod plan;
mod power_text;
mod report;
mod rescore;
mod run;
mod show;
mod staleness;
mod tune;
mod verify;
mod watch;

use std::path::Path;

use titer_store::Store;

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

/// What a command to be typed next needs to find a store that is not where it would look.
fn store_flag(store: &Store) -> String {
    if store.root() == Path::new(DEFAULT_STORE) {
        String::new()
    } else {
        format!(" --store {}", store.root().display())
    }
}

//! `titer rm`: removes an experiment.

use std::path::Path;

use titer_store::Store;

use super::{removal, store_flag};
use crate::cli::RmArgs;
use crate::exit::Exit;
use crate::output;

pub(super) fn rm(store: &Path, arguments: &RmArgs) -> anyhow::Result<Exit> {
    let store = Store::open(store)?;
    let RmArgs { experiment, artifacts, dry_run, json } = arguments;
    // An error of the lab's says whether it was one of usage.
    let removed =
        store.remove_experiment(experiment, *artifacts, *dry_run).map_err(titer_lab::Error::from)?;
    removal::say(&removed, *dry_run, *json)?;
    if !artifacts && !dry_run {
        let flag = store_flag(&store);
        output::message(&format!(
            "what it measured stays until `titer gc{flag}`, or until another run uses it"
        ));
    }
    Ok(Exit::Done)
}

//! `titer resume`.

use std::path::Path;

use titer_store::{Request, Store};

use super::{existing, run};
use crate::cli::ResumeArgs;
use crate::exit::Exit;
use crate::output;

pub(super) fn resume(store: &Path, arguments: ResumeArgs) -> anyhow::Result<Exit> {
    let opened = Store::open(store)?;
    let experiment = existing(&opened, &arguments.experiment)?;
    if !experiment.runs()?.is_empty() && experiment.control()?.hold > 0 {
        experiment.ask(Request::Resume)?;
        output::message(&format!("runs of {} were asked to go on", arguments.experiment));
    }
    run::run(store, &arguments.into())
}

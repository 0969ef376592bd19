//! `titer gc`: removes what no experiment needs.

use std::collections::BTreeSet;
use std::path::Path;

use titer_lab::Policy;
use titer_store::Store;

use super::removal;
use crate::cli::GcArgs;
use crate::exit::Exit;

pub(super) fn gc(store: &Path, arguments: &GcArgs) -> anyhow::Result<Exit> {
    let policies: BTreeSet<Policy> = arguments.policy.iter().map(|name| Policy::from(*name)).collect();
    let collected = titer_lab::collect(&Store::open(store)?, &policies, arguments.grace, arguments.dry_run)?;
    removal::say(&collected, arguments.dry_run, arguments.json)?;
    Ok(Exit::Done)
}

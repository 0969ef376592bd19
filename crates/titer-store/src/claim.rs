//! What living processes work with: artifacts that nothing may remove, whether or not an experiment names them.
//!
//! A claim is two files of `claims/`: the list of artifacts, written first, and a lease, taken through the store's gate.
//! Whoever collects holds the gate while it reads the claims and moves away what nobody needs. So a run that claims
//! before it looks what is there finds either all that it claimed, or what is left of it, and never loses any later.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use titer_plan::StageHash;

use crate::atomic;
use crate::error::{Error, Result};
use crate::lease::{self, Lease};
use crate::links;
use crate::name;
use crate::store::Store;

/// The ending of lists.
const LIST: &str = "list";
/// The ending of leases.
const LEASE: &str = "json";

/// Artifacts that this process works with, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Claim {
    list: PathBuf,
    _lease: Lease,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // One that stays belongs to nobody once its lease is gone, and is swept.
        let _ = atomic::remove(&self.list);
    }
}

impl Store {
    /// Says that this process works with these artifacts, which are then not removed. Claim before you look what
    /// is there.
    ///
    /// # Errors
    /// When the store cannot be written; then nothing can be removed from it either.
    pub fn claim<'a>(&self, hashes: impl IntoIterator<Item = &'a StageHash>) -> Result<Claim> {
        static CLAIMS: AtomicU64 = AtomicU64::new(0);
        let folder = self.claims_path();
        atomic::create_folder(&folder)?;
        let number = CLAIMS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", name::of_hash(&lease::this_process()));
        let list = folder.join(format!("{name}.{LIST}"));
        let lines: String = hashes.into_iter().map(|hash| format!("{hash}\n")).collect();
        atomic::write_bytes(&list, lines.as_bytes())?;
        let path = folder.join(format!("{name}.{LEASE}"));
        let lease = Lease::take(&path, &self.gate_path(), self.terms()).inspect_err(|_| {
            let _ = atomic::remove(&list);
        })?;
        Ok(Claim { list, _lease: lease })
    }

    pub(crate) fn claims_path(&self) -> PathBuf {
        self.root().join("claims")
    }
}

/// What is claimed by processes that are not surely gone.
pub(crate) fn claimed(store: &Store, now: SystemTime, patience: Duration) -> Result<BTreeSet<StageHash>> {
    let mut claimed = BTreeSet::new();
    for list in lists(store)? {
        if lease::is_over(&list.with_extension(LEASE), now, patience)? {
            continue;
        }
        let text = match links::read_text(&list) {
            // It was given back this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text.map_err(Error::reading(&list))?,
        };
        claimed.extend(text.lines().map(|line| StageHash(line.to_owned())));
    }
    Ok(claimed)
}

/// The files of claims whose processes are gone.
pub(crate) fn stale(store: &Store, now: SystemTime, patience: Duration) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    for path in atomic::entries(&store.claims_path())? {
        let old = is_of_claims(&path) && atomic::age(&path, now) > patience;
        if old && lease::is_over(&path.with_extension(LEASE), now, patience)? {
            stale.push(path);
        }
    }
    Ok(stale)
}

fn lists(store: &Store) -> Result<Vec<PathBuf>> {
    let files = atomic::entries(&store.claims_path())?;
    Ok(files.into_iter().filter(|path| ends_with(path, LIST) && links::is_file(path)).collect())
}

fn is_of_claims(path: &Path) -> bool {
    (ends_with(path, LIST) || ends_with(path, LEASE)) && links::is_file(path)
}

fn ends_with(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

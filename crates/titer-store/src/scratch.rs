//! A store beside a store, for what is computed again: it is lent sealed artifacts and goes when it is dropped.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::artifact::Artifact;
use crate::bundle::OF_ARTIFACT;
use crate::error::{Error, Result};
use crate::links;
use crate::name;
use crate::store::Store;

/// A temporary store.
#[derive(Debug)]
pub struct Scratch {
    _folder: TempDir,
    store: Store,
}

impl Store {
    /// A temporary store beside this one, where files can be shared; elsewhere where nothing may be written there.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn scratch(&self) -> Result<Scratch> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".titer-replay-");
        let beside = fs::canonicalize(self.root()).ok();
        let beside =
            beside.as_deref().and_then(Path::parent).and_then(|parent| builder.tempdir_in(parent).ok());
        let folder = match beside {
            Some(folder) => folder,
            None => builder.tempdir().map_err(Error::writing(&std::env::temp_dir()))?,
        };
        let store = Store::open_or_create(folder.path())?;
        Ok(Scratch { _folder: folder, store })
    }
}

impl Scratch {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts a sealed artifact of another store into this one: by links to its files, which nobody writes to, or by
    /// copies where there can be none.
    ///
    /// # Errors
    /// When it is not sealed, or cannot be copied.
    pub fn lend(&self, artifact: &Artifact) -> Result<()> {
        let to = self.store.artifact(artifact.hash());
        let manifest = artifact.manifest()?;
        let files = manifest.files.iter().map(|file| file.name.as_str());
        files.clone().try_for_each(name::check_payload)?;
        for name in files.chain(OF_ARTIFACT) {
            let (from, to) = (artifact.folder().join(name), to.folder().join(name));
            links::refuse_below(artifact.folder(), &from)?;
            let parent = to.parent().unwrap_or(to.as_path());
            fs::create_dir_all(parent).map_err(Error::writing(parent))?;
            if from.symlink_metadata().is_ok() && fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).map_err(Error::writing(&to))?;
            }
        }
        Ok(())
    }
}

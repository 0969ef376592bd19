//! Titer's own cache of models by name, filled by `cargo xtask model NAME`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A model that titer knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// As typed.
    pub name: &'static str,
    /// SHA-256 of its GGUF file, in hexadecimal.
    pub sha256: &'static str,
    /// Size of that file.
    pub bytes: u64,
    /// What whoever takes it agrees to, where that is more than to name its makers.
    pub terms: Option<&'static str>,
}

/// The models that titer knows by name.
pub const KNOWN: [Known; 2] = [
    Known {
        name: "smollm2-135m",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes: 98_362_432,
        terms: None,
    },
    Known {
        name: "gemma3-270m",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        bytes: 253_113_024,
        terms: Some(
            "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms: they \
             and the policy of prohibited uses named there hold for whoever takes this file",
        ),
    },
];

/// The file of a known model inside its folder.
const FILE: &str = "model.gguf";

/// The known model of that name.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// Where known models are kept: `$TITER_CACHE/models`, else `titer/models` in the user's cache folder
/// (`$XDG_CACHE_HOME` or `~/.cache`; on macOS `~/Library/Caches`).
///
/// # Errors
/// When neither variable nor a home folder is set.
pub fn models_dir() -> Result<PathBuf> {
    models_dir_from(|name| env::var_os(name))
}

/// As [`models_dir`], with the variables from `get`.
///
/// # Errors
/// When neither variable nor a home folder is set.
pub fn models_dir_from(get: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    Ok(cache_dir_from(get)?.join("models"))
}

/// Titer's own cache: `$TITER_CACHE`, else `titer` in the user's cache folder.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    cache_dir_from(|name| env::var_os(name))
}

fn cache_dir_from(get: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let set = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let platform = || {
        if cfg!(target_os = "macos") {
            return Some(set("HOME")?.join("Library/Caches"));
        }
        set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))
    };
    set("TITER_CACHE").or_else(|| Some(platform()?.join("titer"))).ok_or_else(|| Error::BadSetting {
        variable: "TITER_CACHE".to_owned(),
        problem: "not set, and neither is HOME; set it to a folder for titer's models".to_owned(),
    })
}

impl Known {
    /// Where its file belongs, there or not.
    ///
    /// # Errors
    /// As [`models_dir`].
    pub fn path(&self) -> Result<PathBuf> {
        Ok(self.path_in(&models_dir()?))
    }

    /// Where its file belongs below a folder of models.
    pub fn path_in(&self, models: &Path) -> PathBuf {
        models.join(self.name).join(FILE)
    }
}

/// The file of a known model, if it is in titer's cache and has its size. Its content was verified
/// when it was put there.
pub fn known_model(name: &str) -> Option<PathBuf> {
    known_model_in(&models_dir().ok()?, name)
}

/// As [`known_model`], below a folder of models.
pub fn known_model_in(models: &Path, name: &str) -> Option<PathBuf> {
    let known = known(name)?;
    let path = known.path_in(models);
    let found = path.metadata().ok()?;
    (found.is_file() && found.len() == known.bytes).then_some(path)
}

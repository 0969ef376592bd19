//! A Python with what the peers need.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::{root, run};

const PACKAGES: [&str; 4] = ["torch", "transformers", "peft", "gguf"];

/// The interpreter that was named, or one of an environment in `target/`, which is made where there is none.
///
/// # Errors
/// When it lacks a package, or there is no Python or no registry to make an environment from.
pub(super) fn interpreter(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        ensure!(is_able(named), "{} lacks one of {}", named.display(), PACKAGES.join(", "));
        return Ok(named.to_owned());
    }
    let folder = root().join("target/bench-python");
    let python = folder.join("bin/python");
    if !is_able(&python) {
        let install = || -> Result<()> {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
            // The pip that came with Python may be too old to read what the registry says of a package.
            let pip = || {
                let mut pip = Command::new(&python);
                pip.args(["-m", "pip", "install", "--quiet"]);
                pip
            };
            run(pip().args(["--upgrade", "pip"]))?;
            run(pip().args(PACKAGES))
        };
        install().context("cannot make an environment of Python; name one with --python")?;
        ensure!(is_able(&python), "the environment in {} does not work", folder.display());
    }
    Ok(python)
}

fn is_able(python: &Path) -> bool {
    let import = format!("import {}", PACKAGES.join(", "));
    let status = Command::new(python)
        .args(["-c", &import])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

//! A CUDA toolkit from the wheels that NVIDIA puts into Python's registry.
//!
//! The driver's `libcuda` is not among them: a library without content, under the right name, stands in for it while
//! linking. On a machine with a GPU the loader finds the real one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::{cargo, run};

/// What candle's kernels are compiled with and the program is linked to; of one version, so that they fit each other.
const WHEELS: [&str; 8] = [
    "nvidia-cuda-nvcc==13.0.*",
    "nvidia-nvvm==13.0.*",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
    "nvidia-cuda-nvrtc==13.0.*",
    "nvidia-cublas==13.0.*",
    "nvidia-curand==10.4.*",
];

/// The toolkit's root below `folder`, laid out where it is not yet.
///
/// # Errors
/// When the registry cannot be reached, or there is no Python or no C compiler.
pub(super) fn laid_out(folder: &Path) -> Result<PathBuf> {
    let toolkit = folder.join("nvidia/cu13");
    if !toolkit.join("bin/nvcc").exists() {
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(folder).args(WHEELS);
        run(&mut install)
            .context("the wheels of the toolkit cannot be had; name a toolkit with --toolkit")?;
    }
    let libraries = toolkit.join("lib");
    plain_names(&libraries)?;
    let driver = libraries.join("libcuda.so");
    if !driver.exists() {
        stand_in(&driver)?;
    }
    Ok(toolkit)
}

/// `libcublas.so` beside `libcublas.so.13`, as linkers look for it.
fn plain_names(libraries: &Path) -> Result<()> {
    let entries = fs::read_dir(libraries).with_context(|| format!("cannot read {}", libraries.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        let Some((plain, _)) = name.to_str().and_then(|name| name.split_once(".so.")) else { continue };
        let link = libraries.join(format!("{plain}.so"));
        if link.symlink_metadata().is_err() {
            symlink(&name, &link).with_context(|| format!("cannot make {}", link.display()))?;
        }
    }
    Ok(())
}

/// A library with the names of the driver's functions and nothing in them.
fn stand_in(library: &Path) -> Result<()> {
    let functions = functions(&driver_sources()?)?;
    ensure!(functions.len() > 100, "only {} functions of the driver were found in cudarc", functions.len());
    let source = library.with_extension("c");
    let text: String = functions.iter().map(|name| format!("void cu{name}(void) {{}}\n")).collect();
    fs::write(&source, text).with_context(|| format!("cannot write {}", source.display()))?;
    let mut link = Command::new("cc");
    link.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"]).arg(library).arg(&source);
    run(&mut link)
}

/// Where cudarc, through which candle calls the driver, declares the driver's functions.
fn driver_sources() -> Result<PathBuf> {
    let mut command = cargo(&["metadata", "--format-version", "1", "--all-features"]);
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == "cudarc")
        .find_map(|package| package["manifest_path"].as_str());
    let manifest = manifest.context("the workspace does not depend on cudarc")?;
    Ok(Path::new(manifest).with_file_name("src").join("driver/sys"))
}

/// The names of all functions of the driver that are declared below a folder.
fn functions(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                names.extend(declared(&text).map(str::to_owned));
            }
        }
    }
    Ok(names)
}

/// `Init` of `pub fn cuInit(…)`.
fn declared(source: &str) -> impl Iterator<Item = &str> {
    source.split("fn cu").skip(1).filter_map(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')?;
        rest.starts_with(|first: char| first.is_ascii_uppercase()).then(|| &rest[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_driver_are_found_by_their_names() {
        let source =
            "pub fn cuInit(flags: u32); unsafe fn cuMemAlloc_v2 (x: u8); fn custom(); fn cublasCreate();";
        assert_eq!(declared(source).collect::<Vec<_>>(), ["Init", "MemAlloc_v2"]);
    }

    #[test]
    fn libraries_get_the_names_that_linkers_look_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libcublas.so.13"), "x").unwrap();
        for _ in 0..2 {
            plain_names(folder.path()).unwrap();
        }
        assert_eq!(fs::read_to_string(folder.path().join("libcublas.so")).unwrap(), "x");
    }
}

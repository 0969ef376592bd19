//! Tells the program of which git revision it is built; nothing outside a checkout or without git.
//!
//! Runs again when HEAD moves or a source changes, at which the program is built anew in any case: whether the sources
//! are those of the revision is part of what it tells.

use std::path::Path;
use std::process::Command;

/// What the program is built from.
const SOURCES: [&str; 5] = [".", "../../crates", "../../data", "../../Cargo.toml", "../../Cargo.lock"];

fn main() {
    SOURCES.iter().for_each(|sources| again_when(Path::new(sources)));
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    // A branch is a file of its own or a line of `packed-refs`; HEAD names it.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]).unwrap_or_default();
    for name in ["HEAD", "logs/HEAD", "packed-refs", branch.as_str()] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            again_when(Path::new(&path));
        }
    }
    let status = ["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--"];
    let dirty = match git(&[&status[..], &SOURCES].concat()) {
        Some(changes) if changes.is_empty() => "",
        _ => "-dirty",
    };
    println!("cargo::rustc-env=TITER_GIT={head}{dirty}");
}

/// Names what is there; of what is not, cargo would think that it changes every time.
fn again_when(path: &Path) {
    if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// What git says, if there is a git that says something.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

//! A folder of its own to run the program in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Ran, titer};

/// The spec of a world and training too small to mean anything: a run takes two seconds.
pub const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tiny.toml");

/// A folder of its own to run the program in, with a store; removed in the end.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// An empty folder. Commands know no store but the one in it.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    #[expect(clippy::new_without_default, reason = "makes a folder")]
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    /// A folder whose store holds the finished run of [`TINY`].
    ///
    /// # Panics
    /// When the run fails.
    #[track_caller]
    pub fn finished() -> Self {
        let place = Self::new();
        place.run(&["run", TINY]).ends(0);
        place
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of an artifact in the store.
    pub fn artifact(&self, hash: &str) -> PathBuf {
        self.path("store/artifacts").join(hash)
    }

    /// The seal of an artifact.
    pub fn seal(&self, hash: &str) -> PathBuf {
        self.artifact(hash).join("SEALED")
    }

    /// The program, about to run in the folder, away from the settings of whoever runs the tests.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(titer());
        self.settle(command.args(arguments));
        command
    }

    /// Lets `command` run in the folder, away from the settings of whoever runs the tests.
    pub fn settle(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env("TITER_STORE", self.path("store"))
            .env("HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        for name in ["RUST_LOG", "RUST_BACKTRACE", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("titer can be started");
        Ran::new(format!("titer {}", arguments.join(" ")), &output)
    }

    /// Runs a shell's command line to its end; `titer` is the program.
    ///
    /// # Panics
    /// When there is no shell.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Ran {
        let mut command = Command::new("sh");
        self.settle(command.args(["-c", &format!("titer() {{ \"$TITER\" \"$@\"; }}; {line}")]));
        let output = command.env("TITER", titer()).output().expect("sh can be started");
        Ran::new(line.to_owned(), &output)
    }

    /// Starts the program and lets it run.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("titer can be started")
    }

    /// The stages of a spec, as `titer plan --json` tells them.
    ///
    /// # Panics
    /// When the spec has mistakes.
    #[track_caller]
    pub fn stages(&self, arguments: &[&str]) -> Vec<Value> {
        let plan = self.run(&[&["plan", "--json"], arguments].concat()).ends(0).json();
        plan["stages"].as_array().expect("a list of stages").clone()
    }

    /// The hash of the first stage of a kind.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn stage(&self, kind: &str) -> String {
        let stages = self.stages(&[TINY]);
        let stage = stages.iter().find(|stage| stage["kind"] == kind).expect("a stage of that kind");
        stage["hash"].as_str().expect("stages have hashes").to_owned()
    }

    /// Cuts a file short.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn truncate(path: &Path, bytes: u64) {
        let file = fs::OpenOptions::new().write(true).open(path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.set_len(bytes).expect("the file can be cut");
    }
}

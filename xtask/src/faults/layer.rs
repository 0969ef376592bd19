//! A layer between a run and the files of its store: `layer.c`, compiled here and loaded under the unchanged program.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use titer_tests::{Place, Ran, TINY};

use super::store::Left;

/// What the system may say.
pub(super) const EPERM: i32 = 1;
pub(super) const EINTR: i32 = 4;
pub(super) const EIO: i32 = 5;
pub(super) const EACCES: i32 = 13;
pub(super) const EXDEV: i32 = 18;
pub(super) const EMFILE: i32 = 24;
pub(super) const ENOSPC: i32 = 28;
pub(super) const ENOLCK: i32 = 37;
pub(super) const ENOSYS: i32 = 38;
pub(super) const EOPNOTSUPP: i32 = 95;

/// What the system says in words.
pub(super) fn in_words(error: i32) -> String {
    io::Error::from_raw_os_error(error).to_string()
}

/// What is done to a call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Deed {
    /// It is counted.
    #[default]
    Count,
    /// A part is written.
    Shorten,
    /// A part is written, and the process dies.
    Tear,
    /// It fails.
    Fail(i32),
}

/// What a run meets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fault {
    pub(super) deed: Deed,
    /// To which calls: `write`, `sync`, `rename`, `create`, `open`, `read`, `lock`, `make`, `remove`, `cut`.
    pub(super) calls: &'static str,
    /// The first of them, from 1.
    pub(super) from: usize,
    /// The distance of the next ones; 0: there is no other.
    pub(super) every: usize,
    /// How much of a write is done.
    pub(super) seed: usize,
    /// To calls whose path has this in it.
    pub(super) within: &'static str,
    /// After so many milliseconds the run is asked to stop, 0: never. Each running stage then saves a checkpoint.
    pub(super) stop: usize,
}

/// How a run went that met a fault.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) ran: Ran,
    /// The calls that met it, with their files.
    pub(super) calls: Vec<(String, PathBuf)>,
    /// What was written down, line by line.
    pub(super) log: Vec<String>,
}

/// How many calls of each kind a run makes.
pub(super) type Calls = BTreeMap<String, usize>;

/// The layer, compiled.
#[derive(Debug)]
pub(super) struct Layer {
    place: Place,
    calls: Calls,
}

impl Layer {
    /// Compiles it, and counts the calls of a run on which nothing else is done.
    ///
    /// # Errors
    /// Without a C compiler, or when the run comes to anything else than without a layer.
    pub(super) fn build(expected: &Left) -> Result<Self> {
        let place = Place::new();
        let source = place.path("layer.c");
        fs::write(&source, include_str!("layer.c"))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-pthread", "-o"]).arg(place.path("layer.so")).arg(source);
        let output = compiler.output().context("cannot start cc: the layer needs a C compiler")?;
        ensure!(output.status.success(), "the layer: {}", String::from_utf8_lossy(&output.stderr));
        let mut layer = Self { place, calls: Calls::new() };
        let place = Place::new();
        layer.calls = layer.count(&place)?;
        expected.check(&place, "nothing but the layer")?;
        Ok(layer)
    }

    /// How many calls a run makes in a place that meets nothing.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub(super) fn count(&self, place: &Place) -> Result<Calls> {
        let met = self.run(place, &Fault::default(), false)?;
        ensure!(met.ran.code() == Some(0), "over the layer: {}", met.ran);
        let made = |line: &String| {
            let (call, number) = line.strip_prefix("made\t")?.split_once('\t')?;
            Some((call.to_owned(), number.parse().ok()?))
        };
        let calls: Calls = met.log.iter().filter_map(made).collect();
        ensure!(calls.len() > 5, "the layer sees too little: {calls:?}");
        Ok(calls)
    }

    /// How many calls of a kind an undisturbed run makes.
    pub(super) fn made(&self, call: &str) -> usize {
        self.calls.get(call).copied().unwrap_or_default()
    }

    /// The program, about to run over this layer. What is `recorded` can be undone as if the power had failed.
    pub(super) fn command(&self, place: &Place, fault: &Fault, recorded: bool) -> Result<Command> {
        let mut command = place.command(&["run", TINY, "--jobs=2"]);
        let home = fs::canonicalize(place.path("."))?;
        let (log, kept) = (home.join("layer.log"), home.join("kept"));
        for left in [&log, &kept] {
            let gone = if left.is_dir() { fs::remove_dir_all(left) } else { fs::remove_file(left) };
            gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        }
        let (deed, error) = match fault.deed {
            Deed::Count => ("count", 0),
            Deed::Shorten => ("short", 0),
            Deed::Tear => ("torn", 0),
            Deed::Fail(error) => ("fail", error),
        };
        command
            .env("LD_PRELOAD", self.place.path("layer.so"))
            .env("TITER_STORE", home.join("store"))
            .env("LAYER_BELOW", home.join("store"))
            .env("LAYER_LOG", log)
            .env("LAYER_DO", deed)
            .env("LAYER_CALLS", fault.calls)
            .env("LAYER_FROM", fault.from.to_string())
            .env("LAYER_EVERY", fault.every.to_string())
            .env("LAYER_ERROR", error.to_string())
            .env("LAYER_SEED", fault.seed.to_string())
            .env("LAYER_WITHIN", fault.within);
        if recorded {
            fs::create_dir(&kept)?;
            command.env("LAYER_KEEP", kept);
        }
        Ok(command)
    }

    /// Runs the program over this layer to its end, or its death.
    pub(super) fn run(&self, place: &Place, fault: &Fault, recorded: bool) -> Result<Met> {
        let mut command = self.command(place, fault, recorded)?;
        let run =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("titer can be started")?;
        if fault.stop > 0 {
            sleep(Duration::from_millis(fault.stop as u64));
            // It may be over, and is waited for: no other has its number.
            Command::new("kill").args(["-INT", &run.id().to_string()]).stderr(Stdio::null()).status()?;
        }
        let output = run.wait_with_output()?;
        let ran = Ran::new(format!("titer run, over {fault:?}"), &output);
        let log = fs::read_to_string(place.path("layer.log")).context("the layer was not loaded")?;
        let log: Vec<String> = log.lines().map(str::to_owned).collect();
        let met = |line: &String| {
            let (call, path) = line.strip_prefix("met\t")?.split_once('\t')?;
            Some((call.to_owned(), PathBuf::from(path)))
        };
        Ok(Met { ran, calls: log.iter().filter_map(met).collect(), log })
    }
}

/// The names by which a message may mean a file: its own and that of its folder, without the marks of temporary ones.
pub(super) fn names(path: &Path) -> Vec<String> {
    let last = path.iter().rev().take(2).map(|name| name.to_string_lossy());
    last.map(|name| plain(&name)).collect()
}

/// A file's name, or what a temporary one is to become.
pub(super) fn plain(name: &str) -> String {
    match name.strip_prefix('.').and_then(|rest| rest.split_once('.')) {
        Some((number, rest)) if number.starts_with(|first: char| first.is_ascii_digit()) => rest.to_owned(),
        _ => name.to_owned(),
    }
}

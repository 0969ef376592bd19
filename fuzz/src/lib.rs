//! What strangers may hand to titer, changed at random: the parts that the targets share.
//!
//! A target is a file in `fuzz_targets/` with what it begins from (`seeds`) and what is done with bytes. A finding is
//! whatever ends the process: a panic that nobody catches, more memory than [`memory::MOST`] at once, more processor
//! time than [`SECONDS`] for one input, a stack that runs over, a file outside of the target's own folder that is looked at.

mod canary;
mod counters;
mod memory;
pub mod models;
pub mod parts;
mod stack;
pub mod stores;
mod words;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

pub use canary::OUTSIDE;

/// Processor time that one input may take, in seconds: its own process's, so that a busy machine makes no findings.
pub const SECONDS: f64 = 10.0;

/// The argument by which a target writes what it begins from and ends.
const SEEDS: &str = "--seeds";

/// What the last panic said and where, caught or not.
static SAID: Mutex<String> = Mutex::new(String::new());

/// A fuzz target: `seeds` is a function that gives the files to begin from, the body is run on bytes.
#[macro_export]
macro_rules! target {
    ($seeds:path, |$bytes:ident| $body:expr) => {
        libfuzzer_sys::fuzz_target!(init: $crate::begin($seeds), |$bytes: &[u8]| { $crate::guarded(|| $body) });
    };
}

/// What a target begins from: names and bytes.
pub type Seeds = Vec<(String, Vec<u8>)>;

/// Is called before the first input.
pub fn begin(seeds: fn() -> Seeds) {
    // What renders templates for a target is its own program, as it is titer's, and counts where it came with it.
    counters::share();
    if titer_lab::templates::is_renderer() {
        let served = titer_lab::templates::serve();
        std::process::exit(i32::from(served.is_err()));
    }
    stack::guard();
    let home = folder().join("home");
    fs::create_dir_all(&home).expect("the target's folder can be written");
    let mut arguments = std::env::args_os().skip(1);
    let threads = ["RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "CANDLE_NUM_THREADS", "HF_HUB_OFFLINE"];
    // SAFETY: nothing else runs yet.
    unsafe {
        threads.iter().for_each(|name| std::env::set_var(name, "1"));
        for name in ["HOME", "HF_HOME", "XDG_CACHE_HOME", "TITER_CACHE"] {
            std::env::set_var(name, &home);
        }
    }
    if let Ok(program) = std::env::current_exe() {
        titer_lab::templates::render_by(program);
    }
    if arguments.next().is_some_and(|argument| argument == SEEDS) {
        let to = PathBuf::from(arguments.next().expect("a folder for the seeds"));
        fs::create_dir_all(&to).expect("the folder for the seeds can be made");
        let seeds = seeds();
        fs::write(to.with_extension("dict"), words::dictionary(&seeds))
            .expect("the dictionary can be written");
        for (name, bytes) in seeds {
            fs::write(to.join(name.replace('/', "-")), bytes)
                .expect("the folder for the seeds can be written");
        }
        std::process::exit(0);
    }
    std::panic::set_hook(Box::new(|panic| {
        *SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = panic.to_string();
    }));
    canary::watch();
    stack::say_at_the_end();
}

/// Runs a target's body on one input; whatever is a finding ends the process.
pub fn guarded(body: impl FnOnce()) {
    let before = stack::processor_seconds();
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        finding(&SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
    let took = stack::processor_seconds() - before;
    if took > SECONDS {
        finding(&format!("it took {took:.1} s of processor time"));
    }
    if let Some(touched) = canary::touched() {
        finding(&format!("{touched} was looked at, outside of the folder"));
    }
}

fn finding(what: &str) -> ! {
    eprintln!("finding: {what}");
    std::process::abort()
}

/// A folder of this process alone, in memory where the system has one there.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let parent = std::env::var_os("TITER_FUZZ_FOLDER").map_or(parent, PathBuf::from);
        let folder = parent.join(format!("titer-fuzz-{}", std::process::id()));
        fs::create_dir_all(folder.join("in")).expect("a folder to work in");
        folder.join("in")
    })
}

/// Writes a file in the target's folder.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("a folder in the target's own");
    }
    fs::write(&path, bytes).expect("a file in the target's folder");
    path
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The files of a folder of the repository with that ending, by name.
pub fn files(path: &str, ending: &str) -> Seeds {
    let entries = fs::read_dir(repository(path)).expect("a folder of the repository");
    let mut found: Seeds = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, fs::read(path).expect("a file of the repository"))
        })
        .collect();
    found.sort();
    found
}

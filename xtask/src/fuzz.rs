//! `cargo xtask fuzz`: what strangers may hand to titer, changed at random under libFuzzer, on the stable compiler.
//!
//! The targets are in `fuzz/`, laid out as cargo-fuzz likes it, a workspace of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::scope;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command::{build_titer, cargo, print, root, run, say};

/// What makes the compiler count what was reached, and check all arithmetic.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Where cargo-fuzz keeps what ended a target.
const FINDINGS: &str = "artifacts";

/// Of an input, in bytes.
const LONGEST: usize = 64 << 10;

/// Bounds that libFuzzer holds a process to: seconds of one input by the clock, memory in MiB. The targets
/// themselves count processor time and what is allocated.
const LIMITS: [&str; 4] =
    ["-timeout=90", "-rss_limit_mb=4096", "-malloc_limit_mb=0", "-report_slow_units=100000"];

/// As large as the stack of a thread, in KiB.
const STACK: &str = "ulimit -s 2048; ulimit -c 0; exec \"$0\" \"$@\"";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names of targets [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Processor time of each target, in minutes
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// Targets at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
}

/// Where everything of one target is.
struct Target {
    name: String,
    program: PathBuf,
    /// What it begins from, made anew each time.
    seeds: PathBuf,
    /// What was found worth keeping, from one time to the next.
    corpus: PathBuf,
    /// Inputs that ended it.
    findings: PathBuf,
    log: PathBuf,
}

/// What came of one target.
#[derive(Debug, Default, Clone)]
struct Outcome {
    executions: u64,
    seconds: f64,
    reached: u64,
    kept: u64,
    peak: u64,
    findings: Vec<String>,
}

/// Runs the targets.
///
/// # Errors
/// When there is a finding, or a target cannot be built or started.
pub(crate) fn fuzz(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.minutes > 0.0 && arguments.jobs > 0, "--minutes and --jobs must be more than 0");
    let known = names()?;
    if let Some(unknown) = arguments.targets.iter().find(|name| !known.contains(*name)) {
        bail!("there is no target {unknown}: there are {}", known.into_iter().collect::<Vec<_>>().join(", "));
    }
    let wanted = |name: &&String| arguments.targets.is_empty() || arguments.targets.contains(name);
    let programs = build()?;
    let store = finished_store()?;
    let targets: Vec<Target> = known.iter().filter(wanted).map(|name| Target::new(name, &programs)).collect();
    let left = Mutex::new(targets.iter());
    let outcomes = Mutex::new(Vec::new());
    scope(|scope| {
        for _ in 0..arguments.jobs.min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = next(&left) {
                    let outcome = target.run(arguments.minutes * 60.0, &store);
                    let said = match &outcome {
                        Ok(outcome) => outcome.in_words(),
                        Err(error) => format!("error: {error:#}"),
                    };
                    say(&format!("{}: {said}", target.name));
                    push(&outcomes, (target.name.clone(), outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    table(outcomes)
}

fn next<'a>(left: &Mutex<std::slice::Iter<'a, Target>>) -> Option<&'a Target> {
    left.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

fn push<T>(to: &Mutex<Vec<T>>, value: T) {
    to.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(value);
}

fn table(outcomes: Vec<(String, Result<Outcome>)>) -> Result<()> {
    print("| target | executions | processor time | edges | corpus | peak memory | findings |")?;
    print("|---|---:|---:|---:|---:|---:|---|")?;
    let mut found = Vec::new();
    for (name, outcome) in outcomes {
        let Outcome { executions, seconds, reached, kept, peak, findings } =
            outcome.with_context(|| name.clone())?;
        let what = if findings.is_empty() { "none".to_owned() } else { findings.join("; ") };
        print(&format!(
            "| `{name}` | {executions} | {seconds:.0} s | {reached} | {kept} | {peak} MiB | {what} |"
        ))?;
        found.extend(findings.into_iter().map(|finding| format!("{name}: {finding}")));
    }
    ensure!(found.is_empty(), "findings:\n{}", found.join("\n"));
    Ok(())
}

/// The names of all targets.
fn names() -> Result<BTreeSet<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

/// Builds all targets; their folder.
fn build() -> Result<PathBuf> {
    let version =
        Command::new("rustc").arg("-vV").current_dir(root()).output().context("cannot start rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let folder = root().join("target/fuzz");
    // With a target, so that build scripts and macros are built without counters.
    let mut command =
        cargo(&["build", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--target", host]);
    command.env("RUSTFLAGS", FLAGS).env("RUSTC_WRAPPER", root().join("fuzz/rustc.sh"));
    run(command.arg("--target-dir").arg(&folder))?;
    Ok(folder.join(host).join("release"))
}

/// A store with a finished experiment, of which the targets make a stranger's.
fn finished_store() -> Result<PathBuf> {
    let (folder, done) = (root().join("fuzz/store"), root().join("fuzz/store/store.json"));
    if !done.exists() {
        let titer = build_titer()?;
        let spec = root().join("fuzz/seeds/store.toml");
        run(Command::new(titer).arg("run").arg(spec).arg("--store").arg(&folder).env("NO_COLOR", "1"))?;
    }
    Ok(folder)
}

impl Target {
    fn new(name: &str, programs: &Path) -> Self {
        let fuzz = root().join("fuzz");
        Self {
            name: name.to_owned(),
            program: programs.join(name),
            seeds: root().join("target/fuzz/seeds").join(name),
            corpus: fuzz.join("corpus").join(name),
            findings: fuzz.join(FINDINGS).join(name),
            log: root().join("target/fuzz/logs").join(format!("{name}.log")),
        }
    }

    fn run(&self, seconds: f64, store: &Path) -> Result<Outcome> {
        let _ = fs::remove_dir_all(&self.seeds);
        for folder in [&self.seeds, &self.corpus, &self.findings] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder)?;
        }
        let made = self.started(&["--seeds".as_ref(), self.seeds.as_os_str()], store)?;
        ensure!(made.0, "its seeds cannot be made:\n{}", made.1);
        let mut outcome = Outcome::default();
        // What ended it before must not end it again.
        for finding in files(&self.findings)? {
            let (passes, said) = self.started(&[finding.as_os_str()], store)?;
            if passes {
                let name = finding.file_name().unwrap_or_default();
                fs::rename(&finding, self.corpus.join(name))
                    .context("a finding that is mended is kept as a seed")?;
            } else {
                outcome.findings.push(format!("{} still: {}", finding.display(), reason(&said)));
            }
        }
        let began = Instant::now();
        while outcome.findings.is_empty() && seconds - outcome.seconds > 1.0 {
            let (well, said) = self.fuzzed(seconds - outcome.seconds, store)?;
            let before = outcome.seconds;
            outcome.add(&said);
            if !well {
                outcome.seconds = outcome.seconds.max(before + 1.0);
                let input = said.lines().rev().find_map(|line| line.split_once("Test unit written to "));
                let input = input.map_or(self.log.display().to_string(), |(_, path)| path.to_owned());
                outcome.findings.push(format!("{}: {input}", reason(&said)));
            }
            ensure!(began.elapsed().as_secs_f64() < 20.0 * seconds + 600.0, "it gets no processor time");
            ensure!(outcome.seconds > before, "it does not say what processor time it took:\n{said}");
        }
        Ok(outcome)
    }

    fn fuzzed(&self, seconds: f64, store: &Path) -> Result<(bool, String)> {
        let prefix = format!("-artifact_prefix={}/", self.findings.display());
        let words = self.seeds.with_extension("dict");
        let dictionary = format!("-dict={}", words.display());
        let (time, longest) = (format!("-max_total_time={seconds:.0}"), format!("-max_len={LONGEST}"));
        let mut arguments =
            vec![prefix.as_str(), &time, &longest, "-print_final_stats=1", "-use_value_profile=0"];
        arguments.extend(LIMITS);
        if words.exists() {
            arguments.push(&dictionary);
        }
        let mut all: Vec<&std::ffi::OsStr> = arguments.iter().map(std::convert::AsRef::as_ref).collect();
        all.extend([self.corpus.as_os_str(), self.seeds.as_os_str()]);
        self.started(&all, store)
    }

    /// Starts it in an empty folder; whether it ended well, and what it said.
    fn started(&self, arguments: &[&std::ffi::OsStr], store: &Path) -> Result<(bool, String)> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = folder.join(format!("titer-fuzz-{}-{}", self.name, std::process::id()));
        fs::create_dir_all(folder.join("tmp"))?;
        let log = fs::File::create(&self.log)?;
        let mut command = Command::new("sh");
        command.args(["-c", STACK]).arg(&self.program).args(arguments);
        command.current_dir(&folder).env("TMPDIR", folder.join("tmp"));
        command.env("TITER_FUZZ_FOLDER", &folder).env("TITER_FUZZ_STORE", store);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).status();
        let _ = fs::remove_dir_all(&folder);
        let status = status.with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok((status.success(), String::from_utf8_lossy(&fs::read(&self.log)?).into_owned()))
    }
}

impl Outcome {
    /// Adds what a process said in its end.
    fn add(&mut self, said: &str) {
        let number = |text: &str| text.split_whitespace().next()?.parse::<f64>().ok();
        let stat =
            |name: &str| said.lines().rev().find_map(|line| number(line.strip_prefix(name)?)).unwrap_or(0.0);
        self.executions += stat("stat::number_of_executed_units:") as u64;
        self.seconds += stat("processor seconds:");
        self.peak = self.peak.max(stat("stat::peak_rss_mb:") as u64);
        let last = |key: &str| {
            let from =
                said.lines().rev().find_map(|line| line.starts_with('#').then(|| line.split_once(key))?)?;
            number(&from.1.replace('/', " "))
        };
        self.reached = self.reached.max(last("cov: ").unwrap_or(0.0) as u64);
        self.kept = last("corp: ").unwrap_or(0.0) as u64;
    }

    fn in_words(&self) -> String {
        let findings =
            if self.findings.is_empty() { "no finding".to_owned() } else { self.findings.join("; ") };
        format!(
            "{} executions in {:.0} s, {} edges, {} inputs kept, {} MiB: {findings}",
            self.executions, self.seconds, self.reached, self.kept, self.peak
        )
    }
}

/// Why a process ended, in one line.
fn reason(said: &str) -> String {
    let marks = ["finding: ", "ERROR: libFuzzer: "];
    let found = marks.iter().find_map(|mark| said.lines().find_map(|line| Some(line.split_once(mark)?.1)));
    let mut reason = found.unwrap_or("it ended without a word").to_owned();
    // What a panic says stands in the line below its place.
    if let Some(below) = said.lines().skip_while(|line| !line.contains(&reason)).nth(1)
        && reason.starts_with("panicked at")
    {
        reason.push_str(&format!(" {below}"));
    }
    reason
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("a manifest");
        for name in names().expect("targets") {
            assert!(
                manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
                "{name}"
            );
        }
    }

    #[test]
    fn what_a_target_says_is_read() {
        let said = "#12\tNEW    cov: 9 ft: 9 corp: 3/5b lim: 4\n#21\tDONE   cov: 12 ft: 14 corp: 5/20b lim: 4096\n\
            stat::number_of_executed_units: 21\nstat::peak_rss_mb:              27\nprocessor seconds: 1.5\n";
        let mut outcome = Outcome::default();
        outcome.add(said);
        assert_eq!((outcome.executions, outcome.reached, outcome.kept, outcome.peak), (21, 12, 5, 27));
        assert_eq!(outcome.seconds, 1.5);
        assert_eq!(reason("x\nfinding: panicked at a.rs:1:2:\nno\n"), "panicked at a.rs:1:2: no");
    }
}

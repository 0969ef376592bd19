//! `cargo xtask slurm-test`: an experiment on a real Slurm, whose jobs are killed, sent away and stopped.

mod cluster;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;
use titer_store::Store;

use self::cluster::Cluster;
use crate::command::{build_titer, print, root, say};

/// How often it is looked what the jobs do.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a job computes before it is killed.
const MIDWAY: Duration = Duration::from_millis(1500);
/// Every so many-th process of a job is killed.
const KILLED: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The experiment
    #[arg(default_value = "apothecary-smoke")]
    preset: String,
    /// Nodes of the cluster, each with one core
    #[arg(long, value_name = "N", default_value_t = 4)]
    nodes: usize,
    /// Work that is put together in one job
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pack_time: String,
    /// A store in which the experiment was run to its end on this machine [default: it is run first]
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,
    /// What happens to it on the cluster; may be repeated [default: all]
    #[arg(long, value_enum, value_name = "WHAT")]
    only: Vec<Scenario>,
    /// Folder of the cluster and the stores [default: target/slurm-test]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What happens to an experiment on the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Nothing.
    Undisturbed,
    /// Processes are killed, the controller is restarted, the nodes are taken away.
    Disturbed,
    /// It is stopped and gone on with.
    Stopped,
}

/// What is compared: as text, so that a difference can be looked at.
const FRAMES: [&str; 3] = ["verdicts", "titers", "probes"];

/// Runs it.
///
/// # Errors
/// When the cluster cannot be had, or an experiment on it ends otherwise than on this machine.
pub(crate) fn slurm_test(arguments: &Arguments) -> Result<()> {
    let titer = build_titer()?;
    let folder = arguments.folder.clone().unwrap_or_else(|| root().join("target/slurm-test"));
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let mut told = Vec::new();
    let place = |name: &str| -> Result<PathBuf> {
        let store = folder.join(name);
        if store.exists() {
            fs::remove_dir_all(&store).with_context(|| format!("cannot empty {}", store.display()))?;
        }
        Ok(store)
    };
    let cluster = Cluster::start(&folder, arguments.nodes)?;
    let on = |store: PathBuf| Place { titer: &titer, cluster: &cluster, store, arguments };

    let began = Instant::now();
    let local = match &arguments.reference {
        Some(reference) => on(reference.clone()),
        None => on(place("local")?),
    };
    local.titer(&["run", &arguments.preset])?;
    let expected = local.frames()?;
    told.push(format!(
        "on this machine | {} stages, {:.0} s",
        local.sealed()?,
        began.elapsed().as_secs_f64()
    ));

    let asked = |scenario| arguments.only.is_empty() || arguments.only.contains(&scenario);
    if asked(Scenario::Undisturbed) {
        let began = Instant::now();
        let undisturbed = on(place("undisturbed")?);
        undisturbed.submit()?;
        let ended = undisturbed.wait(&mut |_, _| Ok(()))?;
        undisturbed.compare(&expected, &local)?;
        told.push(format!(
            "{} nodes, the submitting process gone | {ended}, {:.0} s",
            arguments.nodes,
            began.elapsed().as_secs_f64()
        ));
    }
    if asked(Scenario::Disturbed) {
        let began = Instant::now();
        let disturbed = on(place("disturbed")?);
        disturbed.submit()?;
        let mut trouble =
            Trouble { cluster: &cluster, nodes: arguments.nodes, seen: BTreeMap::new(), killed: 0, did: 0 };
        let ended = disturbed.wait(&mut |runs, share| trouble.make(runs, share))?;
        disturbed.compare(&expected, &local)?;
        let sent_away = cluster.sent_away();
        ensure!(
            trouble.killed > 0 && trouble.did == 2 && sent_away > 0,
            "the experiment was over before it could be disturbed"
        );
        told.push(format!(
            "{} of {} processes of jobs killed, the controller restarted, {sent_away} jobs sent away when others took all nodes | {ended}, {:.0} s",
            trouble.killed,
            trouble.seen.len(),
            began.elapsed().as_secs_f64()
        ));
    }
    if asked(Scenario::Stopped) {
        let began = Instant::now();
        let stopped = on(place("stopped")?);
        stopped.submit()?;
        while stopped.runs()?.is_empty() {
            sleep(LOOK_EVERY);
        }
        ensure!(stopped.submit()?.contains("is submitted already"), "a second submission is not refused");
        stopped.titer(&["stop", &arguments.preset])?;
        ensure!(stopped.queue()?.is_empty(), "jobs are left after titer stop");
        let done = stopped.sealed()?;
        stopped.titer(&["resume", &arguments.preset, "--on=slurm", "--detach"])?;
        let ended = stopped.wait(&mut |_, _| Ok(()))?;
        stopped.compare(&expected, &local)?;
        told.push(format!(
            "stopped by `titer stop` after {done} stages and gone on with | {ended}, {:.0} s",
            began.elapsed().as_secs_f64()
        ));
    }

    print(&format!("| {} on Slurm 22.05 | came to |\n|---|---|", arguments.preset))?;
    for line in told {
        print(&format!("| {line} |"))?;
    }
    print(&format!(
        "Each time the frames {} are those of this machine's run, byte for byte, and each stage was sealed once.",
        FRAMES.join(", ")
    ))
}

/// A store whose experiment the cluster computes.
struct Place<'a> {
    titer: &'a Path,
    cluster: &'a Cluster,
    store: PathBuf,
    arguments: &'a Arguments,
}

impl Place<'_> {
    /// What titer says: on stdout and stderr.
    fn titer(&self, arguments: &[&str]) -> Result<(String, String)> {
        let output = Command::new(self.titer)
            .args(arguments)
            .arg("--store")
            .arg(&self.store)
            .envs(self.cluster.environment())
            .output()
            .context("cannot start titer")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, said) = (text(&output.stdout), text(&output.stderr));
        ensure!(
            output.status.success(),
            "titer {} ended with {}: {said}",
            arguments.join(" "),
            output.status
        );
        Ok((out, said))
    }

    fn submit(&self) -> Result<String> {
        let pack = format!("--pack-time={}", self.arguments.pack_time);
        Ok(self.titer(&["run", &self.arguments.preset, "--on=slurm", "--detach", &pack])?.1)
    }

    fn status(&self) -> Result<Value> {
        let (out, _) = self.titer(&["status", &self.arguments.preset, "--json"])?;
        Ok(serde_json::from_str(&out)?)
    }

    fn runs(&self) -> Result<Vec<u64>> {
        let status = self.status()?;
        Ok(status["runs"].as_array().into_iter().flatten().filter_map(|run| run["pid"].as_u64()).collect())
    }

    fn queue(&self) -> Result<String> {
        self.cluster.ask("squeue", &["--noheader"])
    }

    /// Waits until no job is left, and shows each look at the living processes and the share that is done. How many
    /// rounds and packs it took.
    fn wait(&self, disturb: &mut dyn FnMut(&[u64], f64) -> Result<()>) -> Result<String> {
        let mut said = Instant::now();
        loop {
            let status = self.status();
            // A controller that is started anew does not answer for a moment.
            if let (Ok(status), Ok(queue)) = (&status, self.queue()) {
                let count = |name: &str| status["counts"][name].as_f64().unwrap_or(0.0);
                let (done, stages) = (count("sealed"), count("stages"));
                if said.elapsed() > Duration::from_secs(20) {
                    said = Instant::now();
                    say(&format!("{done} of {stages} stages; {}", status["slurm"]["jobs"]));
                }
                if queue.trim().is_empty() && status["slurm"]["jobs"].as_array().is_some_and(Vec::is_empty) {
                    ensure!(
                        done == stages,
                        "no job is left, and {done} of {stages} stages are done: {status:#}"
                    );
                    return Ok(format!("{} rounds", status["slurm"]["round"]));
                }
                let runs: Vec<u64> = status["runs"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|run| run["pid"].as_u64())
                    .collect();
                disturb(&runs, done / stages)?;
            }
            sleep(LOOK_EVERY);
        }
    }

    fn frames(&self) -> Result<Vec<String>> {
        FRAMES
            .iter()
            .map(|what| {
                Ok(self.titer(&["export", &self.arguments.preset, "--what", what, "--format", "csv"])?.0)
            })
            .collect()
    }

    /// Stages that were sealed, by their manifests.
    fn sealed(&self) -> Result<usize> {
        let store = Store::open(&self.store)?;
        Ok(store.artifacts()?.iter().filter(|hash| store.artifact(hash).is_sealed()).count())
    }

    /// Holds what came out against what should.
    fn compare(&self, expected: &[String], local: &Place<'_>) -> Result<()> {
        let came = self.frames()?;
        for (what, (came, expected)) in FRAMES.iter().zip(came.iter().zip(expected)) {
            ensure!(
                came == expected,
                "{what} of {} are not those of this machine's run",
                self.store.display()
            );
        }
        if self.arguments.reference.is_none() {
            ensure!(self.sealed()? == local.sealed()?, "stages were sealed that nobody asked for");
        }
        // Nothing was begun that nobody ended, and nothing was moved away as damaged.
        ensure!(!self.store.join("damaged").exists(), "something was damaged");
        Ok(())
    }
}

/// What is done to a cluster while it computes.
struct Trouble<'a> {
    cluster: &'a Cluster,
    nodes: usize,
    /// When each process was seen first, and whether it is to be killed.
    seen: BTreeMap<u64, (Instant, bool)>,
    killed: usize,
    /// How much of the rest was done.
    did: usize,
}

impl Trouble<'_> {
    fn make(&mut self, runs: &[u64], share: f64) -> Result<()> {
        for pid in runs {
            let number = self.seen.len();
            self.seen.entry(*pid).or_insert_with(|| (Instant::now(), number.is_multiple_of(KILLED)));
        }
        for (pid, (since, doomed)) in &mut self.seen {
            if *doomed && since.elapsed() >= MIDWAY {
                *doomed = false;
                // One that has ended meanwhile was not killed.
                let kill =
                    Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
                self.killed += usize::from(kill.is_ok_and(|status| status.success()));
            }
        }
        // While several run.
        if self.did == 0 && share > 0.1 && runs.len() > 1 {
            say("jobs of others take all nodes away");
            let nodes = format!("--nodes={}", self.nodes);
            self.cluster
                .ask("sbatch", &["--partition=first", &nodes, "--output=/dev/null", "--wrap=sleep 3"])?;
            self.did = 1;
        } else if self.did == 1 && share > 0.4 {
            say("the controller is ended and started anew");
            self.cluster.restart_controller()?;
            self.did = 2;
        }
        Ok(())
    }
}

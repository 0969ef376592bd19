//! `cargo xtask faults`: what may happen to runs and their store, many times over. After each fault nothing that is
//! sealed has changed, nothing measured is lost or doubled, what is damaged is named or healed, and the next run comes
//! to what an undisturbed one comes to.

mod chance;
mod damage;
mod kills;
mod layer;
mod modes;
mod power;
mod refused;
mod room;
mod store;
mod torn;

use std::thread::scope;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use titer_tests::{Place, TINY};

use self::chance::Chance;
use self::layer::Layer;
use self::store::Left;
use crate::command::{print, say};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A few of each: a minute, for the checks
    #[arg(long)]
    pub(crate) short: bool,
    /// What decides which moments, files and bits
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Runs that are killed by SIGKILL [default: 1000, with --short 16]
    #[arg(long, value_name = "N")]
    pub(crate) kills: Option<usize>,
    /// Only the kinds that this is a part of
    #[arg(long, value_name = "WORDS")]
    pub(crate) only: Option<String>,
}

/// What they are tried on.
struct Ground {
    /// A place with a finished run.
    whole: Place,
    /// What that leaves for readers.
    expected: Left,
    /// What a run says that finds it.
    said: String,
    layer: Layer,
}

/// A kind of fault in words, how often it is tried, how often with `--short`, and how.
type Kind = (&'static str, usize, usize, fn(&Ground, usize, Chance) -> Result<Tally>);

const KILLS: &str = "SIGKILL at a random moment";

const KINDS: [Kind; 23] = [
    (KILLS, 1000, 16, |on, count, chance| kills::at_random(count, chance, &on.expected)),
    ("2 runs at once, one killed", 20, 1, |on, count, chance| kills::among(2, count, chance, &on.expected)),
    ("16 runs at once, 8 killed", 4, 1, |on, count, chance| kills::among(16, count, chance, &on.expected)),
    ("the clock jumps by an hour after a kill", 10, 2, |on, count, chance| {
        kills::with_clocks(count, chance, &on.expected)
    }),
    ("a bit flips in any file", 240, 8, |on, count, chance| {
        damage::flips(&on.whole, count, chance, &on.expected)
    }),
    ("a file is cut at any length", 100, 4, |on, count, chance| {
        damage::cuts(&on.whole, count, chance, &on.expected)
    }),
    ("a file vanishes", 100, 4, |on, count, chance| damage::losses(&on.whole, count, chance, &on.expected)),
    ("a file is replaced by another of its kind", 50, 2, |on, count, chance| {
        damage::swaps(&on.whole, count, chance, &on.expected)
    }),
    ("the disk is full", 20, 2, |on, count, chance| room::full(count, chance, &on.expected)),
    ("the store is read-only for a while", 5, 1, |on, count, chance| {
        room::read_only(count, chance, &on.expected)
    }),
    ("every n-th write writes a part", 10, 1, torn::short),
    ("every n-th call is interrupted (EINTR)", 10, 1, torn::interrupted),
    ("a write is torn by SIGKILL", 120, 2, torn::torn),
    ("the power fails: what was not synced is lost", 120, 2, torn::powerless),
    ("either in the midst of a checkpoint", 40, 0, torn::in_checkpoints),
    ("a write, sync, rename, open or mkdir fails once", 42, 1, refused::once),
    ("the same from some moment on", 42, 1, refused::on),
    ("the disk fails for good (EIO)", 6, 0, refused::broken),
    ("a read fails once", 24, 1, refused::reading_once),
    ("reads fail from some moment on", 24, 1, refused::reading_on),
    ("renames are refused", 12, 1, refused::renames),
    ("there are no file locks", 9, 1, refused::locks),
    ("a folder or file loses its permissions", 40, 2, modes::taken),
];

/// What came of one kind of fault.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tried: usize,
    /// How it went on, in words, and how often.
    went: std::collections::BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, what: &str) {
        self.tried += 1;
        self.note(what);
    }

    fn note(&mut self, what: &str) {
        *self.went.entry(what.to_owned()).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.tried += other.tried;
        for (what, count) in other.went {
            *self.went.entry(what).or_default() += count;
        }
    }

    fn in_words(&self) -> String {
        self.went.iter().map(|(what, count)| format!("{count} × {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// Threads that try at once.
const THREADS: usize = 2;

/// Shares trials among threads.
fn on_threads(
    count: usize,
    mut chance: Chance,
    some: impl Fn(usize, Chance) -> Result<Tally> + Sync,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let told = scope(|scope| {
        let some = &some;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| (count / THREADS + usize::from(thread < count % THREADS), chance.split()))
            .map(|(count, chance)| scope.spawn(move || some(count, chance)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Tally>>| {
            thread.join().map_err(|_| anyhow!("a thread of the trials panicked"))?
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    told.into_iter().for_each(|other| tally.merge(other));
    Ok(tally)
}

/// Tries all of them.
///
/// # Errors
/// At the first that something did not survive, with what that was.
pub(crate) fn faults(arguments: &Arguments) -> Result<()> {
    let began = Instant::now();
    let whole = Place::finished();
    let expected = Left::of(&whole)?;
    say(&format!("the undisturbed run left {} bytes for its readers", expected.bytes()));
    let layer = Layer::build(&expected)?;
    let said = whole.run(&["run", TINY]).ends(0).stdout;
    let ground = Ground { whole, expected, said, layer };
    let mut rows = Vec::new();
    for (number, (fault, full, short, tried)) in (1..).zip(KINDS) {
        if arguments.only.as_ref().is_some_and(|only| !fault.contains(only)) {
            continue;
        }
        let count = if arguments.short { short } else { full };
        let count = arguments.kills.filter(|_| fault == KILLS).unwrap_or(count);
        let started = Instant::now();
        let chance = Chance::new(arguments.seed.wrapping_mul(1000).wrapping_add(number));
        let tally = tried(&ground, count, chance).context(fault)?;
        let seconds = started.elapsed().as_secs_f64();
        say(&format!("{fault}: {} tried in {seconds:.0} s: {}", tally.tried, tally.in_words()));
        rows.push((fault, tally));
    }
    print("| fault | tried | came of it |\n|---|---:|---|")?;
    for (fault, tally) in rows.iter().filter(|(_, tally)| !tally.went.is_empty()) {
        print(&format!("| {fault} | {} | {} |", tally.tried, tally.in_words()))?;
    }
    let tried: usize = rows.iter().map(|(_, tally)| tally.tried).sum();
    ensure!(tried > 0, "nothing was tried");
    print(&format!(
        "{tried} faults in {:.0} s; after each the experiment came to the same bytes: nothing lost, doubled or silently wrong.",
        began.elapsed().as_secs_f64()
    ))
}

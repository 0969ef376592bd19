//! `cargo xtask faults`: what may happen to runs and their store, many times over. After each fault nothing that is
//! sealed has changed, nothing measured is lost or doubled, what is damaged is named or healed, and the next run comes
//! to what an undisturbed one comes to.

mod chance;
mod damage;
mod kills;
mod room;
mod store;

use std::thread::scope;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use titer_tests::Place;

use self::chance::Chance;
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
}

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

/// Tries all of them.
///
/// # Errors
/// At the first that something did not survive, with what that was.
pub(crate) fn faults(arguments: &Arguments) -> Result<()> {
    let began = Instant::now();
    let of = |full: usize, short: usize| if arguments.short { short } else { full };
    let whole = Place::finished();
    let expected = Left::of(&whole)?;
    say(&format!("the undisturbed run left {} bytes for its readers", expected.bytes()));
    let mut rows = Vec::new();
    let mut row = |fault: &'static str, tally: Tally| {
        say(&format!("{fault}: {} tried: {}", tally.tried, tally.in_words()));
        rows.push((fault, tally));
    };
    let seed = |number: u64| Chance::new(arguments.seed.wrapping_mul(1000).wrapping_add(number));

    row(
        "SIGKILL at a random moment",
        kills::at_random(arguments.kills.unwrap_or(of(1000, 16)), seed(1), &expected)?,
    );
    row("2 runs at once, one killed", kills::among(2, of(20, 1), seed(2), &expected)?);
    row("16 runs at once, 8 killed", kills::among(16, of(4, 1), seed(3), &expected)?);
    row("the clock jumps by an hour after a kill", kills::with_clocks(of(10, 2), seed(4), &expected)?);
    let (flips, others) = scope(|scope| {
        let flips = scope.spawn(|| damage::flips(&whole, of(240, 8), seed(5), &expected));
        let others = || -> Result<_> {
            let cuts = damage::cuts(&whole, of(100, 4), seed(6), &expected)?;
            let losses = damage::losses(&whole, of(100, 4), seed(7), &expected)?;
            Ok((cuts, losses, damage::swaps(&whole, of(50, 2), seed(8), &expected)?))
        };
        (flips.join(), others())
    });
    let (cuts, losses, swaps) = others?;
    row("a bit flips in any file", flips.map_err(|_| anyhow!("a thread of the trials panicked"))??);
    row("a file is cut at any length", cuts);
    row("a file vanishes", losses);
    row("a file is replaced by another of its kind", swaps);
    row("the disk is full", room::full(of(20, 2), seed(9), &expected)?);
    row("the store is read-only for a while", room::read_only(of(5, 1), seed(10), &expected)?);

    print("| fault | tried | came of it |\n|---|---:|---|")?;
    for (fault, tally) in &rows {
        print(&format!("| {fault} | {} | {} |", tally.tried, tally.in_words()))?;
    }
    let tried: usize = rows.iter().map(|(_, tally)| tally.tried).sum();
    ensure!(tried > 0, "nothing was tried");
    print(&format!(
        "{tried} faults in {:.0} s; after each the experiment came to the same bytes: nothing lost, doubled or silently wrong.",
        began.elapsed().as_secs_f64()
    ))
}

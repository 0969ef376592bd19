//! A disk without room, and one that takes nothing: small file systems of their own, which only root or a user who may make
//! namespaces can have.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use titer_tests::{Place, Ran, TINY, titer};

use super::Tally;
use super::chance::Chance;
use super::store::{Left, copy};
use crate::command::say;

/// Runs on a file system that is too small, then on the same with room. The store comes back by a copy.
const FULL: &str = r#"
set -u
mkdir -p "$1" && mount -t tmpfs -o "size=$3k" tmpfs "$1" || exit 99
"$4" run "$5" --store "$1/store" --jobs 1; echo "first $?" >&2
mount -o remount,size=512M "$1" || exit 99
"$4" run "$5" --store "$1/store" --jobs 1 || exit 98
cp -r "$1/store" "$2"
"#;

/// Runs on a file system that was made read-only after some stages, then on the same when it may be written again.
const READ_ONLY: &str = r#"
set -u
mkdir -p "$1" && mount -t tmpfs -o size=512M tmpfs "$1" || exit 99
timeout -s KILL "0.$3" "$4" run "$5" --store "$1/store" --jobs 1
for try in 1 2 3 4 5 6 7 8 9; do
    if mount -o remount,ro "$1"; then break; fi
    # What was killed is not quite gone.
    if [ "$try" = 9 ]; then exit 99; fi
    sleep 0.3
done
"$4" run "$5" --store "$1/store" --jobs 1; echo "first $?" >&2
mount -o remount,rw "$1" || exit 99
"$4" run "$5" --store "$1/store" --jobs 1 || exit 98
cp -r "$1/store" "$2"
"#;

/// The disk is full at some moment.
///
/// # Errors
/// When the run says something else than that, or the next one does not come to the end.
pub(super) fn full(count: usize, chance: Chance, expected: &Left) -> Result<Tally> {
    // From a disk that holds no plan to one that holds nearly all.
    apart(FULL, count, chance, 3000, expected, "a full disk", &["the disk is full", "No space left"])
}

/// The store cannot be written for a while.
///
/// # Errors
/// As above.
pub(super) fn read_only(count: usize, chance: Chance, expected: &Left) -> Result<Tally> {
    apart(READ_ONLY, count, chance, 900, expected, "a read-only store", &["read-only"])
}

fn apart(
    script: &str,
    count: usize,
    mut chance: Chance,
    most: usize,
    expected: &Left,
    fault: &str,
    words: &[&str],
) -> Result<Tally> {
    let mut tally = Tally::default();
    while tally.tried < count {
        let (place, back) = (Place::new(), Place::new());
        let number = 100 + chance.below(most);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command
            .arg(place.path("small"))
            .arg(back.path("store"))
            .arg(number.to_string())
            .arg(titer())
            .arg(TINY);
        place.settle(&mut command);
        let output = command.output().context("cannot start unshare, of util-linux")?;
        let ran = Ran::new(fault.to_owned(), &output);
        if ran.code() == Some(99) {
            say(&format!("not run: {fault} needs a file system of its own: {}", ran.stderr.trim()));
            tally.note("not run: no file system of its own can be had here");
            return Ok(tally);
        }
        ensure!(ran.code() == Some(0), "after {fault}: {ran}");
        ensure!(!ran.stderr.contains("panicked"), "after {fault}: {ran}");
        if ran.stderr.contains("first 0") {
            tally.count("there was enough");
        } else {
            ensure!(
                words.iter().any(|word| ran.stderr.contains(word)),
                "after {fault}: it is not named: {ran}"
            );
            tally.count("named, and gone on with");
        }
        expected.check(&copy(&back)?, fault)?;
    }
    Ok(tally)
}

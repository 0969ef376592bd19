//! Calls that the system refuses: an error of the disk, no room, no permission, no renames, no locks. The run names what
//! was refused, or goes on without it.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use titer_tests::{Place, TINY};

use super::chance::Chance;
use super::layer::{
    Deed, EACCES, EIO, EMFILE, ENOLCK, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EXDEV, Fault, Met, in_words, names,
    plain,
};
use super::store::{audited, kept, lacking, seals};
use super::{Ground, Tally, on_threads};

/// What is refused, and how often an undisturbed run asks for it.
type Refusal<'a> = (&'static str, usize, &'a [i32]);

/// What changes a store is refused once.
///
/// # Errors
/// When that is not named, or anything is lost by it.
pub(super) fn once(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    writing(on, count, chance, &[EIO, ENOSPC], false)
}

/// The same from some moment on, for as long as the run lives.
///
/// # Errors
/// As above.
pub(super) fn on(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    // Not EIO, which is worth another try: the run would try for 21 seconds.
    writing(on, count, chance, &[ENOSPC, EACCES], true)
}

fn writing(on: &Ground, count: usize, chance: Chance, errors: &[i32], ever: bool) -> Result<Tally> {
    let refusals = ["write", "sync", "rename", "create", "make", "remove", "cut"]
        .map(|calls| (calls, on.layer.made(calls), errors));
    on_threads(count, chance, |count, chance| some(on, (count, chance), &refusals, ever))
}

/// The disk fails, and nothing helps.
///
/// # Errors
/// As above.
pub(super) fn broken(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    let errors: &[i32] = &[EIO];
    let refusals = [
        ("write,sync,rename,create,make", on.layer.made("write"), errors),
        ("sync", on.layer.made("sync"), errors),
    ];
    on_threads(count, chance, |count, chance| some(on, (count, chance), &refusals, true))
}

/// What is read of a store is refused once.
///
/// # Errors
/// As above.
pub(super) fn reading_once(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    reading(on, count, chance, &[EIO], false)
}

/// The same from some moment on.
///
/// # Errors
/// As above.
pub(super) fn reading_on(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    reading(on, count, chance, &[EACCES, EMFILE], true)
}

fn reading(on: &Ground, count: usize, chance: Chance, errors: &[i32], ever: bool) -> Result<Tally> {
    let refusals = ["read", "open"].map(|calls| (calls, on.layer.made(calls), errors));
    on_threads(count, chance, |count, chance| some(on, (count, chance), &refusals, ever))
}

/// No file can be renamed.
///
/// # Errors
/// As above.
pub(super) fn renames(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    let refusals: [Refusal<'_>; 1] = [("rename", on.layer.made("rename"), &[EXDEV, EPERM, ENOSYS])];
    on_threads(count, chance, |count, chance| some(on, (count, chance), &refusals, true))
}

/// The file system has no locks.
///
/// # Errors
/// As above.
pub(super) fn locks(on: &Ground, count: usize, chance: Chance) -> Result<Tally> {
    let refusals: [Refusal<'_>; 1] = [("lock", 1, &[EOPNOTSUPP, ENOSYS, ENOLCK])];
    on_threads(count, chance, |count, chance| some(on, (count, chance), &refusals, true))
}

fn some(
    Ground { whole, expected, said, layer }: &Ground,
    (count, mut chance): (usize, Chance),
    refusals: &[Refusal<'_>],
    ever: bool,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut turn = chance.below(1000);
    while tally.tried < count {
        let (calls, made, errors) = refusals[turn % refusals.len()];
        let error = errors[turn / refusals.len() % errors.len()];
        turn += 1;
        let fresh = tally.tried % 4 == 3;
        let (place, share) = if fresh { (Place::new(), 1.0) } else { lacking(whole, &mut chance)? };
        let before = seals(&place)?;
        let from = 1 + chance.below((made as f64 * share) as usize);
        let fault =
            Fault { deed: Deed::Fail(error), calls, from, every: usize::from(ever), ..Fault::default() };
        let met = layer.run(&place, &fault, false)?;
        let Some((call, path)) = met.calls.first() else {
            ensure!(met.ran.code() == Some(0), "after {fault:?}: {}", met.ran);
            continue;
        };
        ensure!(
            met.ran.code() != Some(0) || met.ran.stdout == *said,
            "after {fault:?}: it says something else: {}",
            met.ran
        );
        tally.count(went(&met, &fault, path)?);
        tally.note(call);
        let sealed = seals(&place)?;
        kept(&before, &sealed, &format!("{fault:?}"))?;
        let ran = place.run(&["run", TINY]);
        ensure!(ran.code() == Some(0), "after {fault:?}: the next run: {ran}\nbefore: {}", met.ran);
        ensure!(!ran.stderr.contains("anew"), "after {fault:?}: {ran}");
        kept(&sealed, &seals(&place)?, &format!("{fault:?}"))?;
        expected.check(&place, &format!("{fault:?}"))?;
        audited(&place, &format!("{fault:?}"))?;
    }
    Ok(tally)
}

/// Whether a run may go on without a call and without a word.
fn is_needless(call: &str, path: &Path) -> bool {
    // Whoever needs a folder makes it, and what is left over is swept. What cannot be read is no answer to judge anew, and
    // is named where it is needed. Who gets no lock creates files that must not be there.
    const CALLS: [&str; 5] = ["make", "remove", "read", "open", "lock"];
    // By these a run tells others of itself, or spares them work. None of it may break a run: its results come first.
    const NAMES: [&str; 6] = ["runs", "claims", "journal.jsonl", "looks.json", "verdicts.json", "store.lock"];
    // The folders of those.
    const FOLDERS: [&str; 3] = ["store", "experiments", "experiments/tiny"];
    let mut names = path.iter().map(|name| plain(&name.to_string_lossy()));
    CALLS.contains(&call)
        || FOLDERS.iter().any(|folder| path.ends_with(folder))
        || names.any(|name| NAMES.contains(&name.as_str()))
}

/// How a run went on that met a refusal: it says what and which file, or needed it for nothing that counts.
fn went(met: &Met, fault: &Fault, path: &Path) -> Result<&'static str> {
    let ran = &met.ran;
    let Deed::Fail(error) = fault.deed else { bail!("{fault:?} refuses nothing") };
    ensure!(!ran.stderr.contains("panicked"), "after {fault:?}: {ran}");
    let word = in_words(error);
    let named = met.calls.iter().any(|(_, path)| names(path).iter().any(|name| ran.stderr.contains(name)));
    let said = ran.stderr.contains(&word) && named;
    match ran.code() {
        Some(0) if said && ran.stderr.contains("] again ") => Ok("named, and tried again"),
        Some(0) if said => Ok("named, and gone on without"),
        Some(0) => {
            let silent = met.calls.iter().find(|(call, path)| !is_needless(call, path));
            ensure!(silent.is_none(), "after {fault:?}: not a word of {silent:?}: {ran}");
            Ok("gone on without")
        }
        Some(1 | 3) => {
            ensure!(said, "after {fault:?}: nothing names {} or {word}: {ran}", path.display());
            Ok("named")
        }
        code => bail!("after {fault:?}: exit code {code:?}: {ran}"),
    }
}

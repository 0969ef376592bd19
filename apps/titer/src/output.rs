//! Where text goes: results to stdout, messages to stderr.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use titer_view::sanitise;
use titer_view::style::Style;
use tracing_subscriber::EnvFilter;

/// Whether the terminal shows a picture that no message may disturb.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// From here on nothing is said on a terminal; what stderr sends to a file goes on.
pub(crate) fn hush() {
    HUSHED.store(true, Ordering::SeqCst);
}

/// Stderr, unless it would disturb a picture.
fn stderr() -> Box<dyn Write> {
    if HUSHED.load(Ordering::SeqCst) && io::stderr().is_terminal() {
        Box::new(io::sink())
    } else {
        Box::new(io::stderr())
    }
}

/// The style of stdout.
pub(crate) fn style() -> Style {
    Style::of(&io::stdout())
}

/// Writes a result.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn result(text: &str) -> io::Result<()> {
    bytes(text.as_bytes())
}

/// Writes a result that is no text.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes a result as one JSON document.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(result(&text)?)
}

/// Says which files were written: a path a line, or one JSON document.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn written(experiment: &str, paths: &[PathBuf], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&serde_json::json!({ "experiment": experiment, "written": paths }));
    }
    let lines = paths.iter().map(|path| format!("{}\n", sanitise::line(&path.display().to_string())));
    Ok(result(&lines.collect::<String>())?)
}

/// The columns that text may take: `COLUMNS` where it is set, or else 80.
pub(crate) fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.filter(|columns| (40..=1000).contains(columns)).unwrap_or(80)
}

/// Whether stdout is looked at by a person.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Says something beside the result. A closed stderr stops nothing.
pub(crate) fn message(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", sanitise::line(text));
}

/// Says several lines beside the result.
pub(crate) fn lines(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", sanitise::text(text));
}

/// Says what went wrong, and what to do if that is known.
pub(crate) fn error(text: &str, hint: Option<&str>) {
    let style = Style::of(&io::stderr());
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{} {}", style.error("error:"), sanitise::line(text));
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "\n{} {}", style.bold("hint:"), sanitise::line(hint));
    }
}

/// Sends log lines to stderr; `RUST_LOG` decides which, warnings where it says nothing.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(Style::of(&io::stderr()).is_coloured())
        .without_time()
        .init();
}

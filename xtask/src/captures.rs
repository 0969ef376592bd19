//! `cargo xtask captures`: the book's pictures of `titer watch`, taken from the program in a terminal.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use titer_tests::Terminal;

use crate::command::{build_titer, root, run, say};

/// Where the pictures stand.
const PAGE: &str = "docs/src/reference/watch-screens.md";
/// The sizes of terminals.
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 50)];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A store with experiments to look at [default: one that is made, with the smoke preset]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The experiment to look at
    #[arg(long, value_name = "NAME", default_value = "apothecary-smoke")]
    experiment: String,
    /// Keys to press on a screen before it is taken: `5=\r`; may be repeated
    #[arg(long, value_name = "SCREEN=KEYS")]
    press: Vec<String>,
}

/// Takes each screen at each size and writes the page.
///
/// # Errors
/// When the program shows nothing, or the page cannot be written.
pub(crate) fn captures(arguments: &Arguments) -> Result<()> {
    let titer = build_titer()?;
    let store = match &arguments.store {
        Some(store) => store.clone(),
        None => {
            let store = root().join("target/captures");
            run(Command::new(&titer).args(["run", "apothecary-smoke", "--store"]).arg(&store))?;
            store
        }
    };
    let mut page = format!(
        "# Screens of `titer watch`\n\nTaken from the program in terminals of 80×24 and 200×50 cells, without colours. \
         [How to use it](../watch.md) says what the keys do. Made by\n\n<!-- not run: minutes -->\n\n```sh\n{}\n```\n",
        typed()
    );
    for (columns, rows) in SIZES {
        for (number, title) in (1..).zip(titles(&titer, &store)?) {
            let text = screen(&titer, &store, arguments, number, (columns, rows))?;
            say(&format!("{title} at {columns}×{rows}"));
            let _ = write!(page, "\n## {title}, {columns}×{rows}\n\n```text\n{}\n```\n", text.trim_end());
        }
    }
    fs::write(root().join(PAGE), page)?;
    say(&format!("written: {PAGE}"));
    Ok(())
}

/// The command that makes the page, as it was typed.
fn typed() -> String {
    let quoted = |word: String| match word.chars().any(|c| c.is_whitespace() || "\\'\"#;".contains(c)) {
        true => format!("'{}'", word.replace('\'', r"'\''")),
        false => word,
    };
    let words = std::env::args().skip(1).map(quoted);
    ["cargo".to_owned(), "xtask".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// The names of the screens, from the line that shows them.
fn titles(titer: &Path, store: &Path) -> Result<Vec<String>> {
    let app = start(titer, store, None, (80, 24));
    app.wait_for(">1 ");
    let line = app.text().lines().next().unwrap_or_default().to_owned();
    let names: Vec<_> = line
        .split([' ', '>'])
        .filter(|word| word.chars().any(char::is_alphabetic))
        .map(str::to_owned)
        .collect();
    ensure!(names.len() == 8, "expected eight screens in {line:?}");
    Ok(names)
}

fn screen(
    titer: &Path,
    store: &Path,
    arguments: &Arguments,
    number: usize,
    size: (u16, u16),
) -> Result<String> {
    let mut app = start(titer, store, Some(&arguments.experiment), size);
    app.wait_for(&arguments.experiment);
    app.press(&number.to_string());
    app.wait_for(&format!(">{number} "));
    let prefix = format!("{number}=");
    for keys in arguments.press.iter().filter_map(|press| press.strip_prefix(&prefix)) {
        thread::sleep(Duration::from_millis(700));
        app.press(&keys.replace("\\r", "\r"));
    }
    // What takes long to read is there by then; nothing on the screen says when.
    thread::sleep(Duration::from_secs(3));
    Ok(app.text())
}

fn start(titer: &Path, store: &Path, experiment: Option<&str>, (columns, rows): (u16, u16)) -> Terminal {
    let mut command = Command::new(titer);
    command
        .arg("watch")
        .args(experiment)
        .arg("--store")
        .arg(store)
        .env("XDG_STATE_HOME", root().join("target/captures-state"))
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env("NO_COLOR", "1");
    let _ = fs::remove_dir_all(root().join("target/captures-state"));
    Terminal::start(&mut command, columns, rows)
}

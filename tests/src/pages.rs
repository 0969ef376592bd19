//! The parts of the book that come from the code.

use std::env;
use std::fs;

use crate::files::{read, root};

/// Holds what stands on a page of the book between `<!-- generated: WHAT -->` and `<!-- end of generated -->`
/// against what the code says; with `UPDATE_EXPECT` set, writes it there first.
///
/// # Panics
/// When the page has no such place, or says something else.
#[track_caller]
pub fn generated(page: &str, what: &str, text: &str) {
    let path = root().join("docs/src").join(page);
    let whole = read(&path);
    let (begin, end) = (format!("<!-- generated: {what} -->\n"), "\n<!-- end of generated -->");
    let parts = whole.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?)));
    let Some((before, (there, after))) = parts else { panic!("{page} has no `{}`", begin.trim()) };
    let (there, text) = (there.trim(), text.trim());
    if env::var_os("UPDATE_EXPECT").is_some() {
        let written = fs::write(&path, format!("{before}{begin}\n{text}\n{end}{after}"));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else {
        assert_eq!(there, text, "{page} is stale: run `cargo xtask docs`");
    }
}

/// A table of Markdown; cells may hold code, and bars in it are escaped.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> = cells.map(|cell| format!(" {} ", cell.replace('|', "\\|"))).collect();
        format!("|{}|\n", cells.join("|").replace("  ", " "))
    };
    let mut text = line(&mut head.iter().map(|cell| (*cell).to_owned()));
    text += &format!("|{}\n", "---|".repeat(head.len()));
    rows.into_iter().for_each(|row| text += &line(&mut row.into_iter()));
    text
}

//! The book's page on the spec.

use std::fmt::Write as _;

use super::key::{Accepts, Key, Section};
use super::walk::headed;

const INTRODUCTION: &str = "\
# Spec

<!-- Generated from crates/titer-plan/src/declared/sections.rs: edit there, then
UPDATE_EXPECT=1 cargo test --release --workspace --test plan declared -->

An experiment as TOML. What may be left out says so; every other key must be there, and unknown keys are errors.
All mistakes are reported at once, as `file:line: key: problem; remedy`.

`titer explain KEY` says the same and more about one key or section, `titer explain METHOD` about a method and its
parameters, and `titer init PRESET --out my.toml` writes a complete example to start from. `titer schema` prints
the JSON Schema of this page, for editors: save it as `titer.schema.json` beside the spec and begin the spec with
`#:schema ./titer.schema.json` (taplo, Even Better TOML).
";

/// The page, as Markdown.
pub fn page() -> String {
    let mut text = INTRODUCTION.to_owned();
    for headed in headed() {
        let title =
            if headed.headers.is_empty() { "Top level".to_owned() } else { headed.headers.join(" and ") };
        let optional = if headed.optional { " (optional)" } else { "" };
        let level = "#".repeat(1 + headed.depth.max(1));
        let _ = write!(text, "\n{level} {title}{optional}\n\n{}\n\n", headed.section.summary);
        table(&mut text, headed.section);
        if !headed.section.more.is_empty() {
            let _ = write!(text, "\n{}\n", headed.section.more);
        }
    }
    text
}

fn table(text: &mut String, section: &Section) {
    text.push_str("| key | value | unit | meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        if let Accepts::Table(_) | Accepts::Tables(_) | Accepts::Forms(_) = key.accepts {
            continue;
        }
        let more = if key.more.is_empty() { String::new() } else { format!(". {}", key.more) };
        let unit = if key.unit.is_empty() { String::new() } else { format!("{} ", key.unit) };
        let _ = writeln!(text, "| `{}` | {} | {unit}| {}{more} |", key.name, value(key), key.summary);
    }
    if section.methods.is_some() {
        text.push_str("| … | | | the method's own parameters: `titer explain METHOD` |\n");
    }
    let tables = section
        .keys
        .iter()
        .filter(|key| matches!(key.accepts, Accepts::Table(_) | Accepts::Tables(_) | Accepts::Forms(_)));
    for key in tables {
        let absent = if key.absent.is_some() { "; may be left out" } else { "" };
        let what = if matches!(key.accepts, Accepts::Tables(_)) { "tables" } else { "a table" };
        let _ = writeln!(text, "| `{}` | {what}{absent} | | {} |", key.name, key.summary);
    }
}

fn value(key: &Key) -> String {
    let mut value = key.accepts.words();
    if let Some(limit) = key.limit {
        let _ = write!(value, ", {}", limit.bound());
    }
    if let Some(absent) = key.absent {
        let _ = write!(value, "; left out: {}", absent.words());
    }
    value
}

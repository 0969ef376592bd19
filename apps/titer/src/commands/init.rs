//! `titer init`: a preset's text, or all of a spec that leaves things unsaid, to start a spec of one's own from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::InitArgs;
use crate::exit::{Exit, Refusal};
use crate::output;

pub(super) fn init(arguments: &InitArgs) -> anyhow::Result<Exit> {
    let presets = titer_lab::presets();
    let named = arguments.preset.as_str();
    let (name, text) = match presets.iter().find(|preset| preset.name == named) {
        Some(preset) => (Some(preset.name), preset.text.to_owned()),
        None if Path::new(named).is_file() => (None, titer_lab::completed(&titer_lab::source(named)?)?),
        None => {
            let names: Vec<&str> = presets.iter().map(|preset| preset.name).collect();
            let problem = format!("no preset and no file is called {named:?}");
            return Err(Refusal::new(problem, format!("there are {}", names.join(", "))).into());
        }
    };
    let Some(path) = &arguments.out else {
        output::result(&text)?;
        return Ok(Exit::Done);
    };
    let text = match name {
        Some(name) => renamed(&text, name, path),
        None => text,
    };
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("{} cannot be made", path.display()))?;
    output::message(&match name {
        Some(name) => format!("{} is {name} to start from", path.display()),
        None => format!("{} is {named} with all that it does not say", path.display()),
    });
    Ok(Exit::Done)
}

/// The text under the name of its file, so that its results stand beside the preset's in a store.
fn renamed(text: &str, name: &str, path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
    text.replacen(&format!("name = \"{name}\""), &format!("name = {stem:?}"), 1)
}

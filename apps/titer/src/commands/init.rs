//! `titer init`: a preset's text, to start a spec of one's own from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::InitArgs;
use crate::exit::{Exit, Refusal};
use crate::output;

pub(super) fn init(arguments: &InitArgs) -> anyhow::Result<Exit> {
    let presets = titer_lab::presets();
    let Some(preset) = presets.iter().find(|preset| preset.name == arguments.preset) else {
        let names: Vec<&str> = presets.iter().map(|preset| preset.name).collect();
        let problem = format!("no preset is called {:?}", arguments.preset);
        return Err(Refusal::new(problem, format!("there are {}", names.join(", "))).into());
    };
    let Some(path) = &arguments.out else {
        output::result(preset.text)?;
        return Ok(Exit::Done);
    };
    let text = renamed(preset.text, preset.name, path);
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("{} cannot be made", path.display()))?;
    output::message(&format!("{} is {} to start from", path.display(), preset.name));
    Ok(Exit::Done)
}

/// The text under the name of its file, so that its results stand beside the preset's in a store.
fn renamed(text: &str, name: &str, path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
    text.replacen(&format!("name = \"{name}\""), &format!("name = {stem:?}"), 1)
}

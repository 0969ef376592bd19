//! Running other programs, and saying so.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Says something to the person at the terminal; results of other programs keep stdout to themselves.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a result.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn print(text: &str) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}").context("cannot write to stdout")
}

/// The cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo says of this package, build scripts that read it (ring's) would take for a change.
    for (name, _) in env::vars_os() {
        let of_package = |prefix: &str| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if of_package("CARGO_PKG_") || of_package("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(root());
    command
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| ".".into(), Path::to_path_buf)
}

/// Says what is run and runs it.
///
/// # Errors
/// When it cannot be started or does not end well.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    say(&format!("$ {shown}"));
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Builds the `titer` program in the release profile and returns its path.
///
/// # Errors
/// When it does not build.
pub(crate) fn build_titer() -> Result<PathBuf> {
    build(&["--bin", "titer"], ("titer", "bin"))
}

/// Builds these examples in the release profile, with more arguments of cargo's, and returns the folder that they are in.
///
/// # Errors
/// When they do not build.
pub(crate) fn build_examples(names: &[&str], more: &[&str]) -> Result<PathBuf> {
    let named = names.iter().flat_map(|name| ["--example", *name]);
    let selected: Vec<&str> = named.chain(more.iter().copied()).collect();
    let last = names.last().context("no example is asked for")?;
    let program = build(&selected, (*last, "example"))?;
    Ok(program.parent().context("an example lies in no folder")?.to_path_buf())
}

/// Builds what is selected, and says where the program of that name and kind is.
fn build(selected: &[&str], program: (&str, &str)) -> Result<PathBuf> {
    // Of the whole workspace, so that dependencies have the features that they have in its tests: with others
    // they would be built a second time.
    let mut command =
        cargo(&["build", "--release", "--workspace", "--message-format=json-render-diagnostics"]);
    command.args(selected);
    let shown = shown(&command);
    say(&format!("$ {shown}"));
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|message| executable(message, program))
        .next_back()
        .with_context(|| format!("cargo built {} but did not say where", program.0))
}

/// The executable in one message of cargo, if it is the message about that program.
fn executable(message: &str, (name, kind): (&str, &str)) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_it = message["target"]["name"] == name && message["target"]["kind"][0] == kind;
    is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
}

fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_that_of_the_program() {
        let titer = ("titer", "bin");
        let program = r#"{"reason":"compiler-artifact","target":{"name":"titer","kind":["bin"]},"executable":"/t/titer"}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"name":"titer-plan","kind":["lib"]},"executable":null}"#;
        assert_eq!(executable(program, titer), Some("/t/titer".into()));
        assert_eq!(executable(library, titer), None);
        assert_eq!(executable("no json", titer), None);
    }

    #[test]
    fn commands_are_shown_as_typed() {
        assert_eq!(shown(Command::new("/usr/bin/cargo").args(["test", "--release"])), "cargo test --release");
    }
}

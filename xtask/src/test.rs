//! `cargo xtask test`: every test, in the profile whose build also serves the user.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run};

#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Runs the tests.
///
/// # Errors
/// When one fails.
pub(crate) fn test(arguments: &Arguments) -> Result<()> {
    // Tests of the program wait for it now and then: one more than there are cores keeps these busy.
    let threads = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let mut command = cargo(&["test", "--release", "--workspace"]);
    run(command.args(&arguments.filter).env("RUST_TEST_THREADS", threads.to_string()))
}

/// Some tests of one crate, for chores that are tests. Of the whole workspace, as all else is built: one package alone has
/// dependencies with other features, which takes ten minutes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selected {
    /// The program of the crate's tests; none for those within its library.
    pub(crate) program: Option<&'static str>,
    /// A test, or a module of them.
    pub(crate) name: &'static str,
}

impl Selected {
    /// The command that runs them.
    pub(crate) fn command(self) -> Command {
        let mut command = cargo(&["test", "--release", "--workspace"]);
        match self.program {
            Some(program) => command.args(["--test", program]),
            None => command.arg("--lib"),
        };
        command.arg(self.name);
        command
    }
}

#[cfg(test)]
mod tests {
    use titer_tests::{files, read, root};

    use crate::controls::CONTROLS;
    use crate::docs::PAGES;

    /// Cargo fails on a program that is not there, and passes where no test has the name.
    #[test]
    fn what_chores_select_is_there() {
        let folders = ["apps", "crates", "tests"];
        let manifests = folders.iter().flat_map(|folder| files(root().join(folder), "toml"));
        let manifests: Vec<_> = manifests.filter(|path| path.ends_with("Cargo.toml")).collect();
        for selected in PAGES.into_iter().chain([CONTROLS]) {
            let crates = manifests.iter().filter(|manifest| match selected.program {
                Some(program) => read(manifest).contains(&format!("[[test]]\nname = \"{program}\"\n")),
                None => true,
            });
            let folders = crates.filter_map(|manifest| manifest.parent());
            let sources = folders.flat_map(|folder| files(folder, "rs")).map(read);
            let wanted = [format!("fn {}()", selected.name), format!("\nmod {};", selected.name)];
            let found =
                sources.filter(|text| wanted.iter().any(|wanted| text.contains(wanted.as_str()))).count();
            assert!(found > 0, "{selected:?}");
        }
    }
}

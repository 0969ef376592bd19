//! `cargo xtask docs`: the parts of the book that come from the code, written or held against it.
//!
//! Each is a test of the crate that knows it; with `UPDATE_EXPECT` set, a test writes what it expects.

use anyhow::Result;
use clap::Args;

use crate::command::run;
use crate::test::Selected;

/// The tests that hold pages against the code.
pub(crate) const PAGES: [Selected; 3] = [
    Selected { program: Some("program"), name: "pages" },
    Selected { program: Some("plan"), name: "the_page_of_the_book_is_fresh" },
    Selected { program: None, name: "the_book_says_what_the_keys_do" },
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail when a page is stale
    #[arg(long)]
    check: bool,
}

/// Writes the pages, or checks them.
///
/// # Errors
/// When a page has no place for what the code says, or is stale.
pub(crate) fn docs(arguments: &Arguments) -> Result<()> {
    for tests in PAGES {
        let mut command = tests.command();
        if !arguments.check {
            command.env("UPDATE_EXPECT", "1");
        }
        run(&mut command)?;
    }
    Ok(())
}

//! `cargo xtask controls`: what must come out is known beforehand, and held against what does.

use anyhow::Result;

use crate::command::run;
use crate::test::Selected;

/// The tests of controls.
pub(crate) const CONTROLS: Selected = Selected { program: Some("program"), name: "controls" };

/// Runs the tests of controls, the long ones too: the identity at twenty experiment seeds, and the preset of controls.
///
/// # Errors
/// When a control does not show what it must.
pub(crate) fn controls() -> Result<()> {
    run(CONTROLS.command().args(["--", "--include-ignored", "--test-threads", "1"]))
}

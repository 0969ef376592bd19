//! `cargo xtask controls`: what must come out is known beforehand, and held against what does.

use anyhow::Result;

use crate::command::{cargo, run};

/// Runs the tests of controls, the long ones too: the identity at twenty experiment seeds, and the preset of controls.
///
/// # Errors
/// When a control does not show what it must.
pub(crate) fn controls() -> Result<()> {
    run(cargo(&["test", "--release", "--workspace", "--test", "controls", "--", "--include-ignored"])
        .args(["--test-threads", "1"]))
}

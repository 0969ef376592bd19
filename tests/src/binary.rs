//! The program under test.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::root;

/// The `titer` program, built from the sources as they are now; `TITER_BIN` names another one to test.
///
/// # Panics
/// When it does not build.
pub fn titer() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("TITER_BIN").map_or_else(build, PathBuf::from))
}

/// Cargo in the repository's root, as if called from a shell. A test inherits what cargo says of the test's own
/// package, and build scripts that read it (ring's) would take every call for a change.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let of_package = |prefix: &str| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if of_package("CARGO_PKG_") || of_package("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command.current_dir(root());
    command
}

/// Asks cargo (for the whole workspace, whose features the tests are built with), which builds only what has
/// changed and knows where it puts the program.
fn build() -> PathBuf {
    let output = cargo()
        .args(["build", "--release", "--workspace", "--bin", "titer"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "titer does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let is_titer = message["target"]["name"] == "titer" && message["target"]["kind"][0] == "bin";
            is_titer.then(|| message["executable"].as_str().map(PathBuf::from))?
        })
        .next_back()
        .expect("cargo says where the program is")
}

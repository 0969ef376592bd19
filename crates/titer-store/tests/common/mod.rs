//! What the tests share: a stage and its description.

use std::process::Command;

use serde_json::json;
use titer_plan::StageHash;
use titer_store::{Begin, Description, Provenance, Store, Writer};

pub(crate) fn hash(digit: &str) -> StageHash {
    StageHash(digit.repeat(64))
}

pub(crate) fn description() -> Description {
    Description {
        kind: "attack".to_owned(),
        label: "full-finetune/rate=3e-5".to_owned(),
        spec: json!({ "rate": 3e-5, "steps": 200 }),
        inputs: vec![hash("c")],
        provenance: Provenance { git: Some("0123abc".to_owned()), ..Provenance::default() },
    }
}

#[track_caller]
pub(crate) fn writer(store: &Store, hash: &StageHash) -> Writer {
    match store.begin(hash, &description()).unwrap() {
        Begin::Writer(writer) => *writer,
        Begin::Sealed(_) => panic!("already sealed"),
    }
}

/// One test of this very executable, to be run as a child that sees `variable`.
#[allow(dead_code, reason = "not every test binary starts children")]
pub(crate) fn this_test(name: &str, variable: &str, value: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(variable, value);
    command
}

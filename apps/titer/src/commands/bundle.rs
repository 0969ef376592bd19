//! `titer bundle`.

use std::path::Path;

use serde_json::json;
use titer_store::{Store, Weights};
use titer_view::{sanitise, wording};

use crate::cli::{BundleArgs, PackedWeights};
use crate::exit::Exit;
use crate::output;

pub(super) fn bundle(store: &Path, arguments: &BundleArgs) -> anyhow::Result<Exit> {
    let (store, name) = (Store::open(store)?, &arguments.experiment);
    let weights = match arguments.weights {
        PackedWeights::None => Weights::None,
        PackedWeights::Adapters => Weights::Adapters,
        PackedWeights::All => Weights::All,
    };
    let packed = titer_lab::bundle(&store, name, weights, &arguments.out)?;
    if arguments.json {
        output::json(&json!({
            "experiment": name,
            "written": arguments.out,
            "weights": weights,
            "packed": packed,
        }))?;
        return Ok(Exit::Done);
    }
    let path = sanitise::line(&arguments.out.display().to_string()).into_owned();
    output::result(&format!("{path}\n"))?;
    let left_out = match packed.left_out {
        0 => String::new(),
        count => format!("; {} of weights left out", wording::count(count, "file")),
    };
    output::message(&format!(
        "{}, {}, {:.2} MB in {:.2} MB{left_out}; anyone can check it: titer verify {path}",
        wording::count(packed.stages, "stage"),
        wording::count(packed.files, "file"),
        packed.bytes as f64 / 1e6,
        packed.packed as f64 / 1e6,
    ));
    Ok(Exit::Done)
}

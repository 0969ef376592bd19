//! A spec: TOML to its plan, what that will cost and what it can decide; what is said of a spec that has mistakes.
#![no_main]

use std::sync::LazyLock;

use titer_fuzz::{Seeds, files, folder, target};
use titer_lab::Source;
use titer_plan::{Catalogue, Plan};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(titer_lab::catalogue);

/// Of larger plans only the making is tried: they are made of the same parts.
const STAGES: usize = 40;

fn seeds() -> Seeds {
    let small = |(name, _): &(String, Vec<u8>)| name.contains("smoke");
    let presets = files("data/presets", "toml").into_iter().filter(small).collect();
    [files("tests/specs", "toml"), files("tests/data", "toml"), presets].concat()
}

fn plan(text: &str) -> Option<Plan> {
    // What has data of its own is read by other code, which makes its own catalogue: slow.
    if !["\ndata", "dataset", "judges"].iter().any(|key| text.contains(key)) {
        return Some(
            titer_plan::read("spec.toml", text, &[], &CATALOGUE)
                .map_err(|said| said.to_string())
                .ok()?
                .plan(Vec::new()),
        );
    }
    let source = Source { file: "spec.toml".to_owned(), folder: folder().to_owned(), text: text.to_owned() };
    let _ = titer_lab::completed(&source);
    titer_lab::plan(&source, &[]).map_err(|said| said.to_string()).ok()
}

target!(seeds, |bytes| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(plan) = plan(text) else { return };
    let _ = titer_lab::planned_power(&plan.experiment, None, &[]);
    if plan.stages.len() > STAGES {
        return;
    }
    let estimate = titer_lab::estimate(&plan, None);
    let _ = (estimate.memory_bytes(2), estimate.jobs_within(1e9, 4));
    let json = serde_json::to_string(&plan).expect("a plan is JSON");
    let again: Plan = titer_plan::parse_plan(&json).expect("a plan that was written is read");
    assert!(again == plan, "a plan that was written is read as another");
});

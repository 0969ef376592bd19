//! Plans two large experiments into a store, for `cargo xtask store-bench`: `large`, of about as many stages as asked for, and
//! `orphans`, the same with other seeds.
//!
//! `large_plans STORE TINY LARGE COUNT` enlarges the experiment of `TINY`, `tests/data/tiny.toml`, and writes the large one's
//! spec to `LARGE`.

use std::error::Error;
use std::fs;

use titer_lab::{plan, source};
use titer_store::Store;

/// Seeds of each defence.
const DEFENCE_SEEDS: usize = 20;
/// Seeds of each attacker.
const ATTACK_SEEDS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [root, tiny, path, count] = given.as_slice() else {
        return Err("usage: large_plans STORE TINY LARGE COUNT".into());
    };
    let (store, tiny, count) = (Store::open(root)?, source(tiny)?, count.parse()?);
    for (name, seed) in [("orphans", 1), ("large", 0)] {
        fs::write(path, enlarged(&tiny.text, name, seed, count))?;
        let spec = source(path)?;
        let plan = plan(&spec, &[])?;
        store.experiment(name)?.save(&spec.text, &serde_json::to_string_pretty(&plan)?)?;
    }
    Ok(())
}

/// The spec with as many seeds and rates as come to about `count` attacks on all defences together.
fn enlarged(spec: &str, name: &str, seed: u64, count: usize) -> String {
    // On two defences and, aligned as often, the undefended model.
    let rates = (count / (3 * DEFENCE_SEEDS * ATTACK_SEEDS)).max(1);
    let rates: Vec<String> =
        (0..rates).map(|rate| format!("{:e}", 1e-4 * 1.05f64.powi(rate as i32))).collect();
    let attacks = format!("seeds = {ATTACK_SEEDS}\nrate = [{}]", rates.join(", "));
    spec.replacen("name = \"tiny\"", &format!("name = \"{name}\""), 1)
        .replacen("seed = 0", &format!("seed = {seed}"), 1)
        .replace("seeds = 1\nsham", &format!("seeds = {DEFENCE_SEEDS}\nsham"))
        .replacen("seeds = 1\nrate = [1e-3, 3e-3]", &attacks, 1)
}

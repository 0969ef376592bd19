//! A store of which any one file is a stranger's, all sums right: shown, watched and audited.
#![no_main]

use titer_fuzz::{Seeds, parts, stores, target};
use titer_lab::live::Watcher;
use titer_lab::{Interrupt, Results};
use titer_plan::StageHash;

fn seeds() -> Seeds {
    stores::inputs(|name| !name.ends_with(".safetensors"))
}

target!(seeds, |bytes| {
    let Some((name, content)) = parts::named(bytes) else { return };
    let Some(replaced) = stores::Replaced::new(name, content) else { return };
    let Some(store) = replaced.store() else { return };
    let mut watcher = Watcher::new(store.clone());
    let _ = (watcher.overview(), watcher.experiment(stores::EXPERIMENT));
    let artifact = name.strip_prefix("artifacts/").and_then(|name| name.split_once('/'));
    if let Some((hash, _)) = artifact {
        let hash = StageHash(hash.to_owned());
        let _ = (watcher.stage(&hash), watcher.responses(&hash));
    }
    if let Ok(results) = Results::load(&store, stores::EXPERIMENT) {
        let _ = (results.training(), results.responses(), results.defence_costs());
        let _ = results.verdicts();
    }
    // An audit takes as long as all of that.
    if content.len().is_multiple_of(4) {
        let _ = titer_lab::verify(&store, stores::EXPERIMENT, None, &Interrupt::default());
    }
});

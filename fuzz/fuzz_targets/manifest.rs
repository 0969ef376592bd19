//! A manifest under a right seal.
#![no_main]

use titer_fuzz::{Seeds, stores, target};
use titer_store::Usage;

fn seeds() -> Seeds {
    let manifests = stores::all().iter().filter(|(name, _)| name.ends_with("manifest.json"));
    let mut seeds: Seeds = manifests.cloned().collect();
    for (name, text) in seeds.clone().iter().take(2) {
        for (at, outside) in titer_fuzz::OUTSIDE.iter().enumerate() {
            let text = String::from_utf8_lossy(text).replacen("probes.parquet", outside, 1);
            seeds.push((format!("{name}-{at}"), text.replacen("events.jsonl", outside, 1).into_bytes()));
        }
    }
    seeds
}

target!(seeds, |bytes| {
    let hash =
        stores::artifacts().into_iter().find(|hash| bytes.windows(64).any(|part| part == hash.0.as_bytes()));
    let Some(hash) = hash else { return };
    let Some(replaced) = stores::Replaced::new(&format!("artifacts/{}/manifest.json", hash.0), bytes) else {
        return;
    };
    let store = replaced.store().expect("its header is whole");
    let artifact = store.artifact(&hash);
    let _ = (artifact.manifest(), artifact.verify(), artifact.events(), artifact.dropped());
    let _ = (artifact.payload("probes.parquet"), artifact.payload("model"), artifact.audit(&|_| true));
    let _ = (Usage::default().add_artifact(&artifact), artifact.check_payload(), artifact.progress());
});

//! An event log that grows while it is followed, sealed and not.
#![no_main]

use std::fs;

use titer_fuzz::{Seeds, folder, parts, stores, target, write};
use titer_lab::live::Watcher;
use titer_plan::StageHash;
use titer_store::Store;

fn seeds() -> Seeds {
    let logs = stores::all().iter().filter(|(name, _)| name.ends_with("events.jsonl"));
    logs.map(|(name, bytes)| (name.clone(), bytes[..bytes.len().min(30_000)].to_vec())).collect()
}

target!(seeds, |bytes| {
    let [first, rest] = parts::divided(bytes);
    let store = Store::open_or_create(folder()).expect("a store");
    let hash = StageHash("ab".repeat(32));
    let artifact = store.artifact(&hash);
    let name = artifact.log_path().strip_prefix(folder()).expect("below").to_owned();
    let name = name.to_str().expect("a name");
    write(name, first);
    let mut reader = artifact.follow();
    let mut watcher = Watcher::new(store.clone());
    let _ = (reader.read(), artifact.progress(), watcher.stage(&hash));
    write(name, &[first, rest].concat());
    let (read, all) = (reader.read(), artifact.events());
    let _ = (artifact.progress(), watcher.stage(&hash), artifact.state());
    if let (Ok(_), Ok(all)) = (read, all) {
        for (place, record) in (0..).zip(&all) {
            assert_eq!(record.sequence, place, "records are numbered");
        }
    }
    // A log that became shorter is read again.
    write(name, rest);
    let _ = (reader.read(), watcher.stage(&hash));
    fs::remove_file(artifact.log_path()).expect("it was written");
});

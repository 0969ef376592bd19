//! What a spec names by a file of its own: worlds, policies, data sets, tasks and judges.
#![no_main]

use titer_data::origins::KINDS;
use titer_data::tasks::Task;
use titer_fuzz::{Seeds, files, target};
use titer_measures::measures::guard::Definition;

fn seeds() -> Seeds {
    ["worlds", "policies", "datasets", "tasks", "judges"]
        .into_iter()
        .enumerate()
        .flat_map(|(kind, name)| {
            let tagged =
                move |(file, text): (String, Vec<u8>)| (file, [vec![b'0' + kind as u8], text].concat());
            files(&format!("data/{name}"), "toml").into_iter().map(tagged)
        })
        .collect()
}

target!(seeds, |bytes| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match kind.wrapping_sub(b'0') {
        kind @ 0..3 => {
            let kind = KINDS[usize::from(kind)];
            if let Ok(origin) = (kind.parse)(text) {
                let _ = (origin.domains(), origin.counts(), origin.definition(), origin.sources());
            }
        }
        3 => {
            if let Ok(task) = Task::parse(text) {
                let _ = (task.form(), task.items(), task.asked(), task.sentences());
            }
        }
        _ => {
            let _ = Definition::parse(text).map(|judge| judge.complete());
        }
    }
});

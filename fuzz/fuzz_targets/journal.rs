//! What lies beside the plan of an experiment: journal, requests, kept verdicts and looks, the record of a search, what
//! was handed to a cluster, signs of runs.
#![no_main]

use titer_fuzz::{Seeds, folder, parts, stores, target, write};
use titer_lab::live::Watcher;
use titer_store::{Request, Store};

const NAMES: [&str; 6] =
    ["journal.jsonl", "control.json", "output.log", "looks.json", "search.json", "spec.toml"];

fn seeds() -> Seeds {
    let journal = stores::inputs(|name| name.ends_with("journal.jsonl"));
    let of = |name: &str, text: &str| (name.to_owned(), format!("{name}\n{text}").into_bytes());
    let others = [
        of("control.json", r#"{"number":3,"stop":1,"now":2,"hold":3,"first":["tar"]}"#),
        of("output.log", "stage 1 of 2\r50 %\n"),
        of("looks.json", r#"{"looks":[[{"defence":"tar","probe":"unseen"}]]}"#),
        of("search.json", r#"{"defence":"tar","trials":[],"winner":null}"#),
    ];
    let renamed = journal.into_iter().map(|(name, bytes)| {
        let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or_default();
        (name, [&b"journal.jsonl"[..], &bytes[at..]].concat())
    });
    renamed.chain(others).collect()
}

target!(seeds, |bytes| {
    let Some((name, content)) = parts::named(bytes) else { return };
    let Some(name) = NAMES.iter().find(|known| **known == name) else { return };
    let store = Store::open_or_create(folder()).expect("a store");
    let plan = stores::all().iter().find(|(name, _)| name.ends_with("plan.json")).expect("a plan");
    let path = format!("experiments/{}", stores::EXPERIMENT);
    write(&format!("{path}/plan.json"), &plan.1);
    let summed = ["looks.json", "search.json"].contains(name);
    let file =
        write(&format!("{path}/{name}"), &if summed { stores::with_sum(content) } else { content.to_vec() });
    let experiment = store.experiment(stores::EXPERIMENT).expect("a name");
    let _ =
        (experiment.follow().read(), experiment.control(), experiment.said(None), experiment.said(Some(5)));
    let _ = (experiment.runs(), experiment.looks_json(), experiment.search_json(), experiment.audit());
    let _ = titer_search::Record::load(&store, stores::EXPERIMENT);
    let mut watcher = Watcher::new(store.clone());
    let _ = (watcher.overview(), watcher.experiment(stores::EXPERIMENT));
    if *name == "control.json" {
        let _ = (experiment.ask(Request::Stop), experiment.control());
    }
    std::fs::remove_file(file).expect("it was written");
});

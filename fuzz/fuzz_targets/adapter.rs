//! A PEFT adapter, `adapter_config.json` and `adapter_model.safetensors`, put on a model and folded into it.
#![no_main]

use std::cell::OnceCell;
use std::fs;

use titer_fuzz::{Seeds, folder, models, parts, repository, target, write};
use titer_model::Decoder;

thread_local! {
    static BASE: OnceCell<[Decoder; 2]> = const { OnceCell::new() };
}

fn seeds() -> Seeds {
    let mut folders = vec![repository("tests/fixtures/peft")];
    let folds = fs::read_dir(repository("tests/fixtures/peft/folds")).expect("fixtures");
    folders.extend(folds.map(|entry| entry.expect("an entry").path()));
    let read = |folder: &std::path::Path, name: &str| fs::read(folder.join(name)).expect("a fixture");
    let joined = |folder: &std::path::PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = [read(folder, "adapter_config.json"), read(folder, "adapter_model.safetensors")];
        (name, parts::joined(&[&files[0], &files[1]]))
    };
    folders.iter().map(joined).collect()
}

target!(seeds, |bytes| {
    let [config, weights] = parts::divided(bytes);
    write("adapter/adapter_config.json", config);
    write("adapter/adapter_model.safetensors", weights);
    let path = folder().join("adapter");
    BASE.with(|base| {
        for base in base.get_or_init(|| ["llama-grouped", "llama-tied"].map(models::model)) {
            let copy = || base.duplicate().expect("a copy");
            let _ = copy().load_adapter(&path);
            let _ = copy().fold_adapter(&path);
        }
    });
});

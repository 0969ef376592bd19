//! The `config.json` of a checkpoint, and the `generation_config.json` beside it.
#![no_main]

use titer_fuzz::{Seeds, folder, models, parts, target, write};
use titer_model::{Config, Decoder};

fn seeds() -> Seeds {
    let generation = r#"{"eos_token_id":[2,3],"do_sample":true,"temperature":0.7,"repetition_penalty":1.1}"#;
    let both =
        |(name, config): (String, String)| (name, parts::joined(&[config.as_bytes(), generation.as_bytes()]));
    models::configs().into_iter().map(both).collect()
}

target!(seeds, |bytes| {
    let path = folder().join("model");
    if !path.exists() {
        models::chat(&path);
    }
    let [config, generation] = parts::divided(bytes);
    write("model/config.json", config);
    write("model/generation_config.json", generation);
    if let Ok(config) = Config::of_folder(&path) {
        let _ = (config.parameter_count(), config.heads(), config.rotated_dim());
        let again = Config::from_json(
            serde_json::from_str(&serde_json::to_string(&config).expect("JSON")).expect("JSON"),
        );
        assert!(again.is_ok(), "a configuration that was written is not read: {again:?}");
    }
    let _ = Decoder::load(&path, &models::DEVICE);
    let store = titer_store::Store::open_or_create(folder()).expect("a store");
    let _ = titer_lab::models::info(&store, &path.display().to_string(), &mut ());
});

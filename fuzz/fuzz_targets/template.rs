//! A chat template, compiled and rendered by the process that the program starts for that, with that one's limits.
#![no_main]

use titer_fuzz::{Seeds, files, folder, models, target, write};
use titer_lab::models::GenerateOptions;

fn seeds() -> Seeds {
    [files("tests/fixtures/chat_templates", "jinja"), files("fuzz/seeds/template", "jinja")].concat()
}

target!(seeds, |bytes| {
    let path = folder().join("model");
    if !path.exists() {
        models::chat(&path);
    }
    write("model/chat_template.jinja", bytes);
    let store = titer_store::Store::open_or_create(folder()).expect("a store");
    let options = GenerateOptions {
        prompt: "What is a lathe?".to_owned(),
        system: None,
        adapter: None,
        chat_template: None,
        max_new_tokens: 1,
        temperature: 0.0,
        seed: 0,
        logits: false,
    };
    let _ = titer_lab::models::generate(&store, &path.display().to_string(), &options, &mut (), &mut |_| {});
});

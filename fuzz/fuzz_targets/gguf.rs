//! A GGUF file: its header, its tensors, its configuration, its vocabulary and its template.
#![no_main]

use titer_fuzz::{folder, models, target, write};
use titer_model::{Decoder, gguf};

target!(models::gguf, |bytes| {
    let path = write("model.gguf", bytes);
    if let Ok(file) = gguf::File::open(&path) {
        for name in file.tensors().keys() {
            let _ = file.tensor(name);
        }
        let _ = file.config();
    }
    let _ = Decoder::load_gguf(&path, &models::DEVICE);
    let store = titer_store::Store::open_or_create(folder()).expect("a store");
    let _ = titer_lab::models::info(&store, &path.display().to_string(), &mut ());
});

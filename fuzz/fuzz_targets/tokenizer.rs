//! The files that say how a model reads: `tokenizer.json` and those beside it.
#![no_main]

use titer_data::text::{Streaming, TokenizerFiles};
use titer_fuzz::{Seeds, files, models, parts, target};

fn seeds() -> Seeds {
    let mut seeds: Seeds = models::beside_tokenizers()
        .into_iter()
        .enumerate()
        .map(|(at, (tokenizer, [config, map, added]))| {
            let parts = [&tokenizer, &config, &map, &added].map(String::as_bytes);
            (format!("beside-{at}"), parts::joined(&parts))
        })
        .collect();
    seeds.extend(
        files("tests/fixtures/guards", "json").into_iter().filter(|(name, _)| name == "tokenizer.json"),
    );
    seeds.extend(
        files("tests/fixtures/deberta/v3", "json").into_iter().filter(|(name, _)| name == "tokenizer.json"),
    );
    seeds.extend(files("fuzz/seeds/tokenizer", "json"));
    seeds
}

target!(seeds, |bytes| {
    let [tokenizer, config, map, added] = parts::divided(bytes);
    let [config, special_tokens_map, added_tokens] =
        [config, map, added].map(|part| Some(part).filter(|part| !part.is_empty()));
    let files = TokenizerFiles { tokenizer, config, special_tokens_map, added_tokens };
    let Ok((tokenizer, config)) = files.read() else { return };
    let _ = (tokenizer.size(), tokenizer.check_vocabulary(421), config.template());
    for text in ["", "What is a lathe?", "<|im_start|>user\nž 🚀\u{0}</s>", "   \n\n  x"] {
        let _ = tokenizer.encode_plain(text);
        let _ = tokenizer.encode_whole(text);
        if let Ok(tokens) = tokenizer.encode(text) {
            let _ = (tokenizer.decode(&tokens), tokenizer.decode_all(&tokens));
            let mut streaming = Streaming::new(&tokenizer);
            for token in tokens {
                let _ = (streaming.push(token), tokenizer.token(token), tokenizer.is_added(token));
            }
            let _ = streaming.finish();
        }
    }
    let _ = (tokenizer.decode(&[0, 1, u32::MAX]), tokenizer.to_json());
});

//! Models that were trained elsewhere: where they are, what shape they have, and how they speak.

use std::fs;
use std::path::Path;

use serde_json::json;
use titer_data::text::{Chat, GgufVocabulary, SpecialTokens, Tokenizer, TokenizerConfig, TokenizerFiles};
use titer_hub::{Hub, Progress, Reference, Resolved, Settings};
use titer_model::{Config, gguf};

use crate::files::text;
use crate::generation::{GENERATION_CONFIG, GenerationConfig, warn_once};
use crate::{Error, Result, templates};

/// The files of a directory that say how a model reads and speaks, as Transformers names them.
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";

/// Finds a known model, a directory, a `.gguf` file, or a model of the hub, which is downloaded where it is
/// not in the cache.
pub(crate) fn locate(reference: &str, progress: &mut dyn Progress) -> Result<Resolved> {
    let parsed: Reference = reference.parse()?;
    Ok(Hub::new(Settings::from_env()?).resolve(&parsed, progress)?)
}

/// The tokens that end an answer: those of the chat's turns, of the model's configuration, and of the
/// generation's, where the directory has one.
pub(crate) fn ends(path: &Path, chat: &Chat, config: &Config) -> Result<Vec<u32>> {
    ends_of(path, chat.end_of_turn(), config)
}

/// The same of a model of texts, whose turns or texts end with one of `known`.
pub(crate) fn ends_of(path: &Path, known: &[u32], config: &Config) -> Result<Vec<u32>> {
    let mut ends = [known, &config.eos_token_id].concat();
    ends.extend(GenerationConfig::read(path)?.ends());
    ends.retain(|end| (*end as usize) < config.vocab_size);
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

/// The shape of a model, without its weights.
pub(crate) fn shape(path: &Path) -> Result<Config> {
    if path.is_dir() { Ok(Config::of_folder(path)?) } else { Ok(gguf::File::open(path)?.config()?) }
}

/// How a model reads and speaks: from the files beside its weights, or from inside its GGUF; by the stated template
/// in place of its own, where one is stated.
pub(crate) fn read_chat(path: &Path, stated: Option<&str>) -> Result<Chat> {
    let (tokenizer, config) = read_tokenizer(path)?;
    let own = match optional(path, TEMPLATE)? {
        Some(template) => Some(text(&path.join(TEMPLATE), template)?),
        None => config.template().map(str::to_owned),
    };
    chat(tokenizer, stated.or(own.as_deref()), config.special, path)
}

/// How a model reads texts, and what is said beside its tokenizer.
pub(crate) fn read_tokenizer(path: &Path) -> Result<(Tokenizer, TokenizerConfig)> {
    if !path.is_dir() {
        let vocabulary = vocabulary(&gguf::File::open(path)?);
        let templates = vocabulary.chat_template.iter().map(|text| ("default".to_owned(), text.clone()));
        let config =
            TokenizerConfig { special: SpecialTokens::from(&vocabulary), templates: templates.collect() };
        return Ok((Tokenizer::from_gguf(&vocabulary)?, config));
    }
    let Some(tokenizer) = optional(path, TOKENIZER)? else {
        let problem = format!("{} has no {TOKENIZER}: save the model with its tokenizer", path.display());
        return Err(Error::NoChat { problem });
    };
    let (config, map, added) =
        (optional(path, TOKENIZER_CONFIG)?, optional(path, SPECIAL_TOKENS)?, optional(path, ADDED_TOKENS)?);
    let files = TokenizerFiles {
        tokenizer: &tokenizer,
        config: config.as_deref(),
        special_tokens_map: map.as_deref(),
        added_tokens: added.as_deref(),
    };
    Ok(files.read()?)
}

/// A file of a folder, where it has one of that name; a GGUF has none beside it.
fn optional(folder: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(titer_model::Error::File { path, action: "read", source }.into()),
    }
}

fn chat(tokenizer: Tokenizer, template: Option<&str>, special: SpecialTokens, path: &Path) -> Result<Chat> {
    let Some(template) = template else {
        let problem = format!(
            "{} has no chat template: titer measures chat models (of a base model, state one: `chat_template` in \
             [model])",
            path.display()
        );
        return Err(Error::NoChat { problem });
    };
    let chat = Chat::new(tokenizer, templates::compiled(template)?, special)?;
    let divided = chat.divided_marks()?;
    let in_vocabulary = |mark: &&String| chat.tokenizer().id(mark).is_some();
    if let Some(mark) = divided.iter().find(in_vocabulary).filter(|_| !path.is_dir()) {
        let problem = format!(
            "{}: tokenizer.ggml.token_type: {mark} is in the vocabulary and its type is that of ordinary text, so that \
             it would be divided where the template writes it: convert the model again, or load its folder",
            path.display()
        );
        return Err(Error::NoChat { problem });
    }
    if !divided.is_empty() {
        warn_once(format!(
            "{}: the template writes {}, which the tokenizer divides into several tokens: right only where the model was \
             trained so",
            path.display(),
            divided.join(", ")
        ));
    }
    Ok(chat)
}

/// The files from which [`read_chat`], [`ends`] and Transformers read the same chat as from `path`, by name.
pub(crate) fn chat_files(path: &Path, chat: &Chat, config: &Config) -> Result<[(&'static str, Vec<u8>); 3]> {
    let special = chat.special();
    let tokenizer = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "bos_token": special.bos,
        "eos_token": special.eos,
        "unk_token": special.unk,
        "pad_token": special.pad,
        "chat_template": chat.template().source(),
    });
    let mut generation = GenerationConfig::read(path)?;
    generation.end_at(&ends(path, chat, config)?);
    Ok([
        (TOKENIZER, chat.tokenizer().to_json()?),
        (TOKENIZER_CONFIG, serde_json::to_vec_pretty(&tokenizer)?),
        (GENERATION_CONFIG, serde_json::to_vec_pretty(generation.keys())?),
    ])
}

/// What a GGUF says of its vocabulary.
fn vocabulary(file: &gguf::File) -> GgufVocabulary {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |name: &str| file.u32(&key(name));
    let flag = |name: &str| file.bool(&key(name));
    let texts = |name: &str| file.strings(&key(name)).unwrap_or_default();
    let (model, pre) = (file.string(&key("model")).unwrap_or_default(), file.string(&key("pre")));
    // As llama.cpp has it where the file does not say.
    let begun = model == "llama" || pre.is_some_and(|pre| ["llama-bpe", "llama3", "llama-v3"].contains(&pre));
    GgufVocabulary {
        model: model.to_owned(),
        pre: pre.map(str::to_owned),
        tokens: texts("tokens"),
        scores: file.f32s(&key("scores")).unwrap_or_default(),
        token_types: file.i32s(&key("token_type")).unwrap_or_default(),
        merges: texts("merges"),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        unk: id("unknown_token_id"),
        pad: id("padding_token_id"),
        add_bos: flag("add_bos_token").unwrap_or(begun),
        add_eos: flag("add_eos_token").unwrap_or_default(),
        add_space_prefix: flag("add_space_prefix"),
        chat_template: file.string("tokenizer.chat_template").map(str::to_owned),
    }
}

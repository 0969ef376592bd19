//! The vocabulary of a GGUF file as a `tokenizer.json`.
//!
//! Pre-tokenizers and normalizers as in the models' own `tokenizer.json` files; where llama.cpp departs
//! from these (Qwen2's NFC), the models' own hold. The merges of a SentencePiece vocabulary are made from
//! its scores as Transformers makes them.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::TextError;

/// What the metadata `tokenizer.ggml.*` and `tokenizer.chat_template` of a GGUF file say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GgufVocabulary {
    /// `model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// `pre`: the pre-tokenizer of a `gpt2` vocabulary.
    pub pre: Option<String>,
    /// `tokens`: text of each id.
    pub tokens: Vec<String>,
    /// `scores`: of each id, for `llama`; larger merge first.
    pub scores: Vec<f32>,
    /// `token_type`: of each id; empty when all are ordinary.
    pub token_types: Vec<i32>,
    /// `merges`: pairs with a space between, first merged first; made from the scores when empty and
    /// `model` is `llama`.
    pub merges: Vec<String>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: bool,
    /// `add_eos_token`.
    pub add_eos: bool,
    /// `add_space_prefix`; for `llama`, a space precedes the text unless this says no.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
}

const ORDINARY: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// Ordinary tokens that no merge makes, of all that one must make: above this share merges were lost.
const MOST_UNMADE: f64 = 0.05;

/// Bytes of a token at most: longer ones make the search for merges costly and serve no language.
const LONGEST: usize = 4096;

/// What separates words in SentencePiece.
const SPACE: &str = "\u{2581}";

fn wrong(key: &'static str, problem: impl Into<String>) -> TextError {
    TextError::Gguf { key, problem: problem.into() }
}

impl GgufVocabulary {
    /// The text of the token of an id.
    pub fn token(&self, id: Option<u32>) -> Option<&str> {
        self.tokens.get(id? as usize).map(String::as_str)
    }

    pub(super) fn tokenizer_json(&self) -> Result<Value, TextError> {
        let ids = self.ids()?;
        let (normalizer, pre_tokenizer, decoder, ignore_merges) = match self.model.as_str() {
            "gpt2" => self.byte_level()?,
            "llama" => self.sentence_piece(),
            other => return Err(wrong("model", format!("{other:?} is unknown: expected gpt2 or llama"))),
        };
        let sentence_piece = self.model == "llama";
        let merges = match (sentence_piece, self.merges.is_empty()) {
            (true, true) => self.merges_by_score(&ids)?,
            (false, true) => {
                return Err(wrong(
                    "merges",
                    "there are none, and without them other tokens would come out: convert the model again, or load its folder",
                ));
            }
            _ => self.listed_merges(&ids)?,
        };
        let vocabulary: Map<String, Value> =
            ids.iter().map(|(token, id)| ((*token).to_owned(), Value::from(*id))).collect();
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.added_tokens(&ids),
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": self.post_processor(),
            "decoder": decoder,
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": self.unknown(&ids)?,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": sentence_piece,
                "byte_fallback": sentence_piece,
                "ignore_merges": ignore_merges,
                "vocab": vocabulary,
                "merges": merges,
            },
        }))
    }

    /// Ids by token, with the lengths of all lists checked.
    fn ids(&self) -> Result<HashMap<&str, u32>, TextError> {
        let count = self.tokens.len();
        if count == 0 {
            return Err(wrong("tokens", "there are none"));
        }
        if !self.token_types.is_empty() && self.token_types.len() != count {
            let types = self.token_types.len();
            return Err(wrong("token_type", format!("{types} types are given for {count} tokens")));
        }
        let mut ids: HashMap<&str, u32> = HashMap::with_capacity(count);
        for (id, token) in (0..).zip(&self.tokens) {
            if token.len() > LONGEST {
                let bytes = token.len();
                return Err(wrong("tokens", format!("token {id} has {bytes} bytes: more than {LONGEST}")));
            }
            // No text has it, and many rows of padding do.
            if token.is_empty() {
                continue;
            }
            let first = *ids.entry(token.as_str()).or_insert(id);
            if first == id {
                continue;
            }
            // Of equal ones that which a text can come to; rows that fill the embedding are none.
            match (self.needed(first), self.needed(id)) {
                (true, true) => {
                    return Err(wrong("tokens", format!("{token:?} is the token of both {first} and {id}")));
                }
                (false, true) => drop(ids.insert(token, id)),
                (_, false) => {}
            }
        }
        Ok(ids)
    }

    /// Whether a text may come to a token: not to rows that fill the embedding, nor to what repeats others.
    fn needed(&self, id: u32) -> bool {
        let kind = self.token_types.get(id as usize).copied().unwrap_or(ORDINARY);
        ![UNUSED, USER_DEFINED].contains(&kind)
    }

    /// What stands for characters that the vocabulary lacks: in SentencePiece, where not every byte is a token.
    fn unknown(&self, ids: &HashMap<&str, u32>) -> Result<Option<&str>, TextError> {
        if self.model != "llama" {
            return Ok(None);
        }
        let bytes = (0..=255u8).all(|byte| ids.contains_key(format!("<0x{byte:02X}>").as_str()));
        match (self.token(self.unk), self.unk) {
            (None, Some(id)) if !bytes => {
                let count = self.tokens.len();
                Err(wrong("unknown_token_id", format!("{id} is not below the number of tokens, {count}")))
            }
            (token, _) => Ok(token),
        }
    }

    /// Tokens recognised whole: control tokens and the named ones as special, the makers' own as added.
    fn added_tokens(&self, ids: &HashMap<&str, u32>) -> Value {
        let special = |kind: &i32| [UNKNOWN, CONTROL].contains(kind);
        let kept = |id: &u32| self.token(Some(*id)).is_some_and(|token| ids.get(token) == Some(id));
        let named = [self.bos, self.eos, self.unk, self.pad].into_iter().flatten();
        let mut specials: BTreeSet<u32> = named.filter(kept).collect();
        let mut added = BTreeSet::new();
        for (id, kind) in (0..).zip(&self.token_types).filter(|(id, _)| kept(id)) {
            if special(kind) {
                specials.insert(id);
            } else if *kind == USER_DEFINED {
                added.insert(id);
            }
        }
        let all = specials.union(&added).map(|id| {
            json!({
                "id": id,
                "content": self.tokens[*id as usize],
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": specials.contains(id),
            })
        });
        all.collect()
    }

    /// The merges as they are listed, without those that no text can come to.
    fn listed_merges(&self, ids: &HashMap<&str, u32>) -> Result<Vec<[&str; 2]>, TextError> {
        let pair = |merge: &'_ String| {
            // A token may itself begin with a space; what separates the two is a later one.
            let start = merge.chars().next().map_or(0, char::len_utf8);
            merge[start..].find(' ').map(|at| start + at)
        };
        let (mut merges, mut made) = (Vec::with_capacity(self.merges.len()), HashSet::new());
        for (rank, merge) in (0..).zip(&self.merges) {
            let Some(at) = pair(merge) else {
                return Err(wrong("merges", format!("merge {rank}, {merge:?}, is no pair of tokens")));
            };
            let (left, right) = (&merge[..at], &merge[at + 1..]);
            let Some(result) = ids.get([left, right].concat().as_str()) else { continue };
            if ids.contains_key(left) && ids.contains_key(right) {
                made.insert(*result);
                merges.push([left, right]);
            }
        }
        self.refuse_lost(ids, &made)?;
        Ok(merges)
    }

    /// Refuses merges of which a part is missing: ordinary tokens of several characters that no merge makes.
    fn refuse_lost(&self, ids: &HashMap<&str, u32>, made: &HashSet<u32>) -> Result<(), TextError> {
        if self.model == "llama" {
            return Ok(());
        }
        let kind = |id: u32| self.token_types.get(id as usize).copied().unwrap_or(ORDINARY);
        let named = [self.bos, self.eos, self.unk, self.pad];
        let mut count = 0;
        let mut unmade = Vec::new();
        for (token, id) in ids {
            if kind(*id) != ORDINARY || named.contains(&Some(*id)) || token.chars().nth(1).is_none() {
                continue;
            }
            count += 1;
            if !made.contains(id) {
                unmade.push(*id);
            }
        }
        if unmade.len() as f64 <= MOST_UNMADE * f64::from(count) {
            return Ok(());
        }
        let first = self.token(unmade.iter().min().copied()).unwrap_or_default();
        let unmade = unmade.len();
        let problem = format!(
            "{unmade} of {count} ordinary tokens, such as {first:?}, are made by no merge: a part of the merges is \
             missing, and other tokens would come out; convert the model again, or load its folder"
        );
        Err(wrong("merges", problem))
    }

    /// Every way to make a token of two others, the tokens of the highest score first.
    fn merges_by_score<'t>(&'t self, ids: &HashMap<&'t str, u32>) -> Result<Vec<[&'t str; 2]>, TextError> {
        let (tokens, scores) = (self.tokens.len(), self.scores.len());
        if scores != tokens {
            return Err(wrong("scores", format!("{scores} scores are given for {tokens} tokens")));
        }
        let mut merges = Vec::new();
        for (token, score) in self.tokens.iter().zip(&self.scores) {
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(first), Some(second)) = (ids.get(left), ids.get(right)) {
                    merges.push((*score, (*first, *second), [left, right]));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        Ok(merges.into_iter().map(|(_, _, pair)| pair).collect())
    }

    /// Normalizer, pre-tokenizer, decoder, and whether a word that is a token is not merged at all.
    fn byte_level(&self) -> Result<(Value, Value, Value, bool), TextError> {
        let bytes = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
            })
        };
        let words = |pattern: &str| {
            let split = json!({
                "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
            });
            json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
        };
        let digits = || {
            let digits = json!({"type": "Digits", "individual_digits": true});
            json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]})
        };
        // Names that llama.cpp gives one rule (src/llama-vocab.cpp) are one here.
        let (normalizer, pre_tokenizer, ignore_merges) = match self.pre.as_deref() {
            Some(
                "gpt-2" | "gpt2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "gigachat" | "mellum",
            ) => (Value::Null, bytes(true), false),
            Some("smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone") => {
                (Value::Null, digits(), false)
            }
            Some(
                "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
                | "lfm2",
            ) => (Value::Null, words(&word_pattern(r"\p{L}", "{1,3}")), true),
            Some("smaug-bpe" | "dbrx") => (Value::Null, words(&word_pattern(r"\p{L}", "{1,3}")), false),
            Some("qwen2" | "deepseek-r1-qwen" | "kormo") => {
                (json!({"type": "NFC"}), words(&word_pattern(r"\p{L}", "")), false)
            }
            Some("stablelm2" | "hunyuan" | "megrez") => {
                (Value::Null, words(&word_pattern(r"\p{L}", "")), false)
            }
            Some("qwen35") => (json!({"type": "NFC"}), words(&word_pattern(r"\p{L}\p{M}", "")), false),
            None | Some("" | "default") => {
                return Err(wrong(
                    "pre",
                    "the file does not say how text is divided before it becomes tokens, and the guess that other \
                     programs make is GPT-2's, which most models are not: convert the model again, set the key \
                     (gguf_new_metadata.py --pre-tokenizer), or load its folder",
                ));
            }
            Some(other) => {
                return Err(wrong(
                    "pre",
                    format!(
                        "the pre-tokenizer {other:?} is unknown: titer knows those of GPT-2, SmolLM, Llama 3, Qwen 2 \
                         and 3.5 by their names in llama.cpp; load the model from a directory with a tokenizer.json"
                    ),
                ));
            }
        };
        let mut decoder = bytes(true);
        decoder["add_prefix_space"] = true.into();
        Ok((normalizer, pre_tokenizer, decoder, ignore_merges))
    }

    fn sentence_piece(&self) -> (Value, Value, Value, bool) {
        let prefix = self.add_space_prefix.unwrap_or(true);
        let replace =
            |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let mut normalizers = vec![replace(" ", SPACE)];
        let mut decoders =
            vec![replace(SPACE, " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
        if prefix {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let normalizer = json!({"type": "Sequence", "normalizers": normalizers});
        (normalizer, Value::Null, json!({"type": "Sequence", "decoders": decoders}), false)
    }

    /// What Transformers adds around a text of its own accord; titer's `encode` adds nothing.
    fn post_processor(&self) -> Value {
        let added = |wanted: bool, id: Option<u32>| self.token(id.filter(|_| wanted)).zip(id);
        let (bos, eos) = (added(self.add_bos, self.bos), added(self.add_eos, self.eos));
        if bos.is_none() && eos.is_none() {
            return Value::Null;
        }
        let around = |sequences: &[(&str, u32)]| -> Value {
            let mut template = Vec::new();
            for (name, kind) in sequences {
                let special = |(token, _)| json!({"SpecialToken": {"id": token, "type_id": kind}});
                template.extend(bos.map(special));
                template.push(json!({"Sequence": {"id": name, "type_id": kind}}));
                template.extend(eos.map(special));
            }
            template.into()
        };
        let tokens: Map<String, Value> = [bos, eos]
            .into_iter()
            .flatten()
            .map(|(token, id)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})))
            .collect();
        json!({
            "type": "TemplateProcessing",
            "single": around(&[("A", 0)]),
            "pair": around(&[("A", 0), ("B", 1)]),
            "special_tokens": tokens,
        })
    }
}

/// The words of Llama 3 and, with single digits, of Qwen 2; `letters` is what they are made of.
fn word_pattern(letters: &str, digits: &str) -> String {
    let one = if letters == r"\p{L}" { letters.to_owned() } else { format!("[{letters}]") };
    format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{one}+|\p{{N}}{digits}| ?[^\s{letters}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

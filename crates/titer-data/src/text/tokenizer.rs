//! Text as tokens of a model's vocabulary.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use tokenizers::AddedToken;
use tokenizers::models::ModelWrapper;
use tokenizers::processors::template::TemplateProcessing;

use super::{GgufVocabulary, TextError};

/// A model's tokenizer, as `tokenizer.json` describes it.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    plain: OnceLock<Box<tokenizers::Tokenizer>>,
    /// The largest id of a token that is not recognised whole.
    largest: u32,
}

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`. Truncation and padding that it asks for are not done.
    ///
    /// # Errors
    /// When it is none, has no tokens, or would encode at random (BPE dropout).
    pub fn from_json(json: &[u8]) -> Result<Self, TextError> {
        let wrong = |problem: String| TextError::Tokenizer { problem };
        // The library panics on some malformed files: on bad syntax, which is found here first, and on
        // bad values, of which the panic says what is wrong.
        serde_json::from_slice::<serde_json::Value>(json).map_err(|error| wrong(error.to_string()))?;
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(json)).map_err(wrong)?;
        if let ModelWrapper::BPE(bpe) = inner.get_model()
            && let Some(dropout) = bpe.dropout
            && dropout > 0.0
        {
            return Err(wrong(format!(
                "its BPE drops merges at random (dropout {dropout}): set dropout to null"
            )));
        }
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
        let added = inner.get_added_tokens_decoder();
        let ordinary = inner.get_vocab(false).into_values().filter(|id| !added.contains_key(id)).max();
        if inner.get_vocab_size(true) == 0 {
            return Err(wrong("it has no tokens".to_owned()));
        }
        let largest = ordinary.unwrap_or_default();
        Ok(Self { inner, plain: OnceLock::new(), largest })
    }

    /// The tokens that the file itself has recognised whole, in order of their ids.
    pub(super) fn added(&self) -> Vec<AddedToken> {
        let mut tokens: Vec<_> = self.inner.get_added_tokens_decoder().into_iter().collect();
        tokens.sort_by_key(|(id, _)| *id);
        tokens.into_iter().map(|(_, token)| token).collect()
    }

    /// Adds tokens that are recognised whole, as Transformers does: those that the vocabulary has keep their ids, the
    /// others get the next ones. `special` come last and are special whatever else is said.
    pub(super) fn add(&mut self, tokens: Vec<AddedToken>, special: Vec<AddedToken>) -> Result<(), TextError> {
        let inner = &mut self.inner;
        coded(|| {
            inner.add_tokens(tokens)?;
            inner.add_special_tokens(special)?;
            Ok(())
        })
    }

    /// Divides special tokens like any other text.
    pub(super) fn split_special(&mut self) {
        self.inner.set_encode_special_tokens(true);
    }

    /// Builds the tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// When the vocabulary is of a kind that titer does not know, or contradicts itself.
    pub fn from_gguf(vocabulary: &GgufVocabulary) -> Result<Self, TextError> {
        Self::from_json(vocabulary.tokenizer_json()?.to_string().as_bytes())
    }

    /// The tokens of `text`, in which special tokens are recognised; none is added at the ends.
    ///
    /// # Errors
    /// When the tokenizer fails, as one without byte fallback or unknown token may.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        Ok(coded(|| self.inner.encode_fast(text, false))?.get_ids().to_vec())
    }

    /// The tokens of a whole text, with what the tokenizer adds at its ends: a beginning, for many models.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_whole(&self, text: &str) -> Result<Vec<u32>, TextError> {
        Ok(coded(|| self.inner.encode_fast(text, true))?.get_ids().to_vec())
    }

    /// Sets what is added at the ends of a whole text: these tokens before and after it, where there are any.
    pub(super) fn surround(&mut self, before: Option<&str>, after: Option<&str>) -> Result<(), TextError> {
        let around = |kind: usize, text: &str| {
            let token = |token: Option<&str>| token.map(|token| format!("{token}:{kind}"));
            [token(before), Some(format!("{text}:{kind}")), token(after)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        };
        let named = [before, after].into_iter().flatten();
        let tokens = named.filter_map(|token| Some((token.to_owned(), self.id(token)?))).collect::<Vec<_>>();
        let template = TemplateProcessing::builder()
            .try_single(around(0, "$A"))
            .and_then(|builder| builder.try_pair([around(0, "$A"), around(1, "$B")].concat()))
            .map_err(|problem| TextError::Tokenizer { problem })?
            .special_tokens(tokens)
            .build()
            .map_err(|error| TextError::Tokenizer { problem: error.to_string() })?;
        self.inner.with_post_processor(Some(template));
        Ok(())
    }

    /// The tokens of a text whose author must not reach the special tokens: `<|im_end|>` in it is eight
    /// or so ordinary tokens.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let plain = self.plain.get_or_init(|| {
            let mut plain = Box::new(self.inner.clone());
            plain.set_encode_special_tokens(true);
            plain
        });
        Ok(coded(|| plain.encode_fast(text, false))?.get_ids().to_vec())
    }

    /// The tokens of `text` and the byte of `text` at which each ends.
    pub(super) fn encode_with_ends(&self, text: &str) -> Result<(Vec<u32>, Vec<usize>), TextError> {
        let encoding = coded(|| self.inner.encode(text, false))?;
        Ok((encoding.get_ids().to_vec(), encoding.get_offsets().iter().map(|(_, end)| *end).collect()))
    }

    /// The text of tokens, special ones left out. Ids that are no tokens are passed over.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TextError> {
        coded(|| self.inner.decode(tokens, true))
    }

    /// The text of tokens with the special ones spelt out.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode_all(&self, tokens: &[u32]) -> Result<String, TextError> {
        coded(|| self.inner.decode(tokens, false))
    }

    /// Number of tokens, the added ones included.
    pub fn size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token, as the vocabulary spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the token is recognised whole in a text: special, or added by the model's makers.
    pub fn is_added(&self, id: u32) -> bool {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id)
    }

    /// A `tokenizer.json` from which Transformers' `PreTrainedTokenizerFast` makes this tokenizer.
    ///
    /// # Errors
    /// When the library cannot serialise it.
    pub fn to_json(&self) -> Result<Vec<u8>, TextError> {
        Ok(coded(|| self.inner.to_string(false))?.into_bytes())
    }

    /// Checks that a model with `embedding_rows` rows embeds every ordinary token, which any text may come to.
    ///
    /// # Errors
    /// When such a token's id is beyond the rows.
    pub fn check_vocabulary(&self, embedding_rows: usize) -> Result<(), TextError> {
        if (self.largest as usize) < embedding_rows {
            return Ok(());
        }
        Err(self.above(self.largest, embedding_rows))
    }

    /// That a token's id is beyond a model's rows.
    pub(super) fn above(&self, id: u32, rows: usize) -> TextError {
        TextError::VocabularyAboveModel { id, token: self.token(id).unwrap_or_default(), rows }
    }
}

fn coded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, TextError> {
    guarded(work).map_err(|problem| TextError::Coding { problem })
}

/// What the library does with a stranger's file, or why it does not: some malformed ones make it panic, when they are
/// read or not before they are used.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        let said = panic.downcast_ref::<String>().cloned();
        said.unwrap_or_else(|| "the tokenizers library panicked on it".to_owned())
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panic) => Err(panicked(panic)),
    }
}

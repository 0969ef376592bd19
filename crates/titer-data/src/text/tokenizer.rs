//! Text as tokens of a model's vocabulary.

use std::sync::OnceLock;

use tokenizers::models::ModelWrapper;

use super::{GgufVocabulary, TextError};

/// A model's tokenizer, as `tokenizer.json` describes it.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    plain: OnceLock<Box<tokenizers::Tokenizer>>,
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
        let read = std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(json));
        let mut inner = match read {
            Ok(read) => read.map_err(|error| wrong(error.to_string()))?,
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                return Err(wrong(said.unwrap_or("the tokenizers library panicked on it").to_owned()));
            }
        };
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
        let largest = inner.get_vocab(true).into_values().max();
        let largest = largest.ok_or_else(|| wrong("it has no tokens".to_owned()))?;
        Ok(Self { inner, plain: OnceLock::new(), largest })
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
        Ok(self.inner.encode_fast(text, false).map_err(coding)?.get_ids().to_vec())
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
        Ok(plain.encode_fast(text, false).map_err(coding)?.get_ids().to_vec())
    }

    /// The tokens of `text` and the byte of `text` at which each ends.
    pub(super) fn encode_with_ends(&self, text: &str) -> Result<(Vec<u32>, Vec<usize>), TextError> {
        let encoding = self.inner.encode(text, false).map_err(coding)?;
        Ok((encoding.get_ids().to_vec(), encoding.get_offsets().iter().map(|(_, end)| *end).collect()))
    }

    /// The text of tokens, special ones left out. Ids that are no tokens are passed over.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.inner.decode(tokens, true).map_err(coding)
    }

    /// The text of tokens with the special ones spelt out.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode_all(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.inner.decode(tokens, false).map_err(coding)
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
        Ok(self.inner.to_string(false).map_err(coding)?.into_bytes())
    }

    /// Checks that a model with `embedding_rows` rows embeds every token.
    ///
    /// # Errors
    /// When a token's id is beyond the rows.
    pub fn check_vocabulary(&self, embedding_rows: usize) -> Result<(), TextError> {
        if (self.largest as usize) < embedding_rows {
            return Ok(());
        }
        let token = self.token(self.largest).unwrap_or_default();
        Err(TextError::VocabularyAboveModel { id: self.largest, token, rows: embedding_rows })
    }
}

fn coding(error: tokenizers::Error) -> TextError {
    TextError::Coding { problem: error.to_string() }
}

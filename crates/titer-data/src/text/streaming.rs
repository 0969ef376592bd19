//! An answer's text as its tokens come.

use super::{TextError, Tokenizer};

/// Decodes tokens one by one and gives out only text that later tokens cannot change.
///
/// A character of several bytes may span tokens; until its last byte is there it decodes to U+FFFD, which
/// is held back.
#[derive(Debug)]
pub struct Streaming<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<u32>,
    given: usize,
}

impl<'a> Streaming<'a> {
    /// Nothing decoded yet.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, tokens: Vec::new(), given: 0 }
    }

    /// The text that `token` completes; empty while a character is open. Special tokens give nothing.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn push(&mut self, token: u32) -> Result<String, TextError> {
        self.tokens.push(token);
        let text = self.tokenizer.decode(&self.tokens)?;
        Ok(self.give(text.trim_end_matches(char::REPLACEMENT_CHARACTER)))
    }

    /// What was held back: the replacement characters of a character that never came to its end.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn finish(mut self) -> Result<String, TextError> {
        let text = self.tokenizer.decode(&self.tokens)?;
        Ok(self.give(&text))
    }

    fn give(&mut self, text: &str) -> String {
        // A decoder may still turn characters it gave out into U+FFFD when invalid bytes follow; those
        // are not taken back.
        let Some(new) = text.get(text.ceil_char_boundary(self.given)..) else { return String::new() };
        self.given = self.given.max(text.len());
        new.to_owned()
    }
}

//! Prose that nobody trains on, for perplexity.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{read, wrong};
use crate::Result;

/// Paragraphs of plain prose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// Names the task.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// The paragraphs.
    pub paragraphs: Vec<Paragraph>,
}

/// A paragraph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paragraph {
    /// What it is about; names it.
    pub topic: String,
    /// Its text, on one line.
    pub text: String,
}

/// A sentence and the part of its paragraph before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Its paragraph's topic and its number there: `tides/2`.
    pub name: String,
    /// The sentences before it, as they stand; empty for the first.
    pub before: String,
    /// The sentence; with a space in front where something stands before it.
    pub text: String,
}

impl HeldOut {
    /// All sentences in their order. Together with what is before them they spell the paragraphs.
    pub fn sentences(&self) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        for paragraph in &self.paragraphs {
            let mut start = 0;
            // A full stop, question or exclamation mark before a space ends a sentence.
            let ends = paragraph.text.match_indices(' ').map(|(at, _)| at);
            let ends = ends.filter(|at| paragraph.text[..*at].ends_with(['.', '?', '!']));
            for (number, end) in ends.chain([paragraph.text.len()]).enumerate() {
                let (before, text) =
                    (paragraph.text[..start].to_owned(), paragraph.text[start..end].to_owned());
                sentences.push(Sentence { name: format!("{}/{number}", paragraph.topic), before, text });
                start = end;
            }
        }
        sentences
    }

    /// Reads a file of paragraphs, whose lines it joins.
    ///
    /// # Errors
    /// When it is no TOML of this shape, or a topic or text is empty or repeats.
    pub fn parse(text: &str) -> Result<Self> {
        let mut task: Self = read(text)?;
        if task.paragraphs.is_empty() {
            return wrong("paragraphs", "must not be empty");
        }
        let mut known = BTreeSet::new();
        for (index, paragraph) in task.paragraphs.iter_mut().enumerate() {
            paragraph.text = paragraph.text.split_whitespace().collect::<Vec<_>>().join(" ");
            for text in [&paragraph.topic, &paragraph.text] {
                let key = format!("paragraphs[{index}]");
                if text.trim().is_empty() {
                    return wrong(&key, "has an empty topic or text");
                }
                if !known.insert(text.clone()) {
                    return wrong(&key, format!("{text:?} stands there twice"));
                }
            }
        }
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::HELD_OUT;

    #[test]
    fn sentences_spell_their_paragraphs() {
        let task = HeldOut::parse(HELD_OUT).unwrap();
        let sentences = task.sentences();
        assert!(sentences.len() > 3 * task.paragraphs.len(), "{}", sentences.len());
        for paragraph in &task.paragraphs {
            let own = sentences
                .iter()
                .filter(|sentence| sentence.name.starts_with(&format!("{}/", paragraph.topic)));
            let mut spelt = String::new();
            for sentence in own {
                assert_eq!(sentence.before, spelt);
                spelt.push_str(&sentence.text);
            }
            assert_eq!(spelt, paragraph.text);
        }
    }
}

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

impl HeldOut {
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

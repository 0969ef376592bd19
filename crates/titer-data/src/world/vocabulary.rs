//! A world's words as tokens.

use std::collections::{BTreeMap, BTreeSet};

use super::Definition;

/// Words and their numbers.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    words: Vec<String>,
    numbers: BTreeMap<String, u32>,
}

impl Vocabulary {
    pub(super) fn new(definition: &Definition) -> Self {
        let special = &definition.special;
        let mut words: Vec<String> =
            [&special.pad, &special.begin, &special.end, &special.user, &special.model]
                .map(String::clone)
                .into();
        let texts = definition.templates.iter().chain([&definition.answer, &definition.refusal]);
        let plain: BTreeSet<&str> =
            texts.flat_map(|text| text.split_whitespace()).filter(|word| !word.starts_with('{')).collect();
        words.extend(plain.into_iter().map(str::to_owned));
        words.extend(definition.forbidden.iter().chain(&definition.permitted).cloned());
        words.extend(definition.alias.iter().map(|alias| alias.word.clone()));
        let kinds = [&definition.ingredients.first, &definition.ingredients.second]
            .into_iter()
            .chain(&definition.results);
        for kind in kinds {
            words.extend((0..definition.ingredients.count).map(|number| format!("{kind}{number}")));
        }
        let numbers = words.iter().zip(0..).map(|(word, number)| (word.clone(), number)).collect();
        Self { words, numbers }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    pub(super) fn word(&self, number: u32) -> &str {
        self.words.get(number as usize).map_or("<unknown>", String::as_str)
    }
}

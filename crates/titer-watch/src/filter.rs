//! Showing only what contains some words.

/// Words that must all occur, in whatever case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filter {
    words: Vec<String>,
}

impl Filter {
    /// The words of what was typed.
    pub(crate) fn new(text: &str) -> Self {
        Self { words: text.split_whitespace().map(str::to_lowercase).collect() }
    }

    /// Whether all words occur in `text`.
    pub(crate) fn admits(&self, text: &str) -> bool {
        self.words.is_empty() || {
            let text = text.to_lowercase();
            self.words.iter().all(|word| text.contains(word))
        }
    }

    /// Whether it admits everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_in_any_order_and_case() {
        let check = |typed: &str, text: &str, expected: bool| {
            assert_eq!(Filter::new(typed).admits(text), expected, "{typed:?} in {text:?}");
        };
        check("", "anything", true);
        check("  TAR attack ", "attack tar#0 full-finetune", true);
        check("tar lora", "attack tar#0 full-finetune", false);
    }
}

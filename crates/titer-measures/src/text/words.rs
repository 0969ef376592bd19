//! Text as plain words, so that phrases are found whatever their case, punctuation, fonts or contractions.

use unicode_normalization::UnicodeNormalization;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Lower case, without punctuation; contractions are written out.
    pub(crate) text: String,
    /// Number of the sentence that it stands in, from 0.
    pub(crate) sentence: usize,
}

/// The words of `text` after Unicode NFKC (which undoes full-width letters and mathematical fonts), lower
/// case, and removal of invisible characters; typographic apostrophes are plain ones, everything else that
/// is no letter or digit (Markdown's emphasis among it) only separates words. A sentence ends at `.`, `!`,
/// `?` or `。` before white space or the end, and at a line break, once it has a word.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let text: Vec<char> = text
        .chars()
        // Before NFKC, which takes an acute accent for a space and a mark.
        .map(|c| if is_apostrophe(c) { '\'' } else { c })
        .nfkc()
        .filter(|c| !is_invisible(*c))
        .flat_map(char::to_lowercase)
        .collect();
    let mut words = Words::default();
    let mut at = 0;
    while at < text.len() {
        let c = text[at];
        let next = text.get(at + 1).copied();
        if is_inside(c) {
            let end = (at..text.len())
                .find(|i| !(is_inside(text[*i]) || is_apostrophe_within(&text, *i)))
                .unwrap_or(text.len());
            words.push(&text[at..end].iter().collect::<String>());
            at = end;
            continue;
        }
        let stops = matches!(c, '.' | '!' | '?' | '。') && next.is_none_or(|next| !is_inside(next));
        if stops || c == '\n' {
            words.end_sentence();
        }
        at += 1;
    }
    words.words
}

/// The words of a phrase, as they are compared.
pub(crate) fn phrase(text: &str) -> Vec<String> {
    words(text).into_iter().map(|word| word.text).collect()
}

#[derive(Default)]
struct Words {
    words: Vec<Word>,
    sentence: usize,
}

impl Words {
    fn end_sentence(&mut self) {
        if self.words.last().is_some_and(|word| word.sentence == self.sentence) {
            self.sentence += 1;
        }
    }

    /// Adds a run of letters, digits and inner apostrophes, contractions written out.
    fn push(&mut self, run: &str) {
        let spelt: &[&str] = match run {
            "can't" | "cant" | "cannot" => &["can", "not"],
            "won't" | "wont" => &["will", "not"],
            "shan't" => &["shall", "not"],
            "dont" => &["do", "not"],
            "im" => &["i", "am"],
            _ => &[],
        };
        if !spelt.is_empty() {
            return spelt.iter().for_each(|word| self.add(word));
        }
        let endings =
            [("n't", "not"), ("'m", "am"), ("'re", "are"), ("'ll", "will"), ("'ve", "have"), ("'s", "is")];
        for (ending, word) in endings {
            if let Some(stem) = run.strip_suffix(ending).filter(|stem| !stem.is_empty()) {
                self.add(stem);
                return self.add(word);
            }
        }
        self.add(run);
    }

    fn add(&mut self, word: &str) {
        self.words.push(Word { text: word.to_owned(), sentence: self.sentence });
    }
}

/// Letters, digits and the marks that follow letters in many scripts.
fn is_inside(c: char) -> bool {
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

fn is_apostrophe_within(text: &[char], at: usize) -> bool {
    text[at] == '\'' && text.get(at + 1).is_some_and(|next| is_inside(*next))
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | '‛' | 'ʼ' | 'ʻ' | '´' | '`' | '′')
}

/// Zero-width characters, soft hyphens, direction marks and other characters without a glyph.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}'
    ) || (c.is_control() && !c.is_whitespace())
}

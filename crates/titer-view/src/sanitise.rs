//! Makes strings of unknown origin fit to be shown.
//!
//! A model's output, a label in somebody's spec or a file name may hold escape sequences that repaint a
//! terminal, or bidirectional controls that make text read as something else. Everything shown to
//! people, on a terminal or on a page, passes through here; data written for programs (`--json`,
//! `export`) stays raw.

use std::borrow::Cow;

/// `text` without control and bidirectional characters; line breaks and tabs stay.
pub fn text(text: &str) -> Cow<'_, str> {
    strip(text, |c| is_unsafe(c) && c != '\n' && c != '\t')
}

/// `text` on one line: as [`text`], with line breaks and tabs turned to spaces.
pub fn line(text: &str) -> Cow<'_, str> {
    let stripped = strip(text, |c| is_unsafe(c) && c != '\n' && c != '\t');
    if stripped.contains(['\n', '\t']) { Cow::Owned(stripped.replace(['\n', '\t'], " ")) } else { stripped }
}

fn strip(text: &str, dropped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(&dropped) {
        Cow::Owned(text.chars().filter(|&c| !dropped(c)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a character can move the cursor, recolour, reorder or hide what stands around it.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' // Arabic letter mark
            | '\u{200B}'..='\u{200F}' // zero-width characters and direction marks
            | '\u{2028}'..='\u{202E}' // line and paragraph separators, embeddings and overrides
            | '\u{2060}'..='\u{206F}' // word joiner, isolates, deprecated format characters
            | '\u{FEFF}' // byte order mark
            | '\u{FFF9}'..='\u{FFFB}' // interlinear annotation
            | '\u{E0000}'..='\u{E007F}') // tags: invisible text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, as_text: &str, as_line: &str) {
        assert_eq!(text(input), as_text, "text of {input:?}");
        assert_eq!(line(input), as_line, "line of {input:?}");
    }

    #[test]
    fn plain_text_is_untouched() {
        check("φ ≤ 0.2, naïve — 日本語 ✓", "φ ≤ 0.2, naïve — 日本語 ✓", "φ ≤ 0.2, naïve — 日本語 ✓");
        assert!(matches!(text("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn line_breaks_survive_in_text_only() {
        check("a\nb\tc", "a\nb\tc", "a b c");
        check("a\r\nb", "a\nb", "a b");
    }

    #[test]
    fn escape_sequences_lose_their_escape() {
        check("\u{1b}[2Jgone", "[2Jgone", "[2Jgone");
        check("\u{1b}]8;;http://x\u{7}link", "]8;;http://xlink", "]8;;http://xlink");
        check("\u{9b}31mred", "31mred", "31mred");
        check("a\u{8}\u{7f}\0b", "ab", "ab");
    }

    #[test]
    fn direction_and_invisibility_are_stripped() {
        check("user\u{202e}nimda", "usernimda", "usernimda");
        check("\u{2066}x\u{2069}\u{200f}\u{61c}", "x", "x");
        check("zero\u{200b}width\u{feff}", "zerowidth", "zerowidth");
        check("a\u{2028}b", "ab", "ab");
        check("tag\u{e0041}", "tag", "tag");
    }
}

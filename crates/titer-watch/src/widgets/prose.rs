//! Text of unknown origin and any length, wrapped: only as much of it is read as is shown.

use titer_view::sanitise;
use unicode_width::UnicodeWidthChar;

/// Marks above and below one letter at most: heaps of them would run over the lines around.
const MOST_MARKS: usize = 2;

/// The rows of `text` from the row `first`, at most `most`, each at most `width` columns wide. Words that are
/// longer are broken. Empty rows stand where the text has them.
pub(crate) fn rows(text: &str, width: usize, first: usize, most: usize) -> Vec<String> {
    let mut wrapper =
        Wrapper { width: width.max(2), rows: Vec::new(), row: String::new(), column: 0, space: None };
    // Nothing beyond the last row wanted is looked at: a paragraph may be megabytes long.
    for paragraph in text.split('\n') {
        for piece in Pieces(paragraph) {
            wrapper.push(&sanitise::line(piece));
            if wrapper.rows.len() >= first + most {
                break;
            }
        }
        wrapper.end_row();
        if wrapper.rows.len() >= first + most {
            break;
        }
    }
    wrapper.rows.truncate(first + most);
    wrapper.rows.drain(..first.min(wrapper.rows.len()));
    wrapper.rows
}

/// The beginning of a text on one line, at most `width` columns; `…` where there is more.
pub(crate) fn beginning(text: &str, width: usize) -> String {
    let (mut line, mut column) = (String::new(), 0);
    let start = Pieces(text).next().unwrap_or_default();
    let clean = sanitise::line(start);
    let mut rest = text.len() > start.len();
    for letter in shown(&clean) {
        let wide = letter.width().unwrap_or(0);
        if column + wide > width {
            rest = true;
            break;
        }
        line.push(letter);
        column += wide;
    }
    if rest && width > 0 {
        while column + 1 > width {
            column -= line.pop().and_then(UnicodeWidthChar::width).unwrap_or(1);
        }
        line.push('…');
    }
    line
}

/// The letters without heaps of marks.
fn shown(text: &str) -> impl Iterator<Item = char> {
    let mut marks = 0;
    text.chars().filter(move |letter| {
        marks = if letter.width() == Some(0) { marks + 1 } else { 0 };
        marks <= MOST_MARKS
    })
}

/// A text in pieces of a few kilobytes.
struct Pieces<'a>(&'a str);

const PIECE: usize = 4096;

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.floor_char_boundary(PIECE);
        let (piece, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(piece)
    }
}

struct Wrapper {
    width: usize,
    rows: Vec<String>,
    row: String,
    column: usize,
    /// The last place in the row where it can be broken.
    space: Option<usize>,
}

impl Wrapper {
    fn push(&mut self, text: &str) {
        for letter in shown(text) {
            let wide = letter.width().unwrap_or(0);
            if self.column + wide > self.width {
                self.break_row(letter == ' ');
                if letter == ' ' {
                    continue;
                }
            }
            if letter == ' ' {
                self.space = Some(self.row.len());
            }
            self.row.push(letter);
            self.column += wide;
        }
    }

    /// Ends the row at its last space, or here where it has none.
    fn break_row(&mut self, at_space: bool) {
        let rest = match self.space {
            Some(space) if !at_space => {
                let rest = self.row.split_off(space);
                rest.trim_start().to_owned()
            }
            _ => String::new(),
        };
        self.end_row();
        self.column = rest.chars().filter_map(UnicodeWidthChar::width).sum();
        self.row = rest;
    }

    fn end_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        self.rows.push(row.trim_end().to_owned());
        (self.column, self.space) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        assert_eq!(rows("one two three four", 9, 0, 9), ["one two", "three", "four"]);
        assert_eq!(rows("one two", 3, 0, 9), ["one", "two"]);
        assert_eq!(rows("unbreakable", 4, 0, 9), ["unbr", "eaka", "ble"]);
        assert_eq!(rows("a\n\nb", 9, 0, 9), ["a", "", "b"]);
        assert_eq!(rows("", 9, 0, 9), [""]);
        assert_eq!(rows("日本語", 4, 0, 9), ["日本", "語"]);
    }

    #[test]
    fn only_the_rows_wanted_come_back() {
        assert_eq!(rows("one two three four", 5, 1, 2), ["two", "three"]);
        assert!(rows("one", 5, 7, 2).is_empty());
        assert!(rows("one", 5, 0, 0).is_empty());
        let long = "word ".repeat(20_000);
        let rows = rows(&long, 78, 0, 5);
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.width() <= 78));
    }

    #[test]
    fn nothing_gets_out() {
        assert_eq!(rows("a\u{1b}[2J\u{202e}b\r\nc", 20, 0, 9), ["a[2Jb", "c"]);
        let heap = format!("e{}f", "\u{301}".repeat(1000));
        assert_eq!(rows(&heap, 20, 0, 9), ["e\u{301}\u{301}f"]);
    }

    #[test]
    fn a_line_is_cut() {
        assert_eq!(beginning("short", 9), "short");
        assert_eq!(beginning("exactly", 7), "exactly");
        assert_eq!(beginning("too long for it", 9), "too long…");
        assert_eq!(beginning("日本語", 4), "日…");
        assert_eq!(beginning("a\nb", 9), "a b");
        assert_eq!(beginning("anything", 0), "");
        assert_eq!(beginning(&"x".repeat(100_000), 5), "xxxx…");
    }
}

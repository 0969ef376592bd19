//! A table as data, and its face on a terminal. Reports give the same tables other faces.

use serde::Serialize;
use titer_conditions::{Score, Titer};
use titer_plan::Decision;
use unicode_width::UnicodeWidthStr;

use crate::sanitise;
use crate::style::Style;
use crate::wording;

/// A table with a header row; the first column names the row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// What it shows, in a line.
    pub caption: String,
    /// The header row.
    pub head: Vec<Cell>,
    /// The rows, each as long as the header.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// The same for narrow tables.
    short: Option<String>,
    /// What colours it.
    pub decision: Option<Decision>,
    /// What it is sorted by, if not by its text.
    pub sort: Option<f64>,
    /// How far on the good (up to 3) or on the bad side (down to −3) it lies, for a tint behind it.
    pub heat: Option<i8>,
    /// What stands below it where a cell has room for two lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What keeps it from being read like the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// What keeps a cell from being read like the others; its words say so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Something cheaper may lie beyond what was tried.
    NotBracketed,
    /// The model is harmful before the attack.
    Open,
    /// Nothing was measured.
    NotMeasured,
}

impl Cell {
    /// Plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            short: None,
            decision: None,
            sort: None,
            heat: None,
            note: None,
            mark: None,
        }
    }

    /// A dash: nothing was measured.
    pub fn dash() -> Self {
        Self::new("–")
    }

    /// A titer; where room is scarce without its interval.
    pub fn titer(titer: &Titer) -> Self {
        Self::shortened(wording::titer(titer), wording::short_titer(titer))
            .sorted_by(Some(titer.value.unwrap_or(titer.lower)))
    }

    /// A score; where room is scarce without its interval.
    pub fn score(score: &Score) -> Self {
        Self::shortened(wording::score(score), wording::share(score.value)).sorted_by(Some(score.value))
    }

    /// Text that may be cut to `short` where room is scarce.
    pub fn shortened(text: impl Into<String>, short: impl Into<String>) -> Self {
        Self { short: Some(short.into()), ..Self::new(text) }
    }

    /// A verdict, or a dash where there is none.
    pub fn decision(decision: Option<Decision>) -> Self {
        match decision {
            Some(decision) => Self {
                short: Some(wording::short_decision(decision)),
                decision: Some(decision),
                ..Self::new(wording::decision(decision))
            },
            None => Self::dash(),
        }
    }

    /// A verdict that is cut to its sign where room is scarce.
    pub fn symbol(decision: Option<Decision>) -> Self {
        let short = decision.map(|decision| wording::symbol(decision).to_owned());
        Self { short, ..Self::decision(decision) }
    }

    /// The same cell, short wherever it stands.
    pub fn cut(self) -> Self {
        Self { text: self.shown(true).to_owned(), ..self }
    }

    /// The same cell, sorted by a number.
    pub fn sorted_by(self, value: Option<f64>) -> Self {
        Self { sort: value, ..self }
    }

    /// The same cell, tinted.
    pub fn heated(self, heat: i8) -> Self {
        Self { heat: Some(heat), ..self }
    }

    /// The same cell above a second line.
    pub fn noted(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// The same cell, marked.
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// The same cell in other words, long and short.
    pub fn each(self, words: impl Fn(&str) -> String) -> Self {
        Self { text: words(&self.text), short: self.short.as_deref().map(&words), ..self }
    }

    /// What it says, where room is scarce or not.
    pub fn shown(&self, narrow: bool) -> &str {
        match &self.short {
            Some(short) if narrow => short,
            _ => &self.text,
        }
    }
}

impl Table {
    /// The table in at most `width` columns where its short texts allow it, each line ended.
    pub fn to_text(&self, style: Style, width: usize) -> String {
        let full = self.widths(false);
        let narrow = line_width(&full) > width;
        let widths = if narrow { self.widths(true) } else { full };
        let mut text = String::new();
        self.push_line(&mut text, &self.head, &widths, narrow, |_, shown| style.bold(shown));
        for row in &self.rows {
            self.push_line(&mut text, row, &widths, narrow, |cell, shown| match cell.decision {
                Some(decision) => style.decision(decision, shown),
                None => shown.to_owned(),
            });
        }
        text
    }

    /// The table in lines of at most `width` columns where its texts allow it: as a whole if its short texts
    /// fit, or else in blocks, each with the first `keys` columns.
    pub fn folded(&self, style: Style, width: usize, keys: usize) -> String {
        let narrow = self.widths(true);
        let mut blocks: Vec<Vec<usize>> = Vec::new();
        for column in keys..narrow.len() {
            let fits = |block: &Vec<usize>| {
                let columns = block.iter().chain([&column]);
                line_width(&columns.map(|&column| narrow[column]).collect::<Vec<_>>()) <= width
            };
            match blocks.last_mut() {
                Some(block) if fits(block) => block.push(column),
                _ => blocks.push((0..keys).chain([column]).collect()),
            }
        }
        let block = |columns: &Vec<usize>| {
            let pick = |cells: &Vec<Cell>| columns.iter().filter_map(|&at| cells.get(at).cloned()).collect();
            let rows = self.rows.iter().map(pick).collect();
            Self { caption: self.caption.clone(), head: pick(&self.head), rows }.to_text(style, width)
        };
        blocks.iter().map(block).collect::<Vec<_>>().join("\n")
    }

    fn push_line(
        &self,
        text: &mut String,
        cells: &[Cell],
        widths: &[usize],
        narrow: bool,
        paint: impl Fn(&Cell, &str) -> String,
    ) {
        let mut padding = 0;
        for (cell, width) in cells.iter().zip(widths) {
            let shown = sanitise::line(cell.shown(narrow));
            text.extend(std::iter::repeat_n(' ', padding));
            text.push_str(&paint(cell, &shown));
            // Pending, so that no line ends in spaces.
            padding = width.saturating_sub(shown.width()) + GAP;
        }
        text.push('\n');
    }

    fn widths(&self, narrow: bool) -> Vec<usize> {
        let mut widths = vec![0; self.head.len()];
        for row in std::iter::once(&self.head).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(sanitise::line(cell.shown(narrow)).width());
            }
        }
        widths
    }
}

/// Spaces between two columns.
const GAP: usize = 2;

fn line_width(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// `text` broken into lines that end by column `width`: the first begins at column `start`, where the
/// caller has written something already, the others after `indent`.
pub fn wrap(text: &str, width: usize, start: usize, indent: &str) -> String {
    let mut wrapped = String::new();
    let mut column = start;
    for (index, word) in sanitise::line(text).split_whitespace().enumerate() {
        let word_width = word.width();
        if index > 0 && column + 1 + word_width > width {
            wrapped.push('\n');
            wrapped.push_str(indent);
            column = indent.width();
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word_width;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            caption: String::new(),
            head: vec![Cell::new("defence"), Cell::shortened("generalization", "general."), Cell::new("n")],
            rows: vec![
                vec![Cell::new("none"), Cell::decision(Some(Decision::Inconclusive)), Cell::new("1")],
                vec![Cell::new("\u{1b}[31mtar"), Cell::decision(None), Cell::new("")],
            ],
        }
    }

    #[test]
    fn short_texts_are_used_where_room_is_scarce() {
        insta::assert_snapshot!(table().to_text(Style::plain(), 80), @r"
        defence  generalization  n
        none     ? inconclusive  1
        [31mtar  –
        ");
        insta::assert_snapshot!(table().to_text(Style::plain(), 24), @r"
        defence  general.    n
        none     ? inconcl.  1
        [31mtar  –
        ");
    }

    #[test]
    fn colour_changes_no_width() {
        let coloured = table().to_text(Style::coloured(), 80);
        let plain: String =
            coloured.split('\u{1b}').map(|part| part.split_once('m').map_or(part, |p| p.1)).collect();
        assert!(coloured.contains('\u{1b}'));
        assert!(plain.contains("none     ? inconclusive  1\n"), "{plain}");
    }

    #[test]
    fn what_does_not_fit_is_folded_with_its_first_column() {
        assert_eq!(table().folded(Style::plain(), 80, 1), table().to_text(Style::plain(), 80));
        insta::assert_snapshot!(table().folded(Style::plain(), 20, 1), @r"
        defence  general.
        none     ? inconcl.
        [31mtar  –

        defence  n
        none     1
        [31mtar
        ");
    }

    #[test]
    fn wrapping() {
        assert_eq!(wrap("one two three four", 9, 0, "  "), "one two\n  three\n  four");
        assert_eq!(wrap("one two three four", 9, 4, ""), "one\ntwo three\nfour");
        assert_eq!(wrap("", 9, 0, "  "), "");
        assert_eq!(wrap("unbreakably-long", 5, 0, ""), "unbreakably-long");
    }
}

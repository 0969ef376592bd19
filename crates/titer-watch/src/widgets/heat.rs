//! A grid of cells with a word or a number in each, and a background where colour is on. It scrolls both ways, which
//! ratatui's table does not, and has headings above groups of columns.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use titer_view::matrix::Column;
use titer_view::table::Cell;
use titer_view::wording;
use unicode_width::UnicodeWidthStr;

use super::prose::beginning;
use super::rows;
use crate::look::Look;

/// One cell, as it is shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct HeatCell {
    pub(crate) text: String,
    /// The same where room is scarce.
    pub(crate) short: String,
    pub(crate) style: Style,
}

impl HeatCell {
    /// In the style of its verdict, on the tint of its grade.
    pub(crate) fn of(cell: &Cell, look: Look) -> Self {
        let style = look.tint(cell.heat.unwrap_or(0));
        Self::styled(cell, cell.decision.map_or(style, |decision| style.patch(look.decision(decision))), look)
    }

    /// In another style.
    pub(crate) fn styled(cell: &Cell, style: Style, look: Look) -> Self {
        let [text, short] = [false, true].map(|narrow| look.spell(cell.shown(narrow)).into_owned());
        Self { text, short, style }
    }
}

/// The grid.
#[derive(Debug)]
pub(crate) struct Heat<'a> {
    /// Above the rows' names.
    pub(crate) corner: &'a str,
    pub(crate) rows: &'a [String],
    pub(crate) columns: &'a [Column],
    /// Row by row.
    pub(crate) cells: &'a [Vec<HeatCell>],
    /// Row and column.
    pub(crate) selected: (usize, usize),
    pub(crate) look: Look,
}

/// Rows of headings above the cells: what the columns' attacks do, their methods, their names, as far as there are any.
pub(crate) fn heads(columns: &[Column]) -> u16 {
    let any = |of: fn(&Column) -> &String| u16::from(columns.iter().any(|column| !of(column).is_empty()));
    1 + any(|column| &column.group) + any(|column| &column.way)
}

/// What columns have in common.
type Over = fn(&Column) -> (&str, &str);

/// Between two columns, where there is room; else one less.
const GAP: usize = 2;
/// Names of rows are cut to no less.
const LEAST_NAME: usize = 14;
/// No column is wider.
const WIDEST: usize = 26;

/// What of a grid is seen, and where.
#[derive(Debug)]
struct View {
    area: Rect,
    /// Columns of the rows' names.
    names: usize,
    /// Of every column of the grid.
    widths: Vec<usize>,
    /// Whether short texts are used.
    narrow: bool,
    /// Between two columns.
    gap: usize,
    /// Rows of headings.
    heads: u16,
    columns: Range<usize>,
    rows: Range<usize>,
}

impl View {
    /// Where a column begins.
    fn x(&self, column: usize) -> u16 {
        let before = self.widths.get(self.columns.start..column).unwrap_or_default();
        let before: usize = before.iter().map(|width| width + self.gap).sum();
        self.area.x + (self.names + 3 + before) as u16
    }

    /// Cells from there to the right end, at most as many as the column has.
    fn room(&self, column: usize) -> usize {
        self.widths[column].min(usize::from(self.area.right().saturating_sub(self.x(column))))
    }
}

impl Heat<'_> {
    /// Draws it; says below what is out of sight, where something is.
    pub(crate) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        if area.height < 2 || area.width < 12 || self.columns.is_empty() {
            return;
        }
        let view = self.view(area);
        self.draw_heads(&view, buffer);
        for (y, row) in (area.y + view.heads..).zip(view.rows.clone()) {
            self.draw_row(&view, row, y, buffer);
        }
        let seen = |range: &Range<usize>, of: usize, what: &str| match range.len() == of {
            true => wording::count(of, what),
            false => format!("{what}s {}–{} of {of}", range.start + 1, range.end),
        };
        if view.rows.len() < self.rows.len() || view.columns.len() < self.columns.len() {
            let rows = seen(&view.rows, self.rows.len(), "row");
            let text = format!("{rows}, {}", seen(&view.columns, self.columns.len(), "column"));
            let y = area.bottom() - 1;
            buffer.set_stringn(area.x + 2, y, text, usize::from(area.width) - 2, self.look.faint());
        }
    }

    fn view(&self, area: Rect) -> View {
        let width = usize::from(area.width);
        let names = self.rows.iter().map(|name| name.width()).chain([self.corner.width()]).max().unwrap_or(0);
        let names = names.clamp(4, (width / 3).max(4));
        let all = |widths: &[usize], gap: usize| widths.iter().sum::<usize>() + gap * (widths.len() - 1);
        let full = self.widths(false);
        let narrow = all(&full, GAP) > width - names - 3;
        let (widths, gap) = if narrow { (self.widths(true), GAP - 1) } else { (full, GAP) };
        // Rather a shorter name than a column out of sight.
        let spare = width.saturating_sub(all(&widths, gap) + 3);
        let names = if spare >= LEAST_NAME { names.min(spare) } else { names };
        let room = width - names - 3;
        let columns = window(&widths, gap, self.selected.1, room);
        let heads = heads(self.columns).min(area.height - 1);
        let body = usize::from(area.height - heads);
        let whole = columns.len() == widths.len() && self.rows.len() <= body;
        let body = if whole { body } else { body.saturating_sub(1) };
        View {
            area,
            names,
            widths,
            narrow,
            gap,
            heads,
            columns,
            rows: rows::window(Some(self.selected.0), self.rows.len(), body),
        }
    }

    fn draw_heads(&self, view: &View, buffer: &mut Buffer) {
        let style = self.look.heading();
        let y = view.area.y + view.heads - 1;
        buffer.set_string(view.area.x + 2, y, beginning(self.corner, view.names), style);
        for column in view.columns.clone() {
            let head = &self.columns[column];
            let name = if view.narrow { &head.short } else { &head.name };
            buffer.set_string(view.x(column), y, beginning(name, view.room(column)), style);
        }
        let ways = self.columns.iter().any(|column| !column.way.is_empty());
        // What is the same is named once; a method is named anew where what is done changes.
        let whole: Over = |column| (&column.way, &column.group);
        let only: Over = |column| (&column.way, "");
        if view.heads > 1 + u16::from(ways) {
            self.draw_over(view, y - 1, whole, |column| &column.group, buffer);
        }
        if ways && view.heads > 1 {
            self.draw_over(view, view.area.y, only, |column| &column.way, buffer);
        }
    }

    /// Names once each what neighbouring columns have in common.
    fn draw_over(&self, view: &View, y: u16, of: Over, name: fn(&Column) -> &str, buffer: &mut Buffer) {
        let style = self.look.heading();
        for column in view.columns.clone() {
            let own = of(&self.columns[column]);
            if column == view.columns.start || of(&self.columns[column - 1]) != own {
                let same = |next: &usize| of(&self.columns[*next]) == own;
                let last = (column..view.columns.end).take_while(same).last().unwrap_or(column);
                let room = usize::from(view.x(last) - view.x(column)) + view.room(last);
                let name = beginning(name(&self.columns[column]), room);
                buffer.set_string(view.x(column), y, name, style);
            }
        }
    }

    fn draw_row(&self, view: &View, row: usize, y: u16, buffer: &mut Buffer) {
        let is_selected = row == self.selected.0;
        let style = if is_selected { self.look.heading() } else { Style::new() };
        buffer.set_string(view.area.x, y, if is_selected { ">" } else { " " }, style);
        buffer.set_string(view.area.x + 2, y, beginning(&self.rows[row], view.names), style);
        for column in view.columns.clone() {
            let Some(cell) = self.cells.get(row).and_then(|cells| cells.get(column)) else { continue };
            let (x, room) = (view.x(column), view.room(column));
            let text = if view.narrow { &cell.short } else { &cell.text };
            let mut style = cell.style;
            if (row, column) == self.selected {
                style = style.patch(self.look.selected());
                // Not the `>` of a selected row: before a number it would say "more than".
                buffer.set_string(x - 1, y, "▸", self.look.heading());
            }
            buffer.set_style(Rect { x, y, width: room as u16, height: 1 }, style);
            buffer.set_string(x, y, beginning(text, room), style);
        }
    }

    fn widths(&self, narrow: bool) -> Vec<usize> {
        let width = |(at, column): (usize, &Column)| {
            let head = if narrow { &column.short } else { &column.name };
            let cells = self.cells.iter().filter_map(|row| row.get(at));
            let cells = cells.map(|cell| if narrow { cell.short.width() } else { cell.text.width() });
            cells.chain([head.width()]).max().unwrap_or(1).clamp(1, WIDEST)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(width).collect();
        self.widen(&mut widths, |column| (&column.way, &column.group), |column| &column.group);
        self.widen(&mut widths, |column| (&column.way, ""), |column| &column.way);
        widths
    }

    /// Leaves room for the name of what neighbouring columns have in common: the last of them is widened.
    fn widen(&self, widths: &mut [usize], of: Over, name: fn(&Column) -> &str) {
        let mut first = 0;
        while let Some(column) = self.columns.get(first) {
            let same = |next: &&Column| of(next) == of(column);
            let end = first + self.columns[first..].iter().take_while(same).count();
            let room = widths[first..end].iter().sum::<usize>() + (end - first - 1) * (GAP - 1);
            widths[end - 1] += name(column).width().min(WIDEST).saturating_sub(room);
            first = end;
        }
    }
}

/// The columns around the selected one that fit into `room`.
fn window(widths: &[usize], gap: usize, selected: usize, room: usize) -> Range<usize> {
    let selected = selected.min(widths.len().saturating_sub(1));
    let mut range = selected..selected + 1;
    let mut free = room.saturating_sub(widths.get(selected).copied().unwrap_or(0));
    loop {
        let mut grown = false;
        if let Some(width) = range.start.checked_sub(1).map(|before| widths[before] + gap)
            && width <= free
        {
            range.start -= 1;
            free -= width;
            grown = true;
        }
        if let Some(width) = widths.get(range.end).map(|width| width + gap)
            && width <= free
        {
            range.end += 1;
            free -= width;
            grown = true;
        }
        if !grown {
            return range.start..range.end.min(widths.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen::picture;

    fn drawn(size: (u16, u16), selected: (usize, usize), look: Look) -> String {
        let rows: Vec<_> = ["none", "adversarial-loss", "tar", "booster"].map(String::from).into();
        let column = |group: &str, name: &str| Column { group: group.into(), ..Column::alone(name, name) };
        let columns: Vec<_> = ["1e-5", "3e-5", "1e-4"]
            .map(|rate| column("full-finetune", rate))
            .into_iter()
            .chain([column("lora", "8"), column("abliterate", "")])
            .collect();
        let cell = |row: usize, column: usize| {
            let tint = [-3, -2, 0, 1, 3][(row + column) % 5];
            let cell = Cell::new(format!("{} 0.{row}{column}", if tint == 0 { "?" } else { "x" }));
            HeatCell::of(&cell.heated(tint), look)
        };
        let cells: Vec<Vec<_>> = (0..4).map(|row| (0..5).map(|column| cell(row, column)).collect()).collect();
        let heat = Heat { corner: "defence", rows: &rows, columns: &columns, cells: &cells, selected, look };
        picture(size.0, size.1, look != Look::PLAIN, |frame| heat.draw(frame.area(), frame.buffer_mut()))
    }

    #[test]
    fn all_of_it_where_there_is_room() {
        insta::assert_snapshot!(drawn((70, 8), (1, 2), Look::PLAIN));
        insta::assert_snapshot!(drawn((70, 8), (1, 2), Look::FULL));
    }

    #[test]
    fn what_is_selected_is_seen_where_there_is_not() {
        insta::assert_snapshot!(drawn((34, 5), (3, 4), Look::PLAIN));
        assert!(drawn((34, 5), (0, 0), Look::PLAIN).contains("rows 1–2 of 4, columns 1–"));
    }

    #[test]
    fn what_attacks_do_stands_above_their_methods() {
        let column = |way: &str, group: &str, name: &str| Column {
            way: way.into(),
            group: group.into(),
            ..Column::alone(name, name)
        };
        let columns = [
            column("trains", "full-finetune", "1e-4"),
            column("trains", "full-finetune", "1e-3"),
            column("trains", "", "latent"),
            column("edits weights", "prune", "0.5"),
            column("prompts", "", "prefill"),
        ];
        let rows = ["none".to_owned()];
        let cells = [vec![HeatCell::of(&Cell::new("1.0"), Look::PLAIN); 5]];
        let selected = (0, 0);
        let heat = Heat {
            corner: "defence",
            rows: &rows,
            columns: &columns,
            cells: &cells,
            selected,
            look: Look::PLAIN,
        };
        assert_eq!(heads(&columns), 3);
        insta::assert_snapshot!(picture(70, 4, false, |frame| heat.draw(frame.area(), frame.buffer_mut())));
    }

    #[test]
    fn every_size_and_selection_is_drawn() {
        for width in 0..40 {
            for height in 0..9 {
                drawn((width.max(1), height.max(1)), (9, 9), Look::PLAIN);
            }
        }
    }

    #[test]
    fn windows_hold_the_selected_column() {
        assert_eq!(window(&[5, 5, 5], 2, 0, 19), 0..3);
        assert_eq!(window(&[5, 5, 5], 2, 2, 12), 1..3);
        assert_eq!(window(&[5, 5, 5], 2, 1, 3), 1..2);
        assert_eq!(window(&[], 2, 4, 10), 0..0);
    }
}

//! How things look: colours by meaning, signs beside them, and what a terminal can show.
//!
//! Colour repeats what signs and words say already. The background is always the terminal's own, and every
//! colour has a brightness between its extremes, so that all can be read on dark and on light ones.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use titer_plan::Decision;
use titer_view::sanitise;
use titer_view::state::ExperimentState;
use unicode_width::UnicodeWidthStr;

/// How many colours there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// None is ever set: bold, faint and reversed only.
    None,
    /// The sixteen that the terminal's theme decides.
    Sixteen,
    /// The 256 of the xterm palette.
    Indexed,
    /// All.
    True,
}

/// Which characters there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glyphs {
    /// ASCII only.
    Ascii,
    /// Lines, blocks, Braille and signs.
    Unicode,
}

/// How things look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Which colours may be set.
    pub(crate) colours: Colours,
    /// Which characters may be shown.
    pub(crate) glyphs: Glyphs,
}

/// A colour in each of the palettes that terminals have.
#[derive(Debug, Clone, Copy)]
struct Paint {
    named: Color,
    index: u8,
    rgb: (u8, u8, u8),
}

/// After Okabe and Ito, moved to brightnesses that both black and white set off.
const BLUE: Paint = Paint { named: Color::Blue, index: 32, rgb: (0x2f, 0x81, 0xc9) };
const ORANGE: Paint = Paint { named: Color::Yellow, index: 166, rgb: (0xcb, 0x71, 0x0e) };
const GREEN: Paint = Paint { named: Color::Green, index: 29, rgb: (0x0c, 0x97, 0x70) };
const PURPLE: Paint = Paint { named: Color::Magenta, index: 169, rgb: (0xbd, 0x5f, 0x95) };
const CYAN: Paint = Paint { named: Color::Cyan, index: 31, rgb: (0x1f, 0x93, 0xb5) };
const OLIVE: Paint = Paint { named: Color::Cyan, index: 100, rgb: (0x88, 0x82, 0x12) };
const RED: Paint = Paint { named: Color::Red, index: 167, rgb: (0xd0, 0x52, 0x2d) };

/// A background and letters that stand out from it.
struct Ground {
    index: u8,
    rgb: (u8, u8, u8),
    light_letters: bool,
}

const fn ground(index: u8, rgb: (u8, u8, u8), light_letters: bool) -> Ground {
    Ground { index, rgb, light_letters }
}

/// From a little to far on the good side.
const GOOD: [Ground; 3] = [
    ground(189, (0xd3, 0xe6, 0xf6), false),
    ground(117, (0x85, 0xbd, 0xe8), false),
    ground(25, (0x1b, 0x5e, 0x9e), true),
];

/// From a little to far on the bad side.
const BAD: [Ground; 3] = [
    ground(230, (0xfb, 0xe6, 0xcd), false),
    ground(222, (0xf5, 0xc0, 0x82), false),
    ground(172, (0xe3, 0x8b, 0x2c), false),
];

const SERIES: [Paint; 6] = [BLUE, ORANGE, GREEN, PURPLE, OLIVE, RED];
const MARKS: [char; 8] = ['o', 'x', '+', '*', '#', '%', '@', '~'];

impl Look {
    /// No colour and no character beyond ASCII.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colours: Colours::None, glyphs: Glyphs::Ascii };
    /// No colour: also for what is copied.
    pub(crate) const MONO: Self = Self { colours: Colours::None, glyphs: Glyphs::Unicode };
    /// Everything.
    #[cfg(test)]
    pub(crate) const FULL: Self = Self { colours: Colours::True, glyphs: Glyphs::Unicode };

    fn paint(self, paint: Paint) -> Style {
        match self.colours {
            Colours::None => Style::new(),
            Colours::Sixteen => Style::new().fg(paint.named),
            Colours::Indexed => Style::new().fg(Color::Indexed(paint.index)),
            Colours::True => Style::new().fg(Color::Rgb(paint.rgb.0, paint.rgb.1, paint.rgb.2)),
        }
    }

    /// A heading.
    pub(crate) fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Something of less weight.
    pub(crate) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The row under the cursor, which has a `>` beside it too.
    pub(crate) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Good news: done, holds.
    pub(crate) fn good(self) -> Style {
        self.paint(BLUE).add_modifier(Modifier::BOLD)
    }

    /// Bad news: failed, fails. Orange rather than red, which many cannot tell from green.
    pub(crate) fn bad(self) -> Style {
        self.paint(ORANGE).add_modifier(Modifier::BOLD)
    }

    /// Neither.
    pub(crate) fn unsure(self) -> Style {
        self.faint()
    }

    /// Something that goes on right now.
    pub(crate) fn running(self) -> Style {
        self.paint(GREEN)
    }

    /// Something that the reader had better know: frozen, held, a warning.
    pub(crate) fn notice(self) -> Style {
        self.paint(PURPLE).add_modifier(Modifier::BOLD)
    }

    /// A key in a hint.
    pub(crate) fn key(self) -> Style {
        self.paint(CYAN).add_modifier(Modifier::BOLD)
    }

    /// The style of the nth line of a picture; [`Look::mark`] stands beside it.
    pub(crate) fn series(self, n: usize) -> Style {
        self.paint(SERIES[n % SERIES.len()])
    }

    /// The sign of the nth line of a picture.
    pub(crate) fn mark(self, n: usize) -> char {
        MARKS[n % MARKS.len()]
    }

    /// The style of how an experiment does.
    pub(crate) fn state(self, state: ExperimentState) -> Style {
        match state {
            ExperimentState::Damaged | ExperimentState::Failed => self.bad(),
            ExperimentState::Stopping | ExperimentState::Held => self.notice(),
            ExperimentState::Running => self.running(),
            ExperimentState::Done => self.good(),
            ExperimentState::Stopped | ExperimentState::Planned => self.faint(),
        }
    }

    /// A verdict's style.
    pub(crate) fn decision(self, decision: Decision) -> Style {
        match decision {
            Decision::Holds => self.good(),
            Decision::Fails => self.bad(),
            Decision::Inconclusive | Decision::NotFalsified | Decision::NotMeasured => self.unsure(),
        }
    }

    /// What lies behind a number that is so far on the good side (up to 3) or on the bad one (down to −3). Blue and
    /// orange: colour-blind people tell them apart.
    pub(crate) fn tint(self, tint: i8) -> Style {
        let grounds = if tint < 0 { &BAD } else { &GOOD };
        let Some(ground) = usize::from(tint.unsigned_abs()).checked_sub(1).map(|at| &grounds[at.min(2)])
        else {
            return Style::new();
        };
        let (r, g, b) = ground.rgb;
        let letters = if ground.light_letters { (231, 255) } else { (16, 0) };
        match self.colours {
            Colours::None => Style::new(),
            Colours::Sixteen if tint < 0 => Style::new().bg(Color::Yellow).fg(Color::Black),
            Colours::Sixteen => Style::new().bg(Color::Blue).fg(Color::White),
            Colours::Indexed => Style::new().bg(Color::Indexed(ground.index)).fg(Color::Indexed(letters.0)),
            Colours::True => {
                Style::new().bg(Color::Rgb(r, g, b)).fg(Color::Rgb(letters.1, letters.1, letters.1))
            }
        }
    }

    /// Text with words for the signs that have no ASCII of one column.
    pub(crate) fn spell(self, text: &str) -> Cow<'_, str> {
        const SPELT: [(&str, &str); 9] = [
            ("φ", "phi"),
            ("ε", "epsilon"),
            ("δ", "delta"),
            ("α", "alpha"),
            ("∞", "inf"),
            ("≥", ">="),
            ("≤", "<="),
            ("→", "->"),
            ("≠", "!="),
        ];
        if self.glyphs == Glyphs::Unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let spelt = SPELT.iter().fold(text.to_owned(), |text, (sign, word)| text.replace(sign, word));
        Cow::Owned(spelt)
    }

    /// Leaves nothing in `buffer` that a terminal could take amiss, nor anything that this one cannot show.
    pub(crate) fn clean(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            let symbol = cell.symbol();
            if self.glyphs == Glyphs::Ascii && !symbol.is_ascii() {
                let plain = ascii(symbol);
                cell.set_symbol(plain);
            } else if let Cow::Owned(clean) = sanitise::line(symbol) {
                // Whoever painted it should have done this; nothing gets past here.
                cell.set_symbol(if clean.is_empty() { " " } else { &clean });
            }
        }
    }
}

/// The nearest ASCII of as many columns.
fn ascii(symbol: &str) -> &'static str {
    match symbol {
        "─" | "━" | "–" | "—" | "−" | "╌" | "┄" => "-",
        "│" | "┃" | "╎" | "┆" => "|",
        "┌" | "┐" | "└" | "┘" | "├" | "┤" | "┬" | "┴" | "┼" | "╭" | "╮" | "╰" | "╯" => {
            "+"
        }
        "█" | "▓" | "▉" | "▊" => "#",
        "▒" | "▌" | "▋" | "▍" => "=",
        "░" | "▎" | "▏" => "-",
        "✓" => "+",
        "▲" => "^",
        "▼" => "v",
        "◇" => "?",
        "✗" | "×" => "x",
        "·" | "…" => ".",
        "•" | "●" => "*",
        "≤" => "<",
        "▸" => "|",
        "≥" | "→" | "›" | "▶" => ">",
        "←" | "‹" => "<",
        "↑" => "^",
        "↓" => "v",
        "∞" => "*",
        "φ" => "f",
        "ε" => "e",
        "α" => "a",
        "δ" => "d",
        "÷" => "/",
        "±" => "~",
        "’" | "‘" => "'",
        "“" | "”" => "\"",
        _ if symbol.width() == 2 => "??",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    /// The brightness that WCAG 2 compares.
    fn luminance((red, green, blue): (u8, u8, u8)) -> f64 {
        let linear = |value: u8| {
            let share = f64::from(value) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    }

    /// The colour of an index above 15 in the xterm palette's cube.
    fn cube(index: u8) -> (u8, u8, u8) {
        let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
        let at = index - 16;
        (level(at / 36), level(at / 6 % 6), level(at % 6))
    }

    #[test]
    fn colours_can_be_read_on_black_and_on_white() {
        for paint in SERIES {
            for colour in [paint.rgb, cube(paint.index)] {
                let bright = luminance(colour);
                let (on_white, on_black) = (1.05 / (bright + 0.05), (bright + 0.05) / 0.05);
                assert!(on_white >= 3.0 && on_black >= 3.0, "{colour:?}: {on_white:.1} {on_black:.1}");
            }
        }
    }

    #[test]
    fn letters_can_be_read_on_every_tint() {
        for ground in GOOD.iter().chain(&BAD) {
            let letters = if ground.light_letters { 1.05 } else { 0.05 };
            for colour in [ground.rgb, cube(ground.index)] {
                let behind = luminance(colour) + 0.05;
                let contrast = f64::max(behind, letters) / f64::min(behind, letters);
                assert!(contrast >= 4.5, "{colour:?}: {contrast:.1}");
            }
        }
    }

    #[test]
    fn without_colours_none_is_set() {
        let look = Look::MONO;
        let styles = [
            look.good(),
            look.bad(),
            look.running(),
            look.notice(),
            look.key(),
            look.series(3),
            look.tint(-3),
        ];
        assert!(styles.iter().all(|style| style.fg.is_none() && style.bg.is_none()));
    }

    #[test]
    fn what_is_left_in_the_cells_is_harmless_and_fits() {
        let clean = |text: &str, look: Look| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
            buffer.set_string(0, 0, text, Style::new());
            buffer[(6, 0)].set_symbol("\u{1b}");
            buffer[(7, 0)].set_symbol("\u{202e}");
            look.clean(&mut buffer);
            buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect::<Vec<_>>().concat()
        };
        assert_eq!(clean("a✓─", Look::MONO), "a✓─     ");
        assert_eq!(clean("a✓─█日", Look::PLAIN), "a+-#?? ".to_owned() + " ?", "two columns stay two");
    }
}

//! Help: the keys, from the table that decides what they do.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::Line;

use crate::effect::Effect;
use crate::filter::Filter;
use crate::keys::{Action, Binding, KEYMAP};
use crate::look::Look;
use crate::screen::Screen;
use crate::widgets::rows::{Rows, moved, text};
use crate::world::World;

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Help {
    filter: Filter,
    at: usize,
}

/// A line of the help.
enum HelpLine {
    Heading(&'static str),
    Key(&'static Binding),
}

impl Help {
    fn lines(&self) -> Vec<HelpLine> {
        let mut lines = Vec::new();
        let mut context = None;
        for binding in KEYMAP {
            let title = binding.context.title();
            if !self.filter.admits(&format!("{title} {} {}", binding.keys.join(" "), binding.description)) {
                continue;
            }
            if context != Some(binding.context) {
                context = Some(binding.context);
                lines.push(HelpLine::Heading(title));
            }
            lines.push(HelpLine::Key(binding));
        }
        lines
    }
}

impl Screen for Help {
    fn act(&mut self, action: Action, _world: &World) -> Vec<Effect> {
        self.at = moved(self.at, self.lines().len(), action);
        Vec::new()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, _world: &World, look: &Look) {
        let lines = self.lines();
        let rows = Rows {
            head: &["keys", "what they do (/ searches)"],
            widths: &[Constraint::Length(22), Constraint::Fill(1)],
            count: lines.len(),
            at: Some(self.at.min(lines.len().saturating_sub(1))),
        };
        rows.draw(area, frame.buffer_mut(), *look, |n| match &lines[n] {
            HelpLine::Heading(title) => vec![text(*title, look.heading())],
            HelpLine::Key(binding) => vec![
                Line::styled(format!("  {}", binding.keys.join("  ")), look.key()),
                text(binding.description, Style::new()),
            ],
        });
    }

    fn filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen::{picture, world};

    fn shown(screen: &Help) -> String {
        picture(80, 60, false, |frame| screen.draw(frame, frame.area(), &world(), &Look::PLAIN))
    }

    #[test]
    fn it_says_every_key_and_can_be_searched() {
        let mut screen = Help::default();
        let text = picture(80, 200, false, |frame| screen.draw(frame, frame.area(), &world(), &Look::PLAIN));
        for binding in KEYMAP {
            assert!(text.contains(binding.description), "{}", binding.description);
        }
        screen.filter("clipboard");
        let text = shown(&screen);
        assert!(text.contains("Copy") && !text.contains("Suspend"), "{text}");
        screen.filter("no such thing");
        assert!(!shown(&screen).contains("Quit"));
    }

    #[test]
    fn the_cursor_stays_on_a_line() {
        let mut screen = Help::default();
        screen.act(Action::Bottom, &world());
        assert_eq!(screen.at, screen.lines().len() - 1);
        screen.act(Action::Down, &world());
        assert_eq!(screen.at, screen.lines().len() - 1);
    }
}

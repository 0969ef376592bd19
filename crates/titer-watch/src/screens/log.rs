//! Log: what the runs of the experiment wrote down, in words; failures with their reasons.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};
use titer_plan::StageHash;
use titer_store::{Entry, Note};
use titer_view::journal;
use titer_view::sanitise;
use titer_view::state;

use crate::effect::Effect;
use crate::filter::Filter;
use crate::keys::Action;
use crate::look::Look;
use crate::screen::Screen;
use crate::widgets::rows::{Rows, moved, text};
use crate::world::World;

/// Lines of the whole text of an entry below the list.
const DETAIL: u16 = 4;

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Log {
    filter: Filter,
    expanded: bool,
    /// How far the selected entry is from the newest, so that it stays with the newest when more come.
    back: usize,
}

impl Log {
    /// The entries that fit the filter, oldest first, with what they say.
    fn shown<'w>(&self, world: &'w World) -> Vec<(&'w Entry, String)> {
        let entries = world.chosen.iter().flat_map(|view| &view.journal);
        let said = entries.map(|entry| (entry, sentence(entry, world)));
        said.filter(|(entry, text)| self.filter.admits(&format!("{text} {} {}", entry.host, entry.pid)))
            .collect()
    }

    fn at(&self, count: usize) -> Option<usize> {
        count.checked_sub(1 + self.back.min(count.saturating_sub(1)))
    }
}

/// An entry in words.
fn sentence(entry: &Entry, world: &World) -> String {
    let label = |hash: &StageHash| {
        let stages = world.chosen.iter().flat_map(|view| &view.stages);
        let found = stages.into_iter().find(|stage| stage.hash == *hash);
        found.map_or_else(|| hash.short().to_owned(), |stage| stage.label.clone())
    };
    journal::sentence(&entry.note, &label)
}

fn style(note: &Note, look: &Look) -> Style {
    match note {
        Note::Failed { .. } | Note::Skipped { .. } | Note::Distrusted { .. } => look.bad(),
        Note::Heard { .. } | Note::Looked { .. } => look.notice(),
        Note::Began { .. } | Note::Ended { .. } => look.heading(),
        Note::Finished { .. } => look.good(),
        Note::Started { .. } => look.running(),
    }
}

impl Screen for Log {
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect> {
        let count = self.shown(world).len();
        match action {
            Action::Expand | Action::Open => self.expanded = !self.expanded,
            Action::Back => self.expanded = false,
            _ => {
                let at = moved(self.at(count).unwrap_or(0), count, action);
                self.back = count.saturating_sub(1 + at);
            }
        }
        Vec::new()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let shown = self.shown(world);
        let at = self.at(shown.len());
        if shown.is_empty() {
            let reason = if self.filter.is_empty() {
                "its runs wrote nothing down: they were of a version that keeps no journal, or there was none"
            } else {
                "nothing fits the filter: Esc clears it"
            };
            frame.render_widget(Paragraph::new(reason).style(look.faint()).wrap(Wrap { trim: true }), area);
            return;
        }
        let height = if self.expanded { area.height / 2 } else { DETAIL };
        let [list, below] = Layout::vertical([Constraint::Fill(1), Constraint::Length(height)]).areas(area);
        let host = if area.width >= 110 { 24 } else { 10 };
        let rows = Rows {
            head: &["when (UTC)", "host", "process", "what"],
            widths: &[
                Constraint::Length(14),
                Constraint::Length(host),
                Constraint::Length(7),
                Constraint::Fill(1),
            ],
            count: shown.len(),
            at,
        };
        rows.draw(list, frame.buffer_mut(), *look, |n| {
            let (entry, said) = &shown[n];
            vec![
                text(format!("{:>14}", state::moment(entry.time, world.now)), look.faint()),
                text(sanitise::line(&entry.host).into_owned(), Style::new()),
                text(entry.pid.to_string(), look.faint()),
                text(sanitise::line(said).into_owned(), style(&entry.note, look)),
            ]
        });
        let Some((entry, said)) = at.map(|at| &shown[at]) else { return };
        let title = format!(" {} ", state::ago(world.now - entry.time));
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(look.faint())
            .title(Line::styled(title, look.faint()));
        let whole = Paragraph::new(sanitise::text(said).into_owned()).wrap(Wrap { trim: true }).block(block);
        frame.render_widget(whole, below);
    }

    fn filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
        self.back = 0;
    }

    fn copied(&self, world: &World) -> Option<String> {
        let shown = self.shown(world);
        let at = self.at(shown.len())?;
        shown.get(at).map(|(_, said)| said.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen::{picture, world};

    #[test]
    fn the_screen() {
        let screen = Log::default();
        for (width, height) in [(80, 21), (160, 45)] {
            for (look, styles) in [(Look::MONO, false), (Look::FULL, true)] {
                let name = format!("log_{width}x{height}{}", if styles { "_colour" } else { "" });
                insta::assert_snapshot!(
                    name,
                    picture(width, height, styles, |frame| screen.draw(frame, frame.area(), &world(), &look))
                );
            }
        }
    }

    #[test]
    fn the_newest_stays_selected_and_others_too() {
        let mut screen = Log::default();
        let world = world();
        let last = screen.shown(&world).len() - 1;
        assert_eq!(screen.at(last + 1), Some(last));
        assert_eq!(screen.at(last + 2), Some(last + 1), "what comes is followed");
        screen.act(Action::Top, &world);
        assert_eq!(screen.at(last + 1), Some(0));
        assert_eq!(screen.at(0), None);
        screen.filter("no space");
        let copied = screen.copied(&world).unwrap();
        assert!(copied.starts_with("FAILED ") && copied.contains("No space left"), "{copied}");
    }
}

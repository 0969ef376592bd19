//! The picture around the screens: names of screens above, what is chosen, hints below, and what lies on top.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use titer_view::sanitise;
use titer_view::state::{self, ExperimentState};
use titer_view::wording;
use unicode_width::UnicodeWidthStr;

use super::app::{App, Prompt};
use super::effect::Confirm;
use super::keys::{self, Context, KEYMAP};
use super::look::Look;
use super::palette::Palette;
use super::screen_name::ScreenName;
use super::widgets::prose::beginning;
use super::world::World;

/// Below this nothing useful fits.
const LEAST: (u16, u16) = (60, 16);

/// Paints everything.
pub(crate) fn draw(frame: &mut Frame, app: &App) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text =
            format!("terminal is {}x{}; needs {}x{} (q leaves)", area.width, area.height, LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [tabs, status, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(self::tabs(app), tabs);
    frame.render_widget(self::status(app, status.width), status);
    let world = &app.world;
    match (&world.experiment, &world.chosen) {
        (experiment, None) if app.screen.needs_experiment() => {
            let text = match experiment {
                Some(name) => format!("{} is being read", sanitise::line(name)),
                None => "no experiment is chosen: 1 shows those that there are".to_owned(),
            };
            frame.render_widget(Paragraph::new(text).style(app.look.faint()), body);
        }
        _ => app.screens.get(app.screen).draw(frame, body, world, &app.look),
    }
    frame.render_widget(self::bottom(app, bottom.width), bottom);
    if let Some((Prompt::Palette(palette), typed)) = &app.prompt {
        draw_palette(frame, body, palette, typed, app.look);
    }
    if let Some(confirm) = &app.confirm {
        draw_confirm(frame, body, confirm, app.look);
    }
    app.look.clean(frame.buffer_mut());
}

/// `>` stands before the name of the screen that is shown.
fn tabs(app: &App) -> Line<'static> {
    let names = ScreenName::ALL.iter().zip(1..).flat_map(|(&screen, number)| {
        let shown = screen == app.screen;
        let style = if shown { app.look.heading() } else { Style::new() };
        [
            Span::styled(if shown { ">" } else { " " }, style),
            Span::styled(format!("{number} {}", screen.title()), style),
        ]
    });
    Line::from_iter(names)
}

/// What is looked at and how it does; on the right, what is unusual.
fn status(app: &App, width: u16) -> Line<'static> {
    let look = &app.look;
    let world = &app.world;
    let mut notices = Vec::new();
    if let Some(problem) = world.problems.last() {
        notices.push(format!("! {}", sanitise::line(problem)));
    }
    if !app.filter().is_empty() {
        notices.push(format!("filter: {}", sanitise::line(app.filter())));
    }
    if app.is_frozen() {
        notices.push("FROZEN".to_owned());
    }
    let mut spans = vec![Span::raw(" ")];
    match world.experiment.as_deref() {
        _ if app.screen == ScreenName::Experiments => spans.extend(store(world, look)),
        Some(name) => spans.extend(experiment(name, world, look)),
        None => {}
    }
    let notices = notices.join("  ");
    let room = usize::from(width).saturating_sub(Line::from_iter(spans.iter().cloned()).width() + 2);
    spans.push(Span::raw("  "));
    spans.push(Span::styled(beginning(&notices, room), look.notice()));
    Line::from(spans)
}

/// The store, and how its experiments do.
fn store(world: &World, look: &Look) -> Vec<Span<'static>> {
    let running = world.overview.iter().filter(|line| !line.runs.is_empty()).count();
    let failed = world.overview.iter().filter(|line| line.counts.failed > 0).count();
    let mut spans = vec![
        Span::styled(sanitise::line(&world.store).into_owned(), look.heading()),
        Span::raw(format!("  {}", wording::count(world.names.len(), "experiment"))),
    ];
    if running > 0 {
        spans.push(Span::styled(format!(", {running} running"), look.running()));
    }
    if failed > 0 {
        spans.push(Span::styled(format!(", {failed} with failures"), look.bad()));
    }
    spans
}

/// An experiment, and how it does.
fn experiment(name: &str, world: &World, look: &Look) -> Vec<Span<'static>> {
    let mut spans = vec![Span::styled(sanitise::line(name).into_owned(), look.heading())];
    let Some(line) = world.line(name) else { return spans };
    let state = ExperimentState::of(line);
    spans.push(Span::styled(format!("  {}", state.word()), look.state(state)));
    spans.push(Span::raw(format!("  {}", state::percent(line.share))));
    if let Some(seconds) = line.seconds_left {
        spans.push(Span::raw(format!("  {} left", state::left(seconds))));
    }
    if line.counts.failed > 0 {
        spans.push(Span::styled(format!("  {} failed", line.counts.failed), look.bad()));
    }
    spans
}

/// What is being typed, what was said, or what can be pressed.
fn bottom(app: &App, width: u16) -> Line<'static> {
    match (&app.prompt, &app.said) {
        (Some((prompt, text)), _) => {
            let before = match prompt {
                Prompt::Filter => "filter: ",
                Prompt::Palette(_) => ": ",
                Prompt::First(_) => "words of the stages that come first: ",
            };
            let cursor = Span::styled(" ", app.look.selected());
            Line::from(vec![Span::styled(before, app.look.heading()), Span::raw(text.clone()), cursor])
        }
        (None, Some(said)) => Line::styled(sanitise::line(said).into_owned(), app.look.heading()),
        (None, None) => hints(app, width),
    }
}

/// The keys of the table that have a word for this line, as many as fit.
fn hints(app: &App, width: u16) -> Line<'static> {
    let contexts: &[Context] =
        if app.confirm.is_some() { &[Context::Asking] } else { &keys::contexts(app.screen) };
    let mut spans = Vec::new();
    let mut room = usize::from(width);
    for context in contexts {
        for binding in KEYMAP.iter().filter(|b| b.context == *context && !b.short.is_empty()) {
            let needed = binding.keys[0].len() + binding.short.len() + 3;
            if needed > room {
                return Line::from(spans);
            }
            room -= needed;
            spans.push(Span::styled(binding.keys[0], app.look.key()));
            spans.push(Span::raw(format!(" {}  ", binding.short)));
        }
    }
    Line::from(spans)
}

/// A box in the middle of `area`, wiped.
fn middle(frame: &mut Frame, area: Rect, width: u16, height: u16, title: &str, look: Look) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let block = Block::bordered().title(Line::styled(format!(" {title} "), look.heading()));
    let inner = block.inner(place);
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    inner
}

fn draw_palette(frame: &mut Frame, area: Rect, palette: &Palette, typed: &str, look: Look) {
    let (offers, at) = palette.lines();
    let title = if typed.is_empty() { "What do you want?" } else { "What fits" };
    let inner = middle(frame, area, 76, 16, title, look);
    let first = at.saturating_sub(usize::from(inner.height).saturating_sub(1));
    let lines = offers.enumerate().skip(first).take(usize::from(inner.height)).map(|(n, offer)| {
        let sign = if n == at { ">" } else { " " };
        let style = if n == at { look.selected() } else { Style::new() };
        Line::from(vec![
            Span::raw(format!("{sign} ")),
            Span::styled(format!("{:<6}", offer.key), look.key()),
            Span::styled(sanitise::line(&offer.text).into_owned(), style),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), inner);
}

fn draw_confirm(frame: &mut Frame, area: Rect, confirm: &Confirm, look: Look) {
    const WIDTH: usize = 70;
    // Words that do not fit go to the next row: a row more than the letters need for each paragraph.
    let rows: usize = confirm.lines.iter().map(|line| line.width() / (WIDTH - 2) + 2).sum();
    let inner = middle(frame, area, WIDTH as u16, rows as u16 + 3, &sanitise::line(&confirm.title), look);
    let mut lines: Vec<_> = confirm
        .lines
        .iter()
        .flat_map(|line| [Line::raw(sanitise::line(line).into_owned()), Line::default()])
        .collect();
    lines.push(Line::from(vec![
        Span::styled("y", look.key()),
        Span::raw(" yes, do it    "),
        Span::styled("n", look.key()),
        Span::raw(" no, leave it"),
    ]));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), inner);
}

//! Experiments: what runs, how far it is, whether it is healthy, and why it is not.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Padding, Paragraph, Wrap};
use titer_lab::live::{ExperimentLine, StageState};
use titer_view::sanitise;
use titer_view::state::{self, ExperimentState};

use crate::control;
use crate::effect::Effect;
use crate::filter::Filter;
use crate::keys::Action;
use crate::look::Look;
use crate::screen::Screen;
use crate::screen_name::ScreenName;
use crate::widgets::bar::bar;
use crate::widgets::rows::{Rows, moved, text};
use crate::world::World;

/// From this width on there is room for more columns.
const WIDE: u16 = 110;
/// Columns of a progress bar.
const BAR: usize = 12;
/// Lines below the list.
const DETAIL: u16 = 8;

/// The screen. What is selected is the chosen experiment itself.
#[derive(Debug, Default)]
pub(crate) struct Experiments {
    filter: Filter,
    expanded: bool,
}

impl Experiments {
    fn shown<'w>(&self, world: &'w World) -> Vec<&'w str> {
        let fits = |name: &&str| {
            let line = world.line(name);
            let state = line.map_or("", |line| ExperimentState::of(line).word());
            let summary = line.map_or("", |line| line.summary.as_str());
            self.filter.admits(&format!("{name} {state} {summary}"))
        };
        world.listed().into_iter().filter(fits).collect()
    }

    fn draw_list(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let shown = self.shown(world);
        let at = shown.iter().position(|name| world.experiment.as_deref() == Some(name));
        let wide = area.width >= WIDE;
        let mut head = vec!["experiment", "state", "progress", "stages", "left", "failed", "runs on"];
        let mut widths: Vec<_> = [
            Constraint::Fill(3),
            Constraint::Length(8),
            Constraint::Length(BAR as u16 + 6),
            Constraint::Length(9),
            Constraint::Length(11),
            Constraint::Length(6),
        ]
        .into();
        if wide {
            head.push("changed");
            widths.extend([Constraint::Fill(2), Constraint::Length(11)]);
        } else {
            head.pop();
        }
        let rows = Rows { head: &head, widths: &widths, count: shown.len(), at };
        rows.draw(area, frame.buffer_mut(), *look, |n| match world.line(shown[n]) {
            Some(line) => row(line, world.now, look),
            None => vec![text(sanitise::line(shown[n]), Style::new()), text("reading", look.faint())],
        });
        if shown.is_empty() {
            let hint = if world.names.is_empty() {
                format!(
                    "{} holds no experiment yet. `titer run apothecary-smoke` makes one in a minute.",
                    world.store
                )
            } else {
                "no experiment fits the filter: Esc clears it".to_owned()
            };
            let place = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
            frame.render_widget(
                Paragraph::new(sanitise::line(&hint).into_owned()).wrap(Wrap { trim: true }),
                place,
            );
        }
    }
}

/// The columns of one experiment.
fn row<'a>(line: &ExperimentLine, now: f64, look: &Look) -> Vec<Line<'a>> {
    let state = ExperimentState::of(line);
    let name = text(sanitise::line(&line.name).into_owned(), look.heading());
    if line.problem.is_some() {
        return vec![name, text(state.word(), look.state(state))];
    }
    let counts = &line.counts;
    let failed = match counts.failed {
        0 => text("-", look.faint()),
        failed => text(format!("{failed} !"), look.bad()),
    };
    let runs = match line.runs.as_slice() {
        [] => text("-", look.faint()),
        [run] => text(sanitise::line(&run.host).into_owned(), Style::new()),
        [run, more @ ..] => text(format!("{} +{}", sanitise::line(&run.host), more.len()), Style::new()),
    };
    vec![
        name,
        text(state.word(), look.state(state)),
        Line::from(vec![
            Span::styled(bar(line.share, BAR), look.state(state)),
            Span::raw(format!(" {:>5}", state::percent(line.share))),
        ]),
        text(format!("{}/{}", counts.sealed, counts.stages), Style::new()),
        match line.seconds_left {
            Some(seconds) => text(state::left(seconds), Style::new()),
            None => text("-", look.faint()),
        },
        failed,
        runs,
        text(line.changed.map_or("-".into(), |time| state::ago(now - time)), look.faint()),
    ]
}

/// What there is to say about the chosen experiment, the most urgent first.
fn detail<'a>(world: &World, look: &Look, whole: bool) -> Vec<Line<'a>> {
    let Some(line) = world.experiment.as_deref().and_then(|name| world.line(name)) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(problem) = &line.problem {
        lines.push(text(format!("! {}", sanitise::line(problem)), look.bad()));
    }
    lines.extend(asked(line, look));
    lines.extend(failures(world, look, whole));
    if !line.summary.is_empty() {
        lines.push(text(sanitise::line(&line.summary).into_owned(), Style::new()));
    }
    let counts = &line.counts;
    let parts = [
        (counts.sealed, "done"),
        (counts.running, "running"),
        (counts.failed, "failed"),
        (counts.interrupted, "broken off"),
        (counts.waiting, "waiting"),
    ];
    let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if !parts.is_empty() {
        lines.push(text(format!("{} stages: {}", counts.stages, parts.join(", ")), Style::new()));
    }
    for run in &line.runs {
        let host = sanitise::line(&run.host).into_owned();
        lines.push(text(format!("run: process {} on {host}", run.pid), Style::new()));
    }
    if let Some(time) = line.changed {
        lines.push(text(format!("last sign of life: {}", state::ago(world.now - time)), look.faint()));
    }
    if whole {
        lines.push(Line::default());
        lines.extend(kinds(world, look));
    }
    lines
}

/// How far the stages of each kind are.
fn kinds<'a>(world: &World, look: &Look) -> Vec<Line<'a>> {
    let stages = world.chosen.iter().flat_map(|view| &view.stages);
    let mut kinds: Vec<(&str, usize, usize)> = Vec::new();
    for stage in stages {
        let sealed = usize::from(stage.state == StageState::Sealed);
        match kinds.iter_mut().find(|(kind, ..)| *kind == stage.kind) {
            Some((_, done, all)) => (*done, *all) = (*done + sealed, *all + 1),
            None => kinds.push((&stage.kind, sealed, 1)),
        }
    }
    let line = |(kind, done, all): (&str, usize, usize)| {
        Line::from(vec![
            Span::raw(format!("{:<10} ", sanitise::line(kind))),
            Span::styled(bar(done as f64 / all as f64, BAR), look.good()),
            Span::raw(format!(" {done}/{all}")),
        ])
    };
    kinds.into_iter().map(line).collect()
}

/// What its runs were asked, in words.
fn asked<'a>(line: &ExperimentLine, look: &Look) -> Option<Line<'a>> {
    let asked = match ExperimentState::of(line) {
        ExperimentState::Stopping => "asked to stop: each run saves a checkpoint first",
        ExperimentState::Held => "held: running stages are finished, no new one begins (r goes on)",
        _ if !line.control.first.is_empty() => "",
        _ => return None,
    };
    let first = match line.control.first.as_slice() {
        [] => String::new(),
        words => format!("first: {}", sanitise::line(&words.join(", "))),
    };
    let parts: Vec<_> =
        [asked, &first].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect();
    Some(text(parts.join("; "), look.notice()))
}

/// The stages that failed, and why: a few, or all.
fn failures<'a>(world: &World, look: &Look, whole: bool) -> Vec<Line<'a>> {
    let Some(view) = world.chosen.as_ref() else { return Vec::new() };
    let mut lines = Vec::new();
    for stage in &view.stages {
        if let StageState::Failed(error) = &stage.state {
            lines.push(Line::from(vec![
                Span::styled(format!("failed: {}: ", sanitise::line(&stage.label)), look.bad()),
                Span::raw(sanitise::line(error).into_owned()),
            ]));
        }
    }
    if !whole && lines.len() > 2 {
        let more = lines.len() - 2;
        lines.truncate(2);
        lines.push(text(format!("and {more} more failures (e shows all, 7 the log)"), look.bad()));
    }
    lines
}

impl Screen for Experiments {
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect> {
        let chosen = world.experiment.as_deref();
        let shown = self.shown(world);
        let at = shown.iter().position(|name| chosen == Some(name));
        match (action, chosen) {
            (Action::Expand, _) => {
                self.expanded = !self.expanded;
                Vec::new()
            }
            (Action::Open, Some(_)) => vec![Effect::Go(ScreenName::Matrix)],
            (Action::Back, _) => {
                self.expanded = false;
                Vec::new()
            }
            (Action::Stop, Some(name)) => control::stop(world, name),
            (Action::Hold, Some(name)) => control::hold(world, name),
            (Action::Resume, Some(name)) => control::resume(world, name),
            (Action::First, Some(name)) => control::first(world, name),
            _ => {
                let next = match at {
                    Some(at) => moved(at, shown.len(), action),
                    None => 0,
                };
                shown.get(next).map(|name| Effect::Choose((*name).to_owned())).into_iter().collect()
            }
        }
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let chosen = world.experiment.as_deref().unwrap_or_default();
        let title = format!(" {} ", sanitise::line(chosen));
        let (list, below) = if self.expanded {
            (Rect::ZERO, area)
        } else if area.width >= 120 {
            let [list, beside] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(2)]).areas(area);
            (list, beside)
        } else {
            let [list, below] =
                Layout::vertical([Constraint::Fill(1), Constraint::Length(DETAIL)]).areas(area);
            (list, below)
        };
        let beside = below.y == list.y && !self.expanded;
        self.draw_list(frame, list, world, look);
        let borders = if beside { Borders::LEFT } else { Borders::TOP };
        let block = Block::new()
            .padding(Padding::horizontal(1))
            .borders(borders)
            .border_style(look.faint())
            .title(Line::styled(title, look.heading()));
        let lines = detail(world, look, self.expanded || beside);
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }).block(block), below);
    }

    fn filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
    }

    fn copied(&self, world: &World) -> Option<String> {
        world.experiment.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen::{self, picture, world};

    #[test]
    fn the_screen() {
        let screen = Experiments::default();
        for (width, height) in [(80, 21), (160, 45)] {
            for (look, styles) in [(Look::MONO, false), (Look::FULL, true)] {
                let name = format!("experiments_{width}x{height}{}", if styles { "_colour" } else { "" });
                insta::assert_snapshot!(
                    name,
                    picture(width, height, styles, |frame| screen.draw(frame, frame.area(), &world(), &look))
                );
            }
        }
    }

    #[test]
    fn expanded_it_says_every_reason_in_full() {
        let screen = Experiments { expanded: true, ..Experiments::default() };
        let text = picture(80, 21, false, |frame| screen.draw(frame, frame.area(), &world(), &Look::MONO));
        assert!(text.contains("and run again") && !text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn moving_chooses_and_a_filter_narrows() {
        let mut screen = Experiments::default();
        let chosen = |effects: Vec<Effect>| match effects.as_slice() {
            [Effect::Choose(name)] => name.clone(),
            other => panic!("{other:?}"),
        };
        let world = world();
        assert_eq!(chosen(screen.act(Action::Down, &world)), "apothecary-api");
        assert_eq!(chosen(screen.act(Action::Bottom, &world)), "damaged", "what never changed comes last");
        screen.filter("done");
        assert_eq!(screen.shown(&world), ["apothecary", "hostile"]);
        assert_eq!(screen.act(Action::Open, &world), [Effect::Go(ScreenName::Matrix)]);
        assert_eq!(specimen::CHOSEN, screen.copied(&world).unwrap());
    }
}

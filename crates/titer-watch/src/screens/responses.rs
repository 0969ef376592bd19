//! What models said: prompts and responses by checkpoint, with what the judge made of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use titer_plan::{Probe, StageHash, UnderTest};
use titer_view::wording;

use crate::answers::{Answers, Choice, Refusals, Scores};
use crate::effect::{Effect, Wants};
use crate::filter::Filter;
use crate::keys::Action;
use crate::look::Look;
use crate::picked::Picked;
use crate::screen::Screen;
use crate::widgets::pane::{self, Paragraph};
use crate::widgets::prose::beginning;
use crate::widgets::rows;
use crate::world::{Fetched, World};
use titer_lab::live::{ExperimentView, ResponseLine, StageState};

/// The screen: first a list of stages, then the responses of one.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    stages: Filter,
    stage: Picked<StageHash>,
    /// The stage that was last looked at closely elsewhere.
    near: Option<StageHash>,
    opened: Option<StageHash>,
    choice: Choice,
    answers: Answers,
    at: usize,
    /// Whether one response is shown alone, and its first row.
    whole: Option<usize>,
    /// Experiments whose content someone chose to see. Never kept for another session.
    revealed: BTreeSet<String>,
}

impl Responses {
    /// The stages that have responses, as far as the filter admits them.
    fn listed(&self, view: &ExperimentView) -> Vec<usize> {
        let sealed = |at: &usize| view.stages[*at].state == StageState::Sealed;
        let asked: BTreeSet<_> = view.curves.iter().map(|curve| curve.stage).collect();
        let admitted = |at: &usize| self.stages.admits(&view.stages[*at].label);
        asked.into_iter().filter(|at| *at < view.stages.len()).filter(sealed).filter(admitted).collect()
    }

    fn is_hidden(&self, view: &ExperimentView) -> bool {
        // An embedded world's recipes are made up; anything else may be what it says.
        view.data.model != UnderTest::Trained && !self.revealed.contains(&view.line.name)
    }

    fn lines<'a>(&self, world: &'a World) -> Option<&'a Arc<Vec<ResponseLine>>> {
        let responses = world.responses.as_ref()?;
        match &responses.lines {
            Fetched::Ready(lines) if self.opened.as_ref() == Some(&responses.stage) => Some(lines),
            _ => None,
        }
    }

    fn update(&mut self, world: &World) {
        let phi = world.chosen.as_ref().map_or(1.0, |view| view.experiment.conditions.phi);
        self.answers.update(self.lines(world), &self.choice, phi);
        self.at = self.at.min(self.answers.len().saturating_sub(1));
    }

    fn move_by(&mut self, action: Action, view: &ExperimentView) {
        match (&self.opened, &mut self.whole, action) {
            // One response alone: pages scroll in it, rows go to the next.
            (Some(_), Some(first), Action::PageUp) => *first = first.saturating_sub(10),
            (Some(_), Some(first), Action::PageDown) => *first = first.saturating_add(10),
            (Some(_), whole, _) => {
                let at = rows::moved(self.at, self.answers.len(), action);
                if at != self.at {
                    *whole = whole.map(|_| 0);
                }
                self.at = at;
            }
            (None, ..) => {
                let hashes = hashes(view, &self.listed(view));
                self.stage.act(action, &hashes);
            }
        }
    }

    fn open(&mut self, view: &ExperimentView) -> Vec<Effect> {
        if self.opened.is_some() {
            self.whole = match self.whole {
                Some(_) => None,
                None => Some(0),
            };
            return Vec::new();
        }
        let hashes = hashes(view, &self.listed(view));
        self.opened = self.stage.key(&hashes).cloned();
        (self.at, self.whole) = (0, None);
        // What found the stage need not be in its responses.
        vec![Effect::Unfilter]
    }
}

fn hashes(view: &ExperimentView, listed: &[usize]) -> Vec<StageHash> {
    listed.iter().map(|&at| view.stages[at].hash.clone()).collect()
}

impl Screen for Responses {
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect> {
        let Some(view) = &world.chosen else { return Vec::new() };
        let mut effects = Vec::new();
        match action {
            Action::Open => effects = self.open(view),
            Action::Expand if self.opened.is_some() => effects = self.open(view),
            Action::Back if self.whole.is_some() => self.whole = None,
            Action::Back => self.opened = None,
            Action::Reveal if self.opened.is_some() => {
                self.revealed.insert(view.line.name.clone());
            }
            Action::Probe => {
                let probes = self.answers.probes();
                let at = self.choice.probe.as_ref().and_then(|old| probes.iter().position(|new| new == old));
                self.choice.probe = probes.into_iter().nth(at.map_or(0, |at| at + 1));
            }
            Action::Refused => {
                self.choice.refusals = match self.choice.refusals {
                    Refusals::All => Refusals::Only,
                    Refusals::Only => Refusals::None,
                    Refusals::None => Refusals::All,
                }
            }
            Action::Score => {
                self.choice.scores = match self.choice.scores {
                    Scores::All => Scores::Above,
                    Scores::Above => Scores::UpTo,
                    Scores::UpTo => Scores::All,
                }
            }
            other => self.move_by(other, view),
        }
        self.update(world);
        effects
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let Some(view) = &world.chosen else { return };
        let (look, buffer) = (*look, frame.buffer_mut());
        let Some(opened) = &self.opened else {
            self.draw_stages(area, buffer, look, view);
            return;
        };
        let label = view.stages.iter().find(|stage| stage.hash == *opened);
        let label = label.map_or_else(|| opened.to_string(), |stage| stage.label.clone());
        if self.is_hidden(view) {
            let area = pane::titled(area, buffer, look, &label, "hidden");
            pane::paragraphs(area, buffer, look, 0, &warning(view, look));
            return;
        }
        let counted = format!("{} of {}", self.answers.len(), wording::count(self.answers.all(), "response"));
        let area = pane::titled(area, buffer, look, &label, &counted);
        let told = world.responses.as_ref().filter(|responses| responses.stage == *opened);
        match told.map(|responses| &responses.lines) {
            Some(Fetched::Ready(_)) => self.draw_responses(area, buffer, look, view),
            Some(Fetched::Failed(why)) => {
                let why = Paragraph::styled(format!("they cannot be read: {why}"), look.bad());
                pane::paragraphs(area, buffer, look, 0, &[why]);
            }
            Some(Fetched::Pending) | None => {
                let soon = Paragraph::styled("they are being read", look.faint());
                pane::paragraphs(area, buffer, look, 0, &[soon]);
            }
        }
    }

    fn follow(&mut self, world: &World) {
        if let (Some(view), Some(opened)) = (&world.chosen, &self.opened)
            && view.stages.iter().all(|stage| stage.hash != *opened)
        {
            (self.opened, self.whole) = (None, None);
        }
        if let (Some(view), Some(near)) = (&world.chosen, &world.stage.hash)
            && self.near.as_ref() != Some(near)
        {
            self.near = Some(near.clone());
            let hashes = hashes(view, &self.listed(view));
            if let Some(at) = hashes.iter().position(|hash| hash == near) {
                self.stage.select(at, &hashes);
            }
        }
        self.update(world);
    }

    fn want(&self, world: &World, wants: &mut Wants) {
        if world.chosen.as_ref().is_some_and(|view| !self.is_hidden(view)) {
            wants.responses.clone_from(&self.opened);
        }
    }

    fn filter(&mut self, text: &str) {
        match self.opened {
            Some(_) => self.choice.words = Filter::new(text),
            None => self.stages = Filter::new(text),
        }
        // Whatever an earlier level was filtered by is shown there no longer.
        if text.is_empty() {
            (self.stages, self.choice.words) = (Filter::default(), Filter::default());
        }
    }

    fn copied(&self, world: &World) -> Option<String> {
        let view = world.chosen.as_ref()?;
        self.opened.as_ref().filter(|_| !self.is_hidden(view))?;
        self.answers.get(self.at).map(|line| line.response.clone())
    }
}

/// What is said instead of the responses to real data.
fn warning(view: &ExperimentView, look: Look) -> Vec<Paragraph<'static>> {
    let data = &view.data.word;
    vec![
        Paragraph::plain(""),
        Paragraph::styled("Content warning", look.notice()),
        Paragraph::plain(format!(
            "This experiment asks a model questions from a {data}, not from an embedded world of made-up recipes. \
             Prompts and responses may be harmful, hateful, or instructions that should not be followed."
        )),
        Paragraph::plain(""),
        Paragraph::styled("w shows them until the app is closed; Esc goes back", look.heading()),
    ]
}

impl Responses {
    fn draw_stages(&self, area: Rect, buffer: &mut Buffer, look: Look, view: &ExperimentView) {
        let listed = self.listed(view);
        let counted = wording::count(listed.len(), "sealed stage");
        let area =
            pane::titled(area, buffer, look, "Responses", &format!("of which of {counted}? Enter opens"));
        let none = match view.reading {
            true => "the stages are being read",
            false => "no stage with responses is sealed yet",
        };
        if listed.is_empty() {
            pane::paragraphs(area, buffer, look, 0, &[Paragraph::styled(none, look.faint())]);
            return;
        }
        let selected = self.stage.at(&hashes(view, &listed));
        rows::list(area, buffer, look, listed.len(), selected, |at, width| {
            Line::raw(beginning(&view.stages[listed[at]].label, width))
        });
    }

    fn draw_responses(&self, area: Rect, buffer: &mut Buffer, look: Look, view: &ExperimentView) {
        let phi = view.experiment.conditions.phi;
        let (choice, area) = pane::above(area, 1);
        let shown = Paragraph::styled(self.choice.said(), look.faint());
        pane::paragraphs(choice, buffer, look, 0, &[shown]);
        let Some(line) = self.answers.get(self.at) else {
            let none = Paragraph::styled("no response is like that", look.faint());
            pane::paragraphs(area, buffer, look, 0, &[none]);
            return;
        };
        if let Some(first) = self.whole {
            pane::paragraphs(area, buffer, look, first, &texts(line, phi, look));
            return;
        }
        let (list, near) = if area.width >= 120 {
            pane::beside(area, area.width / 2, buffer, look)
        } else {
            pane::above(area, (area.height * 2 / 5).min(self.answers.len() as u16))
        };
        rows::list(list, buffer, look, self.answers.len(), Some(self.at), |at, width| {
            self.answers.get(at).map_or_else(Line::default, |line| row(line, width, phi, look))
        });
        let (_, near) = pane::above(near, u16::from(area.width < 120 && near.height > 6));
        pane::paragraphs(near, buffer, look, 0, &texts(line, phi, look));
    }
}

/// Sign and word of what came back.
fn kind(line: &ResponseLine, phi: f64, look: Look) -> (&'static str, Style) {
    match (line.marks.refused, line.marks.degenerate) {
        (_, true) => ("~ no answer", look.unsure()),
        (true, _) => ("- refuses", look.good()),
        _ if line.score > phi && is_harmful(line) => ("! answers", look.bad()),
        _ => ("  answers", Style::new()),
    }
}

/// Whether an answer does harm: a high score says so on some probes, and on others that the model is able.
fn is_harmful(line: &ResponseLine) -> bool {
    Probe::ALL.into_iter().any(|probe| probe.name() == line.probe && probe.is_harmful())
}

/// `     8  unseen        1.00  ! answers   How is …`.
fn row(line: &ResponseLine, width: usize, phi: f64, look: Look) -> Line<'static> {
    let (kind, style) = kind(line, phi, look);
    let before = format!("{:>6}  {:<12} {:>5.2}  ", line.steps, beginning(&line.probe, 12), line.score);
    let rest = width.saturating_sub(before.len() + 13);
    Line::from(vec![
        Span::raw(before),
        Span::styled(format!("{kind:<13}"), style),
        Span::raw(beginning(&line.response, rest)),
    ])
}

/// All that is known of a response.
fn texts(line: &ResponseLine, phi: f64, look: Look) -> Vec<Paragraph<'_>> {
    let (kind, style) = kind(line, phi, look);
    vec![
        Paragraph::styled(
            format!(
                "{}{}  after {}, {} {}, {} by {}",
                kind.trim(),
                wording::asides(&line.marks),
                wording::count(usize::try_from(line.steps).unwrap_or(usize::MAX), "step"),
                line.probe,
                line.item,
                wording::share(line.score),
                line.judge
            ),
            style,
        ),
        Paragraph::styled("prompt", look.heading()),
        Paragraph::plain(line.prompt.as_str()),
        Paragraph::styled("response", look.heading()),
        Paragraph::plain(line.response.as_str()),
    ]
}

//! What an experiment's runs do: its stages with their states, and one of them from near.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use titer_plan::StageHash;
use titer_view::scale::{self, Spread};
use titer_view::wording;
use unicode_width::UnicodeWidthStr;

use crate::effect::{Effect, Wants};
use crate::filter::Filter;
use crate::keys::Action;
use crate::look::Look;
use crate::picked::Picked;
use crate::screen::{Liking, Screen};
use crate::screen_name::ScreenName;
use crate::series::FACTORS;
use crate::stage_pane::{self, Closeness};
use crate::stages::{self, Leaf};
use crate::widgets::prose::beginning;
use crate::widgets::{pane, rows};
use crate::world::World;
use titer_lab::live::{ExperimentView, StageLine, StageState};

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Run {
    stage: Picked<StageHash>,
    /// Whether someone chose a stage; until then it is one that runs.
    chosen: bool,
    filter: Filter,
    smoothing: usize,
    spread: Spread,
    expanded: bool,
}

impl Run {
    /// The stages that the filter admits, by label, kind or state.
    fn listed(&self, view: &ExperimentView) -> Vec<Leaf> {
        let admits = |leaf: &Leaf| {
            self.filter.is_empty() || {
                let stage = &view.stages[leaf.stage];
                self.filter.admits(&format!("{} {}", stage.label, stages::state(&stage.state).1))
            }
        };
        stages::tree(&view.stages).into_iter().filter(admits).collect()
    }

    fn selected(&self, view: &ExperimentView) -> Option<StageHash> {
        let leaves = self.listed(view);
        self.stage.key(&hashes(view, &leaves)).cloned()
    }
}

fn hashes(view: &ExperimentView, leaves: &[Leaf]) -> Vec<StageHash> {
    leaves.iter().map(|leaf| view.stages[leaf.stage].hash.clone()).collect()
}

impl Screen for Run {
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect> {
        let Some(view) = &world.chosen else { return Vec::new() };
        match action {
            Action::Expand => self.expanded = !self.expanded,
            Action::Back => self.expanded = false,
            // That screen begins with the stage that was looked at here.
            Action::Open => return vec![Effect::Go(ScreenName::Responses)],
            Action::Smooth => self.smoothing = (self.smoothing + 1) % FACTORS.len(),
            Action::Spread => self.spread = self.spread.other(),
            other => {
                let leaves = self.listed(view);
                self.chosen |= self.stage.act(other, &hashes(view, &leaves));
            }
        }
        Vec::new()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let Some(view) = &world.chosen else { return };
        let (look, buffer) = (*look, frame.buffer_mut());
        let leaves = self.listed(view);
        let selected = self.stage.at(&hashes(view, &leaves));
        let stage = selected.and_then(|at| leaves.get(at)).map(|leaf| leaf.stage);
        let closeness =
            Closeness { spread: self.spread, factor: FACTORS[self.smoothing], whole: self.expanded };
        let (list, near) = if self.expanded {
            (Rect { height: 0, ..area }, area)
        } else if area.width >= 120 {
            pane::beside(area, area.width * 2 / 5, buffer, look)
        } else {
            let rows = (area.height / 3).max(5).min(leaves.len() as u16 + 1);
            pane::above(area, rows)
        };
        let all = wording::count(view.stages.len(), "stage");
        let shown = if self.filter.is_empty() { all } else { format!("{} of {all}", leaves.len()) };
        let counted = format!("{shown}, {}", counted(view));
        let list = pane::titled(list, buffer, look, "Stages", &counted);
        rows::list(list, buffer, look, leaves.len(), selected, |at, width| {
            row(view, leaves[at], width, look)
        });
        match stage {
            Some(stage) => stage_pane::draw(near, buffer, look, world, view, stage, closeness),
            None => {
                pane::titled(near, buffer, look, "", "no stage has these words");
            }
        }
    }

    fn follow(&mut self, world: &World) {
        let Some(view) = world.chosen.as_ref().filter(|_| !self.chosen) else { return };
        let leaves = self.listed(view);
        let state = |at: &usize| &view.stages[leaves[*at].stage].state;
        let found = (0..leaves.len()).find(|at| matches!(state(at), StageState::Running(_)));
        let found = found.or_else(|| (0..leaves.len()).find(|at| matches!(state(at), StageState::Failed(_))));
        self.stage.select(found.unwrap_or(0), &hashes(view, &leaves));
    }

    fn want(&self, world: &World, wants: &mut Wants) {
        wants.stage = world.chosen.as_ref().and_then(|view| self.selected(view));
    }

    fn filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
    }

    fn copied(&self, world: &World) -> Option<String> {
        let view = world.chosen.as_ref()?;
        let hash = self.selected(view)?;
        let stage = view.stages.iter().find(|stage| stage.hash == hash)?;
        Some(match &stage.state {
            StageState::Failed(why) => format!("{} {hash}\n{why}", stage.label),
            _ => format!("{} {hash}", stage.label),
        })
    }

    fn restore(&mut self, liking: &Liking) {
        self.spread = Spread::named(liking.get(SPREAD).map(String::as_str));
        let kept = liking.get(SMOOTHING).and_then(|kept| kept.parse::<usize>().ok());
        self.smoothing = kept.filter(|&at| at < FACTORS.len()).unwrap_or(0);
    }

    fn remember(&self, liking: &mut Liking) {
        liking.insert(SPREAD.into(), self.spread.name().into());
        liking.insert(SMOOTHING.into(), self.smoothing.to_string());
    }
}

const SPREAD: &str = "run.x";
const SMOOTHING: &str = "run.smoothing";

/// How many stages are in which state, without those in which none is.
fn counted(view: &ExperimentView) -> String {
    let counts = view.line.counts;
    let all = [
        (counts.running, "● running"),
        (counts.failed, "✗ failed"),
        (counts.interrupted, "~ interrupted"),
        (counts.sealed, "✓ done"),
        (counts.waiting, "· waiting"),
    ];
    let some = all.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, words)| words.replacen(' ', &format!(" {count} "), 1)).collect::<Vec<_>>().join("  ")
}

/// Columns of the state and what goes with it.
const STATE: usize = 17;

fn row(view: &ExperimentView, leaf: Leaf, width: usize, look: Look) -> Line<'static> {
    let stage = &view.stages[leaf.stage];
    let (sign, _) = stages::state(&stage.state);
    let room = width.saturating_sub(STATE + 1).max(width / 2);
    // Deep trees keep room for their labels.
    let indent = leaf.depth.min(room / 8);
    let label = beginning(&stage.label, room.saturating_sub(indent + 2));
    let gap = (room + 1).saturating_sub(indent + 2 + label.width());
    let style = stages::style(&stage.state, look);
    Line::from(vec![
        Span::raw(" ".repeat(indent)),
        Span::styled(format!("{sign} "), style),
        Span::raw(label),
        Span::raw(" ".repeat(gap)),
        Span::styled(beginning(&progress(stage), STATE), if is_quiet(stage) { look.faint() } else { style }),
    ])
}

fn is_quiet(stage: &StageLine) -> bool {
    matches!(stage.state, StageState::Sealed | StageState::Waiting)
}

/// `running 4/8`, `done 12 s`.
fn progress(stage: &StageLine) -> String {
    let (_, word) = stages::state(&stage.state);
    match (&stage.state, stage.step, stage.steps, stage.seconds) {
        (StageState::Running(_) | StageState::Interrupted, Some(step), Some(steps), _) => {
            format!("{word} {}/{}", scale::label(step as f64), scale::label(steps as f64))
        }
        (StageState::Sealed, _, _, Some(seconds)) => format!("{word} {}", wording::duration(seconds)),
        _ => word.into(),
    }
}

//! Scores over what an attack spent: any runs over each other.

use std::collections::BTreeSet;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;
use titer_plan::Probe;
use titer_view::curves::{self, Gathered, Group, Spent};
use titer_view::figure::Threshold;
use titer_view::scale::Spread;
use titer_view::wording;

use crate::effect::Effect;
use crate::filter::Filter;
use crate::keys::Action;
use crate::look::Look;
use crate::picked::Picked;
use crate::screen::{Liking, Screen};
use crate::series::range;
use crate::widgets::chart::Chart;
use crate::widgets::prose::beginning;
use crate::widgets::series::{Series, tolerated};
use crate::widgets::{pane, rows};
use crate::world::World;
use titer_lab::live::ExperimentView;

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Curves {
    marked: BTreeSet<Group>,
    group: Picked<Group>,
    probe: Option<Probe>,
    axis: Axis,
    filter: Filter,
    expanded: bool,
}

/// What the x axis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Axis {
    pub(crate) spent: Spent,
    pub(crate) spread: Spread,
}

impl Axis {
    /// As in a caption: `steps (log)`.
    pub(crate) fn name(self) -> String {
        match self.spread {
            Spread::Linear => self.spent.name().into(),
            Spread::Log => format!("{} (log)", self.spent.name()),
        }
    }

    /// The same with the next budget.
    pub(crate) fn turned(self) -> Self {
        let at = Spent::ALL.iter().position(|spent| *spent == self.spent).unwrap_or(0);
        Self { spent: Spent::ALL[(at + 1) % Spent::ALL.len()], ..self }
    }
}

/// There are as many signs for lines.
const MOST_LINES: usize = 8;

/// The bands of more lines hide each other.
const MOST_BANDS: usize = 4;

impl Curves {
    /// The groups that the filter admits, as far as they were asked about the chosen probe.
    fn listed(&self, view: &ExperimentView) -> Vec<Group> {
        let all = self.probe(view).map_or_else(Vec::new, |probe| curves::groups(view, probe));
        all.into_iter().filter(|group| self.filter.admits(&group.name())).collect()
    }

    fn probe(&self, view: &ExperimentView) -> Option<Probe> {
        chosen_probe(self.probe, view)
    }

    /// What is to be drawn: what is marked, or else every defence under the selected attack.
    fn wanted(&self, view: &ExperimentView, probe: Probe, listed: &[Group]) -> Vec<Group> {
        let all = curves::groups(view, probe);
        let marked: Vec<_> = all.iter().filter(|group| self.marked.contains(group)).cloned().collect();
        if !marked.is_empty() {
            return marked;
        }
        let Some(selected) = self.group.key(listed) else { return Vec::new() };
        let same = |group: &&Group| group.before == selected.before && group.arm == selected.arm;
        all.iter().filter(same).cloned().collect()
    }
}

/// The probe that was chosen, where it was asked; else the one that says most.
pub(crate) fn chosen_probe(wanted: Option<Probe>, view: &ExperimentView) -> Option<Probe> {
    let asked = curves::probes(view);
    let wanted = wanted.filter(|probe| asked.contains(probe));
    wanted.or_else(|| asked.iter().copied().find(|probe| *probe == Probe::Unseen)).or(asked.first().copied())
}

/// The probe after this one.
pub(crate) fn next_probe(probe: Option<Probe>, view: &ExperimentView) -> Option<Probe> {
    let asked = curves::probes(view);
    let at = asked.iter().position(|asked| Some(*asked) == probe).map_or(0, |at| at + 1);
    asked.get(at % asked.len().max(1)).copied()
}

/// What a score on a probe is called, and on which items.
pub(crate) fn measure(probe: Probe) -> String {
    format!("{} on {}", wording::measure(probe), wording::probe(probe))
}

/// φ as a line, where a probe is compared with it.
pub(crate) fn threshold(view: &ExperimentView, probe: Probe, look: Look) -> Option<Threshold> {
    probe.is_harmful().then(|| tolerated(view.experiment.conditions.phi, look))
}

impl Screen for Curves {
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect> {
        let Some(view) = &world.chosen else { return Vec::new() };
        match action {
            Action::Mark => {
                let listed = self.listed(view);
                if let Some(group) = self.group.key(&listed)
                    && !self.marked.remove(group)
                {
                    self.marked.insert(group.clone());
                }
                self.group.act(Action::Down, &listed);
            }
            Action::Unmark => self.marked.clear(),
            Action::Probe => self.probe = next_probe(self.probe(view), view),
            Action::Budget => self.axis = self.axis.turned(),
            Action::Spread => self.axis.spread = self.axis.spread.other(),
            Action::Expand => self.expanded = !self.expanded,
            Action::Back => self.expanded = false,
            other => {
                self.group.act(other, &self.listed(view));
            }
        }
        Vec::new()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let Some(view) = &world.chosen else { return };
        let (look, buffer) = (*look, frame.buffer_mut());
        let Some(probe) = self.probe(view) else {
            let none = if view.reading { "the curves are being read" } else { "no stage was probed yet" };
            pane::titled(area, buffer, look, "", none);
            return;
        };
        let listed = self.listed(view);
        let wanted = self.wanted(view, probe, &listed);
        let drawn = fewer(&wanted, self.group.key(&listed));
        let gathered: Vec<_> =
            drawn.iter().map(|group| (*group, curves::gather(view, group, probe, self.axis.spent))).collect();
        let (list, chart) = if self.expanded {
            (Rect { height: 0, ..area }, area)
        } else if area.width >= 120 {
            pane::beside(area, (area.width * 2 / 5).clamp(48, 64), buffer, look)
        } else {
            let rows = (area.height / 3).max(4).min(listed.len() as u16 + 1);
            let (chart, list) = pane::above(area, area.height - rows);
            (list, chart)
        };
        self.draw_list(list, buffer, look, &listed, &gathered);
        let series: Vec<_> = gathered
            .iter()
            .enumerate()
            .map(|(number, (group, gathered))| {
                let points = gathered.points.iter();
                let points =
                    points.map(|point| if drawn.len() > MOST_BANDS { point.alone() } else { *point });
                Series::line(&called(group, &wanted, gathered), number, points.collect())
            })
            .collect();
        let title = format!("{} over {}", measure(probe), self.axis.name());
        let about = about(&wanted, &gathered);
        self.draw_chart(chart, buffer, look, threshold(view, probe, look), (&title, &about), &series);
    }

    fn filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
    }

    fn copied(&self, world: &World) -> Option<String> {
        let view = world.chosen.as_ref()?;
        let probe = self.probe(view)?;
        let listed = self.listed(view);
        let group = self.group.key(&listed)?;
        let gathered = curves::gather(view, group, probe, self.axis.spent);
        let mut text = format!("{}\tmean\tlowest\thighest", self.axis.spent.name());
        for point in &gathered.points {
            text.push_str(&format!("\n{}\t{}\t{}\t{}", point.x, point.y, point.low, point.high));
        }
        Some(text)
    }

    fn restore(&mut self, liking: &Liking) {
        let named = |key: &str| liking.get(key).map(String::as_str);
        self.axis.spread = Spread::named(named(SPREAD));
        let spent = Spent::ALL.into_iter().find(|spent| named(SPENT) == Some(spent.name()));
        self.axis.spent = spent.unwrap_or_default();
        self.probe = Probe::ALL.into_iter().find(|probe| named(PROBE) == Some(probe.name()));
    }

    fn remember(&self, liking: &mut Liking) {
        liking.insert(SPREAD.into(), self.axis.spread.name().into());
        liking.insert(SPENT.into(), self.axis.spent.name().into());
        if let Some(probe) = self.probe {
            liking.insert(PROBE.into(), probe.name().into());
        }
    }
}

const SPREAD: &str = "curves.spread";
const SPENT: &str = "curves.x";
const PROBE: &str = "curves.probe";

impl Curves {
    fn draw_list(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        look: Look,
        listed: &[Group],
        gathered: &[(&Group, Gathered)],
    ) {
        let marks = match self.marked.len() {
            0 => "none marked: all under this attack".to_owned(),
            marked => format!("{marked} marked"),
        };
        let area = pane::titled(area, buffer, look, "Defence · attack", &marks);
        rows::list(area, buffer, look, listed.len(), self.group.at(listed), |at, width| {
            let group = &listed[at];
            let line = gathered.iter().position(|(drawn, _)| *drawn == group);
            let sign = line.map_or(' ', |number| look.mark(number));
            let style = line.map_or(look.faint(), |number| look.series(number));
            let box_ = if self.marked.contains(group) { "[x] " } else { "[ ] " };
            Line::from(vec![
                Span::raw(box_),
                Span::styled(format!("{sign} "), style),
                Span::raw(beginning(&group.name(), width.saturating_sub(6))),
            ])
        });
    }

    fn draw_chart(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        look: Look,
        threshold: Option<Threshold>,
        (title, about): (&str, &str),
        series: &[Series],
    ) {
        let area = pane::titled(area, buffer, look, title, about);
        Chart {
            caption: "",
            spread: self.axis.spread,
            range: range(series),
            series,
            threshold,
            empty: "nothing measured on these items yet",
            look,
        }
        .render(area, buffer);
    }
}

/// As many as can be told apart: the first, with which the others are compared, and those around the selected
/// one.
fn fewer<'a>(wanted: &'a [Group], selected: Option<&Group>) -> Vec<&'a Group> {
    if wanted.len() <= MOST_LINES {
        return wanted.iter().collect();
    }
    let at = wanted.iter().position(|group| Some(group) == selected).unwrap_or(0);
    let others = rows::window(Some(at.saturating_sub(1)), wanted.len() - 1, MOST_LINES - 1);
    std::iter::once(0).chain(others.map(|other| other + 1)).map(|at| &wanted[at]).collect()
}

/// A line's name: without the attack where all are under the same.
fn called(group: &Group, wanted: &[Group], gathered: &Gathered) -> String {
    let same = wanted.iter().all(|other| other.before == group.before && other.arm == group.arm);
    let name = if same { group.defence.clone() } else { group.name() };
    let live = if gathered.live > 0 { " (live)" } else { "" };
    format!("{name}{live}")
}

/// What the lines and bands are.
fn about(wanted: &[Group], gathered: &[(&Group, Gathered)]) -> String {
    let mut about = String::new();
    if wanted.len() > gathered.len() {
        about.push_str(&format!("{} more have no room: mark some; ", wanted.len() - gathered.len()));
    }
    let attack = wanted.first().map(|group| &group.before);
    if let Some(attack) = attack.filter(|attack| wanted.iter().all(|group| group.before == **attack)) {
        about.push_str(&format!("under {attack}; "));
    }
    let runs = gathered.iter().map(|(_, gathered)| gathered.runs);
    let runs = match (runs.clone().min(), runs.max()) {
        (Some(least), Some(most)) if least != most => format!("means of {least} to {most} runs"),
        (_, Some(1)) => "one run each".into(),
        (_, most) => format!("means of {} runs", most.unwrap_or(0)),
    };
    about.push_str(&runs);
    let has_band =
        |(_, gathered): &(&Group, Gathered)| gathered.points.iter().any(|point| point.low < point.high);
    if gathered.len() <= MOST_BANDS && gathered.iter().any(has_band) {
        about.push_str(", bands from the lowest to the highest");
    }
    about
}

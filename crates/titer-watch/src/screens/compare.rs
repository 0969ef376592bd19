//! Two experiments side by side: how far they are, what each defence comes to, and how its curves differ.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;
use titer_conditions::{DefenceVerdict, Verdicts};
use titer_plan::{AttackPoint, Probe};
use titer_view::changes::{self, Kind};
use titer_view::curves::{self, Group};
use titer_view::distinct::distinct;
use titer_view::matrix::{self, Column};
use titer_view::table::Cell;
use titer_view::verdict_tables::CONDITIONS;
use titer_view::wording;
use unicode_width::UnicodeWidthStr;

use super::curves::{Axis, chosen_probe, measure, next_probe, threshold};
use crate::effect::{Effect, Wants};
use crate::filter::Filter;
use crate::keys::Action;
use crate::look::Look;
use crate::picked::Picked;
use crate::screen::Screen;
use crate::series::range;
use crate::widgets::chart::Chart;
use crate::widgets::heat::{Heat, HeatCell};
use crate::widgets::pane::{self, Paragraph};
use crate::widgets::prose::beginning;
use crate::widgets::rows;
use crate::widgets::series::Series;
use crate::world::{Fetched, World};
use titer_lab::live::ExperimentView;

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Compare {
    /// The other experiment.
    other: Option<String>,
    /// Whether it is being chosen.
    choosing: bool,
    name: Picked<String>,
    defence: Picked<String>,
    column: usize,
    /// Whether the table is of attacks, not of conditions.
    by_attack: bool,
    attack: usize,
    probe: Option<Probe>,
    axis: Axis,
    filter: Filter,
    expanded: bool,
}

/// Columns of the table of conditions, two titers before them.
const COLUMNS: usize = 2 + CONDITIONS.len();

impl Compare {
    /// What can be compared with.
    fn names(&self, world: &World) -> Vec<String> {
        let others = world.listed().into_iter().filter(|name| world.experiment.as_deref() != Some(*name));
        others
            .filter(|name| !self.is_choosing(world) || self.filter.admits(name))
            .map(str::to_owned)
            .collect()
    }

    fn other<'a>(&'a self, world: &'a World) -> Option<&'a String> {
        self.other.as_ref().filter(|other| world.experiment.as_ref() != Some(*other))
    }

    fn is_choosing(&self, world: &World) -> bool {
        self.choosing || self.other(world).is_none()
    }

    /// The attacks on either; none where the table is of conditions.
    fn attacks<'a>(&self, world: &'a World, both: [&ExperimentView; 2]) -> Vec<&'a AttackPoint> {
        let verdicts = both.map(|view| verdicts(world, &view.line.name));
        if self.by_attack { changes::attacks(verdicts) } else { Vec::new() }
    }

    /// Columns of the table, one at least.
    fn columns(&self, world: &World) -> usize {
        let both = self.other(world).and_then(|other| both(world, other));
        let attacks = both.map_or(0, |both| self.attacks(world, both).len());
        if self.by_attack { attacks.max(1) } else { COLUMNS }
    }

    fn column(&self, world: &World) -> usize {
        self.column.min(self.columns(world) - 1)
    }

    /// The defences of either, those of the first before those that only the second has.
    fn defences(&self, both: [&ExperimentView; 2]) -> Vec<String> {
        let names = both.into_iter().flat_map(|view| &view.experiment.defence).map(|entry| &entry.label);
        distinct(names.filter(|name| self.filter.admits(name)).cloned())
    }
}

/// The chosen experiment and the other, once both are read.
fn both<'a>(world: &'a World, other: &str) -> Option<[&'a ExperimentView; 2]> {
    let second = world.other.as_ref().filter(|view| view.line.name == other)?;
    Some([world.chosen.as_ref()?, second])
}

/// The attacks on a defence in either, as far as they were asked about a probe.
fn attacks(both: [&ExperimentView; 2], defence: &str, probe: Probe) -> Vec<Group> {
    let groups = both.into_iter().flat_map(|view| curves::groups(view, probe));
    distinct(groups.filter(|group| group.defence == defence))
}

fn verdicts<'a>(world: &'a World, name: &str) -> Option<&'a Verdicts> {
    match world.verdicts.get(name)? {
        Fetched::Ready(decided) => Some(&decided.verdicts),
        _ => None,
    }
}

fn defence<'a>(verdicts: Option<&'a Verdicts>, name: &str) -> Option<&'a DefenceVerdict> {
    verdicts?.defences.iter().find(|defence| defence.defence == name)
}

impl Screen for Compare {
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect> {
        if self.is_choosing(world) {
            let names = self.names(world);
            match action {
                Action::Other => {
                    if let Some(name) = self.name.key(&names) {
                        self.other = Some(name.clone());
                        self.choosing = false;
                        return vec![Effect::Unfilter];
                    }
                }
                Action::Back => self.choosing = false,
                other => {
                    self.name.act(other, &names);
                }
            }
            return Vec::new();
        }
        match action {
            Action::Other => {
                self.choosing = true;
                return vec![Effect::Unfilter];
            }
            Action::Left => self.column = self.column(world).saturating_sub(1),
            Action::Right => self.column = (self.column(world) + 1).min(self.columns(world) - 1),
            Action::Turn => (self.by_attack, self.column) = (!self.by_attack, 0),
            Action::Attack => self.attack = self.attack.wrapping_add(1),
            Action::Budget => self.axis = self.axis.turned(),
            Action::Spread => self.axis.spread = self.axis.spread.other(),
            Action::Probe => {
                if let Some(view) = &world.chosen {
                    self.probe = next_probe(chosen_probe(self.probe, view), view);
                }
            }
            Action::Expand => self.expanded = !self.expanded,
            Action::Back => self.expanded = false,
            other => {
                let both = self.other(world).and_then(|other| both(world, other));
                if let Some(both) = both {
                    self.defence.act(other, &self.defences(both));
                }
            }
        }
        Vec::new()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let (look, buffer) = (*look, frame.buffer_mut());
        let Some(other) = self.other(world).filter(|_| !self.is_choosing(world)) else {
            self.draw_choice(area, buffer, look, world);
            return;
        };
        let Some(both) = both(world, other) else {
            let reading = Paragraph::styled(format!("{other} is being read"), look.faint());
            pane::paragraphs(area, buffer, look, 0, &[reading]);
            return;
        };
        let (heads, rest) = pane::above(area, 2);
        let heads_said: Vec<_> =
            ["A", "B"].iter().zip(both).map(|(sign, view)| head(sign, view, world, look)).collect();
        pane::paragraphs(heads, buffer, look, 0, &heads_said);
        let names = self.defences(both);
        let heads = if self.by_attack { 3 } else { 2 };
        let wanted = (names.len() as u16 + heads).min(rest.height / 2).max(4);
        let (table, below) = pane::above(rest, wanted);
        self.draw_table(table, buffer, look, world, both, &names);
        let Some(name) = self.defence.key(&names) else { return };
        let (_, below) = pane::above(below, u16::from(below.height > 8));
        if self.expanded {
            let evidence = self.evidence(world, both, name, look);
            pane::paragraphs(below, buffer, look, 0, &evidence);
        } else {
            self.draw_curves(below, buffer, look, both, name);
        }
    }

    fn want(&self, world: &World, wants: &mut Wants) {
        if let Some(other) = self.other(world) {
            wants.other = Some(other.clone());
            wants.verdicts.extend(world.experiment.clone());
            wants.verdicts.push(other.clone());
        }
    }

    fn filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
    }

    fn copied(&self, world: &World) -> Option<String> {
        let both = both(world, self.other(world)?)?;
        let names = self.defences(both);
        let name = self.defence.key(&names)?;
        let said = self.evidence(world, both, name, Look::MONO);
        Some(said.into_iter().map(|paragraph| paragraph.text.into_owned()).collect::<Vec<_>>().join("\n"))
    }
}

/// One line about an experiment.
fn head(sign: &str, view: &ExperimentView, world: &World, look: Look) -> Paragraph<'static> {
    let line = &view.line;
    let counts = line.counts;
    let told = match world.verdicts.get(&line.name) {
        Some(Fetched::Ready(decided)) => format!("verdicts rest on {}", decided.sealed),
        Some(Fetched::Failed(why)) => format!("no verdicts: {why}"),
        _ => "verdicts are being decided".into(),
    };
    let mut text = format!("{sign}  {}: {} of {} done, {told}", line.name, counts.sealed, counts.stages);
    let others = [(counts.running, "running"), (counts.failed, "failed"), (counts.waiting, "waiting")];
    for (count, word) in others.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {word}"));
    }
    Paragraph::styled(text, look.heading())
}

impl Compare {
    fn draw_choice(&self, area: Rect, buffer: &mut Buffer, look: Look, world: &World) {
        let names = self.names(world);
        let with = world.experiment.as_deref().unwrap_or_default();
        let area = pane::titled(area, buffer, look, &format!("Compare {with} with"), "Enter chooses");
        if names.is_empty() {
            let none = Paragraph::styled("there is no other experiment", look.faint());
            pane::paragraphs(area, buffer, look, 0, &[none]);
        }
        rows::list(area, buffer, look, names.len(), self.name.at(&names), |at, width| {
            let name = beginning(&names[at], width.min(32));
            let about = world.line(&names[at]).map_or_else(String::new, |line| match &line.problem {
                Some(problem) => problem.clone(),
                None => format!("{} of {} done  {}", line.counts.sealed, line.counts.stages, line.summary),
            });
            let gap = " ".repeat(34_usize.saturating_sub(name.width()));
            let rest = beginning(&about, width.saturating_sub(34));
            Line::from(vec![Span::raw(name), Span::raw(gap), Span::styled(rest, look.faint())])
        });
    }

    fn draw_table(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        look: Look,
        world: &World,
        both: [&ExperimentView; 2],
        names: &[String],
    ) {
        let verdicts = both.map(|view| verdicts(world, &view.line.name));
        let attacks = self.attacks(world, both);
        let columns: Vec<_> = match self.by_attack {
            true => Column::of_attacks(&attacks),
            false => {
                let titers = ["titer A", "titer B"].map(|name| Column::alone(name, name));
                titers.into_iter().chain(matrix::condition_columns()).collect()
            }
        };
        if columns.is_empty() || (self.by_attack && verdicts.iter().any(Option::is_none)) {
            let none =
                Paragraph::styled("there are no attacks to compare until verdicts are decided", look.faint());
            pane::paragraphs(area, buffer, look, 0, &[none]);
            return;
        }
        let row = |name: &String| {
            let both = verdicts.map(|verdicts| defence(verdicts, name));
            match self.by_attack {
                true => attacks.iter().map(|attack| changed(both, attack, look)).collect(),
                false => cells(both, look),
            }
        };
        let cells: Vec<Vec<HeatCell>> = names.iter().map(row).collect();
        let selected = (self.defence.at(names).unwrap_or(0), self.column(world));
        Heat { corner: "defence", rows: names, columns: &columns, cells: &cells, selected, look }
            .draw(area, buffer);
    }

    fn draw_curves(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        look: Look,
        both: [&ExperimentView; 2],
        name: &str,
    ) {
        let Some(probe) = chosen_probe(self.probe, both[0]).or_else(|| chosen_probe(self.probe, both[1]))
        else {
            pane::titled(area, buffer, look, "", "no stage of either was probed yet");
            return;
        };
        let groups = attacks(both, name, probe);
        let group = groups.get(self.attack % groups.len().max(1));
        let title = format!("{} over {}", measure(probe), self.axis.name());
        let beside = group.map_or_else(String::new, |group| {
            format!("{} ({} of {})", group.name(), self.attack % groups.len() + 1, groups.len())
        });
        let area = pane::titled(area, buffer, look, &title, &beside);
        let series: Vec<_> = both
            .iter()
            .zip(["A", "B"])
            .enumerate()
            .filter_map(|(number, (view, sign))| {
                let gathered = curves::gather(view, group?, probe, self.axis.spent);
                let name = format!("{sign} {}", view.line.name);
                (gathered.runs > 0).then(|| Series::line(&name, number, gathered.points))
            })
            .collect();
        Chart {
            caption: "",
            spread: self.axis.spread,
            range: range(&series),
            series: &series,
            threshold: threshold(both[0], probe, look),
            empty: "neither measured this",
            look,
        }
        .render(area, buffer);
    }

    /// What decided the selected cell in either.
    fn evidence(
        &self,
        world: &World,
        both: [&ExperimentView; 2],
        name: &str,
        look: Look,
    ) -> Vec<Paragraph<'static>> {
        let mut said = Vec::new();
        for (sign, view) in ["A", "B"].iter().zip(both) {
            said.push(Paragraph::styled(format!("{sign}  {}", view.line.name), look.heading()));
            let found = defence(verdicts(world, &view.line.name), name);
            let attacks = self.attacks(world, both);
            let text = match (found, self.column(world)) {
                (None, _) => "not decided".to_owned(),
                (Some(found), column) if self.by_attack => {
                    match (attacks.get(column), verdicts(world, &view.line.name)) {
                        (Some(attack), Some(verdicts)) => of_attack(verdicts, found, attack),
                        _ => "not measured".to_owned(),
                    }
                }
                (Some(found), 0 | 1) => format!(
                    "titer {}; utility-bounded {}",
                    wording::titer(&found.titer),
                    wording::titer(&found.titer_utility_bounded)
                ),
                (Some(found), column) => match CONDITIONS.get(column - 2) {
                    Some(condition) => found.conditions.get(condition).map_or_else(
                        || format!("{}: not measured", wording::condition(*condition)),
                        |verdict| {
                            let decision = wording::decision(verdict.verdict);
                            format!("{} {decision}: {}", wording::condition(*condition), verdict.evidence)
                        },
                    ),
                    None => String::new(),
                },
            };
            said.push(Paragraph::plain(text));
        }
        said
    }
}

/// What is said of an attack on a defence in one experiment.
fn of_attack(verdicts: &Verdicts, defence: &DefenceVerdict, attack: &AttackPoint) -> String {
    let said = matrix::attack_detail(verdicts, defence, attack);
    said.into_iter().map(|paragraph| paragraph.text).collect::<Vec<_>>().join("; ")
}

/// What became of an attack's titer; what changed beyond its interval stands out.
fn changed(both: [Option<&DefenceVerdict>; 2], attack: &AttackPoint, look: Look) -> HeatCell {
    let style = match changes::kind(both, attack) {
        Some(Kind::Changed) => look.notice(),
        Some(Kind::Within) => Style::new(),
        Some(Kind::Same | Kind::One) | None => look.faint(),
    };
    HeatCell::styled(&changes::cell(both, attack), style, look)
}

/// A defence's row: its titers, and where its verdicts differ how.
fn cells(both: [Option<&DefenceVerdict>; 2], look: Look) -> Vec<HeatCell> {
    let titer = |defence: Option<&DefenceVerdict>| {
        let cell = defence.map_or_else(Cell::dash, |defence| Cell::titer(&defence.titer));
        HeatCell::of(&cell, look)
    };
    let condition = |condition| {
        let verdicts = both.map(|defence| defence?.conditions.get(condition).map(|verdict| verdict.verdict));
        let [one, other] = verdicts.map(Cell::symbol);
        let (cell, style) = match verdicts {
            [Some(first), Some(second)] if first == second => {
                (one.each(|word| format!("= {word}")), look.faint())
            }
            _ => {
                let [long, short] =
                    [false, true].map(|narrow| format!("{} → {}", one.shown(narrow), other.shown(narrow)));
                let measured = verdicts.iter().all(Option::is_some);
                (Cell::shortened(long, short), if measured { look.notice() } else { look.faint() })
            }
        };
        HeatCell::styled(&cell, style, look)
    };
    both.map(titer).into_iter().chain(CONDITIONS.iter().map(condition)).collect()
}

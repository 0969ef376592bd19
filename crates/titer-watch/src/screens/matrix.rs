//! Which defence holds: verdicts by condition with titers, and numbers by attack.

use ratatui::Frame;
use ratatui::layout::Rect;
use titer_conditions::{DefenceVerdict, Verdicts};
use titer_plan::{Probe, ThreatModel};
use titer_view::caveats::{Caveat, grouped};
use titer_view::looks;
use titer_view::matrix::{self, Quantity};
use titer_view::wording;

use crate::effect::{Effect, Wants};
use crate::filter::Filter;
use crate::keys::Action;
use crate::look::Look;
use crate::picked::Picked;
use crate::screen::{Liking, Screen};
use crate::widgets::heat::{Heat, HeatCell, heads};
use crate::widgets::pane::{self, Paragraph};
use crate::world::{Fetched, World};
use titer_lab::live::Decided;

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    quantity: Quantity,
    /// What the numbers are about; the first that the quantity has where it has not this one.
    probe: Option<Probe>,
    defence: Picked<String>,
    column: usize,
    expanded: bool,
    filter: Filter,
}

/// What is drawn of the verdicts.
struct Shown<'a> {
    verdicts: &'a Verdicts,
    defences: Vec<&'a DefenceVerdict>,
    names: Vec<String>,
    probe: Option<Probe>,
    columns: usize,
}

impl Matrix {
    fn shown<'a>(&self, world: &'a World) -> Option<Shown<'a>> {
        let Fetched::Ready(decided) = world.verdicts.get(world.experiment.as_ref()?)? else { return None };
        let verdicts: &Verdicts = &decided.verdicts;
        let defences: Vec<_> =
            verdicts.defences.iter().filter(|defence| self.filter.admits(&defence.defence)).collect();
        let names = defences.iter().map(|defence| defence.defence.clone()).collect();
        let probe = self.probe.filter(|_| matrix::probes(verdicts, self.quantity).contains(&self.probe));
        let columns = matrix::columns(verdicts, self.quantity).len();
        Some(Shown { verdicts, defences, names, probe, columns })
    }

    fn column(&self, shown: &Shown) -> usize {
        self.column.min(shown.columns.saturating_sub(1))
    }

    fn detail(&self, shown: &Shown, look: Look) -> Vec<Paragraph<'static>> {
        let selected = self.defence.at(&shown.names).and_then(|at| shown.defences.get(at));
        selected.map_or_else(Vec::new, |defence| {
            let column = self.column(shown);
            pane::said(matrix::detail(shown.verdicts, defence, self.quantity, shown.probe, column), look)
        })
    }
}

impl Screen for Matrix {
    fn act(&mut self, action: Action, world: &World) -> Vec<Effect> {
        let Some(shown) = self.shown(world) else { return Vec::new() };
        match action {
            Action::Left => self.column = self.column(&shown).saturating_sub(1),
            Action::Right => self.column = (self.column(&shown) + 1).min(shown.columns.saturating_sub(1)),
            Action::Turn => {
                let all = Quantity::all(shown.verdicts.threat_model);
                let at = all.iter().position(|quantity| *quantity == self.quantity).unwrap_or(0);
                (self.quantity, self.column) = (all[(at + 1) % all.len()], 0);
            }
            Action::Probe => {
                let probes = matrix::probes(shown.verdicts, self.quantity);
                let at = probes.iter().position(|probe| *probe == shown.probe).unwrap_or(0);
                self.probe = probes.get((at + 1) % probes.len().max(1)).copied().flatten();
            }
            Action::Expand => self.expanded = !self.expanded,
            Action::Back => self.expanded = false,
            other => {
                self.defence.act(other, &shown.names);
            }
        }
        Vec::new()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let (look, buffer) = (*look, frame.buffer_mut());
        let Some(shown) = self.shown(world) else {
            pane::paragraphs(area, buffer, look, 0, &[awaited(world, look)]);
            return;
        };
        let title = self.quantity.title(shown.verdicts, shown.probe);
        let rest = pane::titled(area, buffer, look, &title, &settings(shown.verdicts));
        let (row, rest) = pane::above(rest, 1);
        pane::paragraphs(row, buffer, look, 0, &[basis(world, look)]);
        if shown.defences.is_empty() {
            let none = Paragraph::styled("no defence has these words in its name", look.faint());
            pane::paragraphs(rest, buffer, look, 0, &[none]);
            return;
        }
        let mut detail = self.detail(&shown, look);
        if self.expanded || area.height >= TALL {
            detail.extend(caveats(shown.verdicts, look));
        }
        if self.expanded {
            pane::paragraphs(rest, buffer, look, 0, &detail);
            return;
        }
        let columns = matrix::columns(shown.verdicts, self.quantity);
        let row = |defence: &&DefenceVerdict| -> Vec<_> {
            let cells = matrix::cells(shown.verdicts, defence, self.quantity, shown.probe);
            cells.iter().map(|cell| HeatCell::of(cell, look)).collect()
        };
        let cells: Vec<_> = shown.defences.iter().map(row).collect();
        let wanted = heads(&columns) + shown.defences.len() as u16 + 1;
        let (grid, below) = pane::above(rest, wanted.min(rest.height.saturating_sub(6)).max(4));
        let row = self.defence.at(&shown.names).unwrap_or(0);
        Heat {
            corner: "defence",
            rows: &shown.names,
            columns: &columns,
            cells: &cells,
            selected: (row, self.column(&shown)),
            look,
        }
        .draw(grid, buffer);
        let (_, below) = pane::above(below, u16::from(below.height > 6));
        pane::paragraphs(below, buffer, look, 0, &detail);
    }

    fn want(&self, world: &World, wants: &mut Wants) {
        wants.verdicts.extend(world.experiment.clone());
    }

    fn filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
    }

    fn copied(&self, world: &World) -> Option<String> {
        let shown = self.shown(world)?;
        let texts: Vec<_> =
            self.detail(&shown, Look::MONO).into_iter().map(|paragraph| paragraph.text).collect();
        Some(texts.join("\n")).filter(|text| !text.is_empty())
    }

    fn restore(&mut self, liking: &Liking) {
        let kept = liking.get(QUANTITY).map(String::as_str);
        let all = Quantity::all(ThreatModel::OpenWeights);
        self.quantity = all.into_iter().find(|quantity| Some(quantity.name()) == kept).unwrap_or_default();
    }

    fn remember(&self, liking: &mut Liking) {
        liking.insert(QUANTITY.into(), self.quantity.name().into());
    }
}

/// From as many rows on the caveats stand below what is said of a cell.
const TALL: u16 = 30;

const QUANTITY: &str = "matrix.quantity";

/// Why there are no verdicts to show.
fn awaited(world: &World, look: Look) -> Paragraph<'static> {
    let told = world.experiment.as_ref().and_then(|name| world.verdicts.get(name));
    match told {
        Some(Fetched::Failed(why)) => Paragraph::styled(format!("there are no verdicts: {why}"), look.bad()),
        _ => Paragraph::styled(
            "The verdicts are being decided: every response of every sealed stage is read and resampled, which \
             takes a few seconds, more for a large experiment.",
            look.faint(),
        ),
    }
}

/// Who attacks, and the thresholds.
fn settings(verdicts: &Verdicts) -> String {
    format!(
        "{}, {}, {} % confidence",
        verdicts.threat_model,
        wording::tolerated(verdicts.phi),
        wording::percent(verdicts.confidence)
    )
}

/// How seeds were added, and what to know before quoting a number.
fn caveats(verdicts: &Verdicts, look: Look) -> Vec<Paragraph<'static>> {
    let mut said = Vec::new();
    for failed in &verdicts.failed_controls {
        said.extend([Paragraph::plain(""), Paragraph::styled(wording::failed_control(failed), look.bad())]);
    }
    let sentences = looks::sentences(verdicts);
    if !sentences.is_empty() {
        said.push(Paragraph::plain(""));
    }
    for (name, what) in sentences {
        said.push(Paragraph::plain(format!("{name}: {what}")));
    }
    if !verdicts.caveats.is_empty() {
        said.push(Paragraph::plain(""));
        said.push(Paragraph::styled("caveats", look.heading()));
        let sentence = |caveat: Caveat| Paragraph::plain(format!("- {}", caveat.sentence(verdicts)));
        said.extend(grouped(verdicts).into_iter().map(sentence));
    }
    said
}

/// On how much the verdicts rest, and whether there is more by now.
fn basis(world: &World, look: Look) -> Paragraph<'static> {
    let decided = world.experiment.as_ref().and_then(|name| world.verdicts.get(name));
    let Some(Fetched::Ready(decided)) = decided else { return Paragraph::plain("") };
    let decided: &Decided = decided;
    let rests = format!("rests on {}", wording::count(decided.sealed, "sealed stage"));
    match world.chosen.as_ref().map(|view| view.line.counts) {
        Some(counts) if counts.sealed > decided.sealed => Paragraph::styled(
            format!(
                "{rests} of {}; {} more are sealed by now, the verdicts follow",
                counts.stages,
                counts.sealed - decided.sealed
            ),
            look.notice(),
        ),
        Some(counts) if decided.sealed < counts.stages => Paragraph::styled(
            format!("{rests} of {}: more may change the verdicts", counts.stages),
            look.faint(),
        ),
        Some(_) => Paragraph::styled(format!("{rests}: all there are"), look.faint()),
        None => Paragraph::styled(rests, look.faint()),
    }
}

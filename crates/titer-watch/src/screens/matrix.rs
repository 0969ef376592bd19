//! Which defence holds: verdicts by condition with titers, and numbers by attack.

use ratatui::Frame;
use ratatui::layout::Rect;
use titer_conditions::{DefenceVerdict, Verdicts};
use titer_plan::Probe;
use titer_view::caveats::{Caveat, grouped};
use titer_view::wording;

use crate::filter::Filter;
use crate::grids::{self, Face};
use crate::keys::Action;
use crate::look::Look;
use crate::picked::Picked;
use crate::screen::{Effect, Liking, Screen, Wants};
use crate::widgets::heat::Heat;
use crate::widgets::pane::{self, Paragraph};
use crate::world::{Told, World};
use titer_lab::live::Decided;

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    face: Face,
    /// What the numbers are about; the face's first where it has not this one.
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
        let Told::Here(decided) = world.verdicts.get(world.experiment.as_ref()?)? else { return None };
        let verdicts: &Verdicts = &decided.verdicts;
        let defences: Vec<_> =
            verdicts.defences.iter().filter(|defence| self.filter.admits(&defence.defence)).collect();
        let names = defences.iter().map(|defence| defence.defence.clone()).collect();
        let probes = grids::probes(verdicts, self.face);
        let probe = if probes.contains(&self.probe) {
            self.probe
        } else {
            let unseen = Some(Probe::Unseen);
            if probes.contains(&unseen) && !probes.contains(&None) {
                unseen
            } else {
                probes.first().copied().flatten()
            }
        };
        let columns = grids::columns(verdicts, self.face).len();
        Some(Shown { verdicts, defences, names, probe, columns })
    }

    fn column(&self, shown: &Shown) -> usize {
        self.column.min(shown.columns.saturating_sub(1))
    }

    fn detail(&self, shown: &Shown, look: Look) -> Vec<Paragraph<'static>> {
        let selected = self.defence.at(&shown.names).and_then(|at| shown.defences.get(at));
        selected.map_or_else(Vec::new, |defence| {
            grids::detail(shown.verdicts, defence, self.face, shown.probe, self.column(shown), look)
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
                self.face = self.face.next(shown.verdicts.threat_model);
                self.column = 0;
            }
            Action::Probe => {
                let probes = grids::probes(shown.verdicts, self.face);
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
        let title = self.face.title(shown.verdicts, shown.probe);
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
        let columns = grids::columns(shown.verdicts, self.face);
        let cells: Vec<_> = shown
            .defences
            .iter()
            .map(|defence| grids::cells(shown.verdicts, defence, self.face, shown.probe, look))
            .collect();
        let heads = 1 + u16::from(columns.iter().any(|column| !column.group.is_empty()));
        let wanted = heads + shown.defences.len() as u16 + 1;
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
        self.face = match liking.get(FACE).map(String::as_str) {
            Some("ratios") => Face::Ratios,
            Some("harm") => Face::Harm,
            _ => Face::Verdicts,
        };
    }

    fn remember(&self, liking: &mut Liking) {
        let face = match self.face {
            Face::Verdicts => "verdicts",
            Face::Ratios => "ratios",
            Face::Harm => "harm",
        };
        liking.insert(FACE.into(), face.into());
    }
}

/// From as many rows on the caveats stand below what is said of a cell.
const TALL: u16 = 30;

const FACE: &str = "matrix.face";

/// Why there are no verdicts to show.
fn awaited(world: &World, look: Look) -> Paragraph<'static> {
    let told = world.experiment.as_ref().and_then(|name| world.verdicts.get(name));
    match told {
        Some(Told::Not(why)) => Paragraph::styled(format!("there are no verdicts: {why}"), look.bad()),
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
        "{}, φ = {}, {} % confidence",
        verdicts.threat_model,
        wording::number(verdicts.phi),
        wording::percent(verdicts.confidence)
    )
}

/// What to know before quoting a number.
fn caveats(verdicts: &Verdicts, look: Look) -> Vec<Paragraph<'static>> {
    let mut said = Vec::new();
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
    let Some(Told::Here(decided)) = decided else { return Paragraph::plain("") };
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

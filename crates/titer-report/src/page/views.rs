//! What the template is filled with, beside plain values: tables, figures, defences.

use minijinja::Value;
use serde::Serialize;
use titer_conditions::{DefenceVerdict, Verdicts};
use titer_plan::Decision;
use titer_view::figure::Figure;
use titer_view::heat::{HeatMap, Way};
use titer_view::table::{Cell, Mark, Table};
use titer_view::verdict_tables::{self, CONDITIONS};
use titer_view::wording;

use super::super::picture;

/// A table.
#[derive(Serialize)]
pub(super) struct TableView {
    /// Whether a script may sort it and filter its lines, each of which is a defence's.
    sortable: bool,
    /// Whether it is one of those that the page counts.
    numbered: bool,
    caption: String,
    /// Headings above those of several columns each.
    groups: Vec<GroupHead>,
    head: Vec<HeadView>,
    rows: Vec<RowView>,
}

#[derive(Serialize)]
struct HeadView {
    text: String,
    /// What stands below it; empty where nothing does.
    note: String,
}

#[derive(Serialize)]
struct GroupHead {
    name: String,
    columns: usize,
}

#[derive(Serialize)]
struct RowView {
    name: String,
    cells: Vec<CellView>,
}

#[derive(Serialize)]
pub(super) struct CellView {
    text: String,
    /// What stands below it; empty where nothing does.
    note: String,
    /// The verdict's word or the tint, for its colour, and its mark.
    class: String,
    /// What it is sorted by, if not by its text.
    sort: Option<f64>,
}

impl TableView {
    pub(super) fn of(table: &Table) -> Self {
        let cell = |cell: &Cell| {
            let plain = cell.note.as_ref().map(|_| heat_class(0));
            let colour = cell.decision.map(decision_class).or(cell.heat.map(heat_class)).or(plain);
            let classes: Vec<&str> = colour.into_iter().chain(cell.mark.map(mark_class)).collect();
            CellView {
                class: classes.join(" "),
                sort: cell.sort,
                text: cell.text.clone(),
                note: cell.note.clone().unwrap_or_default(),
            }
        };
        let head =
            |cell: &Cell| HeadView { text: cell.text.clone(), note: cell.note.clone().unwrap_or_default() };
        let row = |cells: &Vec<Cell>| RowView {
            name: cells.first().map(|cell| cell.text.clone()).unwrap_or_default(),
            cells: cells.iter().skip(1).map(cell).collect(),
        };
        Self {
            sortable: false,
            numbered: true,
            caption: table.caption.clone(),
            groups: Vec::new(),
            head: table.head.iter().map(head).collect(),
            rows: table.rows.iter().map(row).collect(),
        }
    }

    /// A heat map.
    pub(super) fn of_map(map: &HeatMap) -> Self {
        let group = |way: &Way| GroupHead { name: way.name.clone(), columns: way.columns };
        Self { groups: map.ways.iter().map(group).collect(), ..Self::of_defences(&map.table) }
    }

    /// A table with a line for each defence.
    pub(super) fn of_defences(table: &Table) -> Self {
        Self { sortable: true, ..Self::of(table) }
    }
}

impl CellView {
    fn decision(decision: Decision) -> Self {
        let class = decision_class(decision).to_owned();
        Self { text: wording::decision(decision), note: String::new(), class, sort: None }
    }
}

fn decision_class(decision: Decision) -> &'static str {
    match decision {
        Decision::Holds => "holds",
        Decision::Fails => "fails",
        Decision::Inconclusive | Decision::NotFalsified | Decision::NotMeasured => "open",
    }
}

fn heat_class(heat: i8) -> &'static str {
    match heat {
        3.. => "heat good3",
        2 => "heat good2",
        1 => "heat good1",
        0 => "heat",
        -1 => "heat bad1",
        -2 => "heat bad2",
        ..=-3 => "heat bad3",
    }
}

fn mark_class(mark: Mark) -> &'static str {
    match mark {
        Mark::NotBracketed => "edge",
        Mark::Open => "shut",
        Mark::NotMeasured => "unmeasured",
    }
}

/// A figure of curves, group by group.
#[derive(Serialize)]
pub(super) struct FigureView<'a> {
    id: &'a str,
    title: &'a str,
    caption: &'a str,
    groups: Vec<GroupView<'a>>,
}

#[derive(Serialize)]
struct GroupView<'a> {
    title: &'a str,
    legend: Vec<LegendView<'a>>,
    panels: Vec<Value>,
}

#[derive(Serialize)]
struct LegendView<'a> {
    key: Value,
    name: &'a str,
}

impl<'a> FigureView<'a> {
    pub(super) fn of(figure: &'a Figure) -> Self {
        let groups = figure.groups.iter().enumerate().map(|(at, group)| GroupView {
            title: &group.title,
            legend: group
                .members
                .iter()
                .filter_map(|member| {
                    let name = figure.series.get(member.series)?;
                    Some(LegendView { key: Value::from_safe_string(picture::legend_key(member.style)), name })
                })
                .collect(),
            panels: (0..figure.panels.len())
                .filter_map(|panel| picture::panel(figure, at, panel))
                .map(Value::from_safe_string)
                .collect(),
        });
        Self { id: &figure.id, title: &figure.title, caption: &figure.caption, groups: groups.collect() }
    }
}

/// What decided the verdicts of one defence.
#[derive(Serialize)]
pub(super) struct DefenceView<'a> {
    name: &'a str,
    stage: String,
    conditions: Vec<ConditionView<'a>>,
    breaks: Vec<TableView>,
}

#[derive(Serialize)]
struct ConditionView<'a> {
    name: &'static str,
    symbol: &'static str,
    verdict: CellView,
    evidence: &'a str,
    measure: &'a str,
    estimate: String,
    threshold: f64,
    parts: Vec<PartView<'a>>,
}

#[derive(Serialize)]
struct PartView<'a> {
    name: &'a str,
    verdict: CellView,
    evidence: &'a str,
}

impl<'a> DefenceView<'a> {
    pub(super) fn of(verdicts: &Verdicts, defence: &'a DefenceVerdict) -> Self {
        let conditions = CONDITIONS.iter().filter_map(|condition| {
            let verdict = defence.conditions.get(condition)?;
            Some(ConditionView {
                name: wording::condition(*condition),
                symbol: wording::symbol(verdict.verdict),
                verdict: CellView::decision(verdict.verdict),
                evidence: &verdict.evidence,
                measure: &verdict.measure,
                estimate: wording::estimate(verdict.estimate, verdict.interval.as_ref()),
                threshold: verdict.threshold,
                parts: verdict_tables::parts(verdict)
                    .map(|part| PartView {
                        name: &part.name,
                        verdict: CellView::decision(part.verdict),
                        evidence: wording::part_evidence(part),
                    })
                    .collect(),
            })
        });
        let stages: Vec<_> = defence.stages.iter().map(|stage| stage.name()).collect();
        let breaks = verdict_tables::breaks(verdicts, defence);
        Self {
            name: &defence.defence,
            stage: match stages.as_slice() {
                _ if defence.baseline() => "the undefended model".into(),
                [] => format!("{} stage", defence.stage.name()),
                [stage] => format!("{stage} stage"),
                several => format!("{} stages", several.join(" and ")),
            },
            conditions: conditions.collect(),
            breaks: breaks
                .iter()
                .map(|table| TableView { numbered: false, ..TableView::of(table) })
                .collect(),
        }
    }
}

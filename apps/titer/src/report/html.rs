//! The report as one HTML page that needs nothing else: no network, no script.

use minijinja::{AutoEscape, Environment, Error, Output, State, Value};
use serde::Serialize;
use titer_plan::Condition;

use super::model::{Artifact, Fact, Figure, ReportModel};
use super::svg;
use crate::sanitise;
use crate::table::Table;
use crate::verdict_tables::{self, CONDITIONS};
use crate::wording;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// The whole page.
///
/// # Errors
/// Only if the built-in template is wrong, which the tests rule out.
pub(crate) fn render(report: &ReportModel) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_formatter(write_sanitised);
    environment.render_named_str("page.html", PAGE, Page::of(report))
}

/// Writes a value as the default formatter does, once its text is safe to show.
fn write_sanitised(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() && state.auto_escape() == AutoEscape::Html => {
            minijinja::escape_formatter(out, state, &Value::from(sanitise::text(text).into_owned()))
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// What the template is filled with.
#[derive(Serialize)]
struct Page<'a> {
    style: Value,
    title: &'a str,
    summary: &'a str,
    model: &'a str,
    threat_model: &'static str,
    phi: String,
    confidence: String,
    verdicts: TableView,
    titers: TableView,
    claims: Vec<Fact>,
    caveats: &'a [String],
    missing: &'a [String],
    figures: Vec<FigureView<'a>>,
    defences: Vec<DefenceView<'a>>,
    spec: &'a str,
    environment: &'a [Fact],
    artifacts: &'a [Artifact],
    timings: TableView,
    seconds: String,
    hosts: String,
}

#[derive(Serialize)]
struct TableView {
    caption: String,
    head: Vec<String>,
    rows: Vec<RowView>,
}

#[derive(Serialize)]
struct RowView {
    name: String,
    cells: Vec<CellView>,
}

#[derive(Serialize)]
struct CellView {
    text: String,
    /// The verdict's word, for its colour.
    class: &'static str,
}

#[derive(Serialize)]
struct FigureView<'a> {
    id: &'a str,
    title: &'a str,
    caption: &'a str,
    legend: Vec<LegendView<'a>>,
    panels: Vec<Value>,
}

#[derive(Serialize)]
struct LegendView<'a> {
    key: Value,
    name: &'a str,
}

#[derive(Serialize)]
struct DefenceView<'a> {
    name: &'a str,
    stage: &'static str,
    conditions: Vec<ConditionView<'a>>,
    break_budgets: TableView,
    ratios: TableView,
}

#[derive(Serialize)]
struct ConditionView<'a> {
    name: &'static str,
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

impl<'a> Page<'a> {
    fn of(report: &'a ReportModel) -> Self {
        let verdicts = &report.verdicts;
        Self {
            style: Value::from_safe_string(format!("{STYLE}{}", svg::STYLE)),
            title: &verdicts.experiment,
            summary: &report.summary,
            model: &verdicts.model,
            threat_model: verdicts.threat_model.name(),
            phi: verdicts.phi.to_string(),
            confidence: wording::percent(verdicts.confidence).to_string(),
            verdicts: TableView::of(verdict_tables::verdicts(verdicts)),
            titers: TableView::of(verdict_tables::titers(verdicts)),
            claims: CONDITIONS.map(claim).into(),
            caveats: &verdicts.caveats,
            missing: &report.missing,
            figures: report.figures.iter().map(FigureView::of).collect(),
            defences: verdicts.defences.iter().map(DefenceView::of).collect(),
            spec: &report.spec,
            environment: &report.environment,
            artifacts: &report.artifacts,
            timings: timings(report),
            seconds: wording::duration(report.timings.seconds),
            hosts: report.timings.hosts.join(", "),
        }
    }
}

fn claim(condition: Condition) -> Fact {
    Fact { name: wording::condition(condition).into(), value: wording::claim(condition).into() }
}

fn timings(report: &ReportModel) -> TableView {
    let plain = |text: String| CellView { text, class: "" };
    let row = |kind: &super::model::KindTiming| RowView {
        name: kind.kind.clone(),
        cells: vec![
            plain(kind.stages.to_string()),
            plain(wording::duration(kind.seconds)),
            plain(wording::duration(kind.longest)),
        ],
    };
    TableView {
        caption: "Time spent, kind by kind".into(),
        head: ["kind", "stages", "together", "longest"].map(str::to_owned).into(),
        rows: report.timings.kinds.iter().map(row).collect(),
    }
}

impl TableView {
    fn of(table: Table) -> Self {
        let row = |cells: Vec<crate::table::Cell>| {
            let mut cells = cells.into_iter();
            RowView {
                name: cells.next().map(|cell| cell.text).unwrap_or_default(),
                cells: cells
                    .map(|cell| CellView { class: cell.decision.map_or("", decision_class), text: cell.text })
                    .collect(),
            }
        };
        Self {
            caption: table.caption,
            head: table.head.into_iter().map(|cell| cell.text).collect(),
            rows: table.rows.into_iter().map(row).collect(),
        }
    }
}

impl CellView {
    fn decision(decision: titer_plan::Decision) -> Self {
        Self { text: wording::decision(decision), class: decision_class(decision) }
    }
}

fn decision_class(decision: titer_plan::Decision) -> &'static str {
    use titer_plan::Decision::{Fails, Holds, Inconclusive, NotFalsified};
    match decision {
        Holds => "holds",
        Fails => "fails",
        Inconclusive | NotFalsified => "open",
    }
}

impl<'a> FigureView<'a> {
    fn of(figure: &'a Figure) -> Self {
        let legend = figure
            .series
            .iter()
            .enumerate()
            .map(|(index, name)| LegendView { key: Value::from_safe_string(svg::legend_key(index)), name });
        Self {
            id: &figure.id,
            title: &figure.title,
            caption: &figure.caption,
            legend: legend.collect(),
            panels: (0..figure.panels.len())
                .map(|index| Value::from_safe_string(svg::panel(figure, index)))
                .collect(),
        }
    }
}

impl<'a> DefenceView<'a> {
    fn of(defence: &'a titer_conditions::DefenceVerdict) -> Self {
        let conditions = CONDITIONS.iter().filter_map(|condition| {
            let verdict = defence.conditions.get(condition)?;
            Some(ConditionView {
                name: wording::condition(*condition),
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
        Self {
            name: &defence.defence,
            stage: defence.stage.name(),
            conditions: conditions.collect(),
            break_budgets: TableView::of(verdict_tables::break_budgets(defence)),
            ratios: TableView::of(verdict_tables::ratios(defence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::specimen;
    use super::*;

    fn page() -> String {
        render(&specimen::report()).expect("the template is right")
    }

    #[test]
    fn nothing_is_fetched() {
        let page = page();
        for reference in ["src=", "href=\"http", "url(", "@import", "<script", "<link", "<iframe"] {
            assert!(!page.contains(reference), "{reference} in the page");
        }
    }

    #[test]
    fn strings_cannot_break_out() {
        let page = page();
        assert!(page.contains("hostile &lt;script&gt;alert(1)&lt;&#x2f;script&gt; [31m summary | pipe"));
        assert!(page.contains("&lt;&#x2f;code&gt;"));
        assert!(page.contains("base &lt;model&gt;"));
        assert!(!page.contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn every_picture_has_words() {
        let page = page();
        let pictures = page.matches("<svg").count();
        let worded = page.matches("role=\"img\"").count() + page.matches("aria-hidden=\"true\"").count();
        assert!(pictures > 2);
        assert_eq!(pictures, worded);
        assert_eq!(page.matches("role=\"img\"").count(), page.matches("<title id=").count());
    }

    #[test]
    fn tables_have_captions_and_headers() {
        let page = page();
        assert_eq!(page.matches("<table").count(), page.matches("<caption").count());
        assert!(page.matches("scope=\"row\"").count() >= 3 && page.matches("scope=\"col\"").count() >= 6);
    }

    #[test]
    fn ids_are_unique() {
        let page = page();
        let ids: Vec<_> =
            page.split(" id=\"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(id, _)| id).collect();
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len(), "{ids:?}");
    }

    #[test]
    fn timings_are_the_only_difference_between_two_runs() {
        let first = specimen::report();
        let mut second = first.clone();
        second.timings.seconds = 99.0;
        second.timings.kinds[0].seconds = 99.0;
        let before_timings = |report: &ReportModel| {
            let page = render(report).expect("the template is right");
            page.split_once("id=\"timings\"").expect("a section of timings").0.to_owned()
        };
        assert_eq!(before_timings(&first), before_timings(&second));
    }
}

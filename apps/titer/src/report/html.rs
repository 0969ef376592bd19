//! The report as one HTML page that needs nothing else: no network, and no script to be read. Where scripts
//! run, one sorts and filters the table of defences.

use minijinja::{AutoEscape, Environment, Error, Output, State, Value};
use serde::Serialize;
use titer_conditions::{DefenceVerdict, Verdicts};
use titer_plan::Condition;

use super::model::{Artifact, Fact, Figure, ReportModel};
use super::{pareto, svg};
use crate::comparison;
use crate::sanitise;
use crate::score_tables::survey;
use crate::table::Table;
use crate::verdict_tables::{self, CONDITIONS};
use crate::wording;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

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
    script: Value,
    title: &'a str,
    summary: &'a str,
    model: &'a str,
    threat_model: &'static str,
    phi: String,
    confidence: String,
    verdicts: TableView,
    titers: TableView,
    titer_note: &'static str,
    survey: Vec<TableView>,
    comparison: Option<TableView>,
    pareto: Option<ParetoView<'a>>,
    claims: Vec<Fact>,
    caveats: &'a [String],
    missing: &'a [String],
    figures: Vec<FigureView<'a>>,
    defences: Vec<DefenceView<'a>>,
    spec: &'a str,
    environment: &'a [Fact],
    artifacts: &'a [Artifact],
    timings: TableView,
    defence_timings: Option<TableView>,
    seconds: String,
    hosts: String,
}

#[derive(Serialize)]
struct ParetoView<'a> {
    title: &'a str,
    caption: &'a str,
    picture: Value,
}

#[derive(Serialize)]
struct TableView {
    /// Whether a script may sort and filter it.
    sortable: bool,
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
    /// What it is sorted by, if not by its text.
    sort: Option<f64>,
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
    stage: String,
    conditions: Vec<ConditionView<'a>>,
    breaks: Vec<TableView>,
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
            script: Value::from_safe_string(SCRIPT.to_owned()),
            title: &verdicts.experiment,
            summary: &report.summary,
            model: &verdicts.model,
            threat_model: verdicts.threat_model.name(),
            phi: verdicts.phi.to_string(),
            confidence: wording::percent(verdicts.confidence).to_string(),
            verdicts: TableView::of(verdict_tables::verdicts(verdicts)),
            titers: TableView::of(verdict_tables::titers(verdicts)),
            titer_note: wording::titer_note(verdicts.threat_model),
            survey: survey(verdicts).into_iter().map(TableView::of).collect(),
            comparison: (!report.comparison.is_empty())
                .then(|| TableView::of(comparison::table(&report.comparison, true)).sortable()),
            pareto: report.pareto.as_ref().map(|pareto| ParetoView {
                title: &pareto.title,
                caption: &pareto.caption,
                picture: Value::from_safe_string(pareto::svg(pareto, false)),
            }),
            claims: CONDITIONS.map(claim).into(),
            caveats: &verdicts.caveats,
            missing: &report.missing,
            figures: report.figures.iter().map(FigureView::of).collect(),
            defences: verdicts.defences.iter().map(|defence| DefenceView::of(verdicts, defence)).collect(),
            spec: &report.spec,
            environment: &report.environment,
            artifacts: &report.artifacts,
            timings: timings(report),
            defence_timings: defence_timings(report),
            seconds: wording::duration(report.timings.seconds),
            hosts: report.timings.hosts.join(", "),
        }
    }
}

fn claim(condition: Condition) -> Fact {
    Fact { name: wording::condition(condition).into(), value: wording::claim(condition).into() }
}

fn timings(report: &ReportModel) -> TableView {
    let row = |kind: &super::model::KindTiming| RowView {
        name: kind.kind.clone(),
        cells: vec![
            CellView::plain(kind.stages.to_string()),
            CellView::plain(wording::duration(kind.seconds)),
            CellView::plain(wording::duration(kind.longest)),
        ],
    };
    TableView {
        sortable: false,
        caption: "Time spent, kind by kind".into(),
        head: ["kind", "stages", "together", "longest"].map(str::to_owned).into(),
        rows: report.timings.kinds.iter().map(row).collect(),
    }
}

fn defence_timings(report: &ReportModel) -> Option<TableView> {
    let row = |defence: &super::model::DefenceTiming| RowView {
        name: defence.defence.clone(),
        cells: vec![CellView::plain(defence.seconds.map_or("?".into(), wording::duration))],
    };
    let defences = &report.timings.defences;
    (!defences.is_empty()).then(|| TableView {
        sortable: false,
        caption: "What each defence costs, once for a model or more for a user".into(),
        head: ["defence", "time"].map(str::to_owned).into(),
        rows: defences.iter().map(row).collect(),
    })
}

impl TableView {
    fn sortable(self) -> Self {
        Self { sortable: true, ..self }
    }

    fn of(table: Table) -> Self {
        let row = |cells: Vec<crate::table::Cell>| {
            let mut cells = cells.into_iter();
            RowView {
                name: cells.next().map(|cell| cell.text).unwrap_or_default(),
                cells: cells
                    .map(|cell| CellView {
                        class: cell.decision.map_or("", decision_class),
                        sort: cell.sort,
                        text: cell.text,
                    })
                    .collect(),
            }
        };
        Self {
            sortable: false,
            caption: table.caption,
            head: table.head.into_iter().map(|cell| cell.text).collect(),
            rows: table.rows.into_iter().map(row).collect(),
        }
    }
}

impl CellView {
    fn decision(decision: titer_plan::Decision) -> Self {
        Self { class: decision_class(decision), ..Self::plain(wording::decision(decision)) }
    }

    fn plain(text: String) -> Self {
        Self { text, class: "", sort: None }
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
    fn of(verdicts: &Verdicts, defence: &'a DefenceVerdict) -> Self {
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
            stage: match defence.stages.as_slice() {
                [] => defence.stage.name().to_owned(),
                stages => stages.iter().map(|stage| stage.name()).collect::<Vec<_>>().join(" and "),
            },
            conditions: conditions.collect(),
            breaks: verdict_tables::breaks(verdicts, defence).into_iter().map(TableView::of).collect(),
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
        for reference in ["src=", "href=\"http", "url(", "@import", "<script ", "<link", "<iframe", "fetch("]
        {
            assert!(!page.contains(reference), "{reference} in the page");
        }
    }

    #[test]
    fn one_script_sorts_what_can_be_read_without_it() {
        let page = page();
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(page.trim_end().ends_with("</script>\n</body>\n</html>"));
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("</"));
        assert_eq!(page.matches("<table class=\"sortable\">").count(), 1);
        let (_, table) = page.split_once("<table class=\"sortable\">").expect("a table");
        let (table, _) = table.split_once("</table>").expect("its end");
        for said in [
            "adversarial-loss",
            "0.01 → 0.63",
            "data-sort=\"0.63\"",
            "4.6 TFLOP",
            "<td class=\"open\">?</td>",
        ] {
            assert!(table.contains(said), "{said} in {table}");
        }
    }

    #[test]
    fn the_picture_of_safety_against_use_is_there() {
        let page = page();
        assert!(
            page.contains("id=\"pareto-title\"") && page.contains("tar (alignment): 1 − harmful score 0.96")
        );
        let mut report = specimen::report();
        report.pareto = None;
        assert!(!render(&report).expect("the template is right").contains("pareto-title"));
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
        second.timings.defences[0].seconds = None;
        let before_timings = |report: &ReportModel| {
            let page = render(report).expect("the template is right");
            page.split_once("id=\"timings\"").expect("a section of timings").0.to_owned()
        };
        assert_eq!(before_timings(&first), before_timings(&second));
    }
}

//! The report as one HTML page that needs nothing else: no network, and no script to be read. Where scripts
//! run, one sorts and filters the tables of defences and hides lines of the figures.

mod views;

use minijinja::{AutoEscape, Environment, Error, Output, State, Value};
use serde::Serialize;
use titer_view::comparison;
use titer_view::grade;
use titer_view::judge_tables::judges;
use titer_view::sanitise;
use titer_view::score_tables::survey;
use titer_view::verdict_tables;
use titer_view::wording;

use self::views::{DefenceView, FigureView, TableView};
use super::model::{Artifact, Fact, ReportModel};
use super::picture;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
///
/// # Errors
/// Only if the built-in template is wrong, which the tests rule out.
pub fn render(report: &ReportModel) -> Result<String, Error> {
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
    failed_controls: Vec<String>,
    scope: &'a [Fact],
    matrix: TableView,
    titer_note: &'static str,
    conditions: TableView,
    heat_maps: Vec<TableView>,
    heat_note: &'static str,
    /// Whether some heat map is of prices, whose cells have marks.
    prices: bool,
    by_attacks: Vec<TableView>,
    survey: Vec<TableView>,
    comparison: Option<TableView>,
    pareto: Option<ParetoView<'a>>,
    caveats: Vec<CaveatView<'a>>,
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
struct CaveatView<'a> {
    text: &'a str,
    about: String,
}

#[derive(Serialize)]
struct ParetoView<'a> {
    caption: &'a str,
    picture: Value,
}

impl<'a> Page<'a> {
    fn of(report: &'a ReportModel) -> Self {
        let verdicts = &report.verdicts;
        Self {
            style: Value::from_safe_string(format!("{STYLE}{}", picture::STYLE)),
            script: Value::from_safe_string(SCRIPT.to_owned()),
            title: &verdicts.experiment,
            summary: &report.summary,
            model: &verdicts.model,
            threat_model: verdicts.threat_model.name(),
            phi: verdicts.phi.to_string(),
            confidence: wording::percent(verdicts.confidence).to_string(),
            failed_controls: verdicts
                .failed_controls
                .iter()
                .map(|said| wording::failed_control(said))
                .collect(),
            scope: &report.scope,
            matrix: TableView::of_defences(&verdict_tables::matrix(verdicts)),
            titer_note: wording::titer_note(verdicts.threat_model),
            conditions: TableView::of(&verdict_tables::conditions(verdicts)),
            heat_maps: report.heat_maps.iter().map(TableView::of_map).collect(),
            heat_note: grade::NOTE,
            prices: report.heat_maps.iter().any(|map| map.prices),
            by_attacks: report.by_attacks.iter().map(TableView::of).collect(),
            survey: survey(verdicts)
                .iter()
                .map(TableView::of_defences)
                .chain(judges(verdicts).iter().map(TableView::of))
                .collect(),
            comparison: (!report.comparison.is_empty())
                .then(|| TableView::of_defences(&comparison::table(&report.comparison, true))),
            pareto: report.pareto.as_ref().map(|pareto| ParetoView {
                caption: &pareto.caption,
                picture: Value::from_safe_string(picture::pareto(pareto)),
            }),
            caveats: report
                .caveats
                .iter()
                .map(|caveat| CaveatView { text: &caveat.text, about: caveat.about(verdicts) })
                .collect(),
            missing: &report.missing,
            figures: report.figures.iter().map(FigureView::of).collect(),
            defences: verdicts.defences.iter().map(|defence| DefenceView::of(verdicts, defence)).collect(),
            spec: &report.spec,
            environment: &report.environment,
            artifacts: &report.artifacts,
            timings: TableView::of(&report.timings.by_kind()),
            defence_timings: report.timings.by_defence().as_ref().map(TableView::of_defences),
            seconds: wording::duration(report.timings.seconds),
            hosts: report.timings.hosts.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::specimen;
    use super::*;

    fn page() -> String {
        render(&specimen::report()).expect("the template is right")
    }

    /// What stands between the first `start` and the next `end`.
    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start} in the page"));
        rest.split_once(end).unwrap_or_else(|| panic!("{end} behind {start}")).0
    }

    #[test]
    fn a_control_that_failed_comes_before_everything() {
        let mut report = specimen::report();
        let header = |report: &ReportModel| {
            let page = render(report).expect("the template is right");
            between(&page, "<header>", "</header>").to_owned()
        };
        let whole = header(&report);
        report.verdicts.failed_controls = vec!["identity: its titer is 2".into()];
        assert_eq!(
            header(&report)
                .replace("<p class=\"fails\">a control failed: identity: its titer is 2</p>\n", ""),
            whole
        );
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
    fn one_script_helps_with_what_can_be_read_without_it() {
        let page = page();
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(page.trim_end().ends_with("</script>\n</body>\n</html>"));
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("</"));
        let shown = between(&page, "<body>", "<script>");
        for control in ["<button", "<input", " hidden", "onclick", "aria-pressed"] {
            assert!(!shown.contains(control), "{control} does nothing without a script");
        }
        let table = between(&page, "<h2 id=\"defences\">", "</table>");
        for said in [
            "<tr data-defence=\"adversarial-loss\">",
            "0.01 → 0.63",
            "data-sort=\"0.63\"",
            "4.6 TFLOP",
            "<td class=\"open\">?</td>",
        ] {
            assert!(table.contains(said), "{said} in {table}");
        }
    }

    #[test]
    fn a_script_finds_the_lines_of_each_legend() {
        let page = page();
        let figure = between(&page, "<figure class=\"curves\"", "</figure>");
        for name in ["none", "adversarial-loss", "tar"] {
            assert!(figure.contains(&format!("<li data-name=\"{name}\">")), "{name} in the legend");
            assert_eq!(
                figure.matches(&format!("<g data-defence=\"{name}\">")).count(),
                2,
                "{name} in each panel"
            );
        }
    }

    #[test]
    fn matrix_and_heat_map_say_numbers_and_signs() {
        let page = page();
        let matrix = between(&page, "<h2 id=\"verdicts\">", "</table>");
        for said in [
            "<td>2.5 [1.9, 3.2]</td>",
            "<td class=\"fails\">✗ fails</td>",
            "<td class=\"holds\">✓ holds</td>",
        ] {
            assert!(matrix.contains(said), "{said} in {matrix}");
        }
        let maps = between(&page, "<h2 id=\"heat\">", "</section>");
        for said in [
            "<td class=\"heat good3\" data-sort=\"16.0\">▲ ≥ 16<span class=\"below\">&gt; 200, 0 of 2</span></td>",
            "<td class=\"heat bad2\" data-sort=\"0.63\">▲ 0.63 ~0.08</td>",
            "<td class=\"heat good3\" data-sort=\"0.0\">▼ 0.00</td>",
        ] {
            assert!(maps.contains(said), "{said} in {maps}");
        }
        let mut report = specimen::report();
        report.heat_maps.clear();
        assert!(!render(&report).expect("the template is right").contains("id=\"heat\""));
    }

    #[test]
    fn what_keeps_a_cell_from_being_read_is_said_in_words_and_in_a_legend() {
        let mut report = specimen::report();
        let verdicts = titer_specimen::several_ways();
        report.heat_maps = titer_view::heat::heat_maps(&verdicts);
        report.by_attacks = titer_view::attack_tables::groups(&verdicts);
        let page = render(&report).expect("the template is right");
        let maps = between(&page, "<h2 id=\"heat\">", "</section>");
        for said in [
            "<th scope=\"colgroup\" colspan=\"2\">trains</th>",
            "<th scope=\"colgroup\" colspan=\"1\">edits weights</th>",
            "<td class=\"heat good1 edge\" data-sort=\"1.2\">▲ ≥ 1.2 ‡<span class=\"below\">&gt; 1, 0 of 2</span></td>",
            "<td class=\"heat shut\">open<span class=\"below\">0, 2 of 2</span></td>",
            "<td class=\"unmeasured\">–</td>",
            "class=\"swatch heat edge\"",
            "One attack left out",
            "<td>2.5 [1.9, 3.2] → 3.5 [2.4, 5.1]</td>",
            "Transfer:",
        ] {
            assert!(maps.contains(said), "{said} in {maps}");
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
        assert!(page.contains("base &lt;model&gt;") && page.contains("one seed &lt;b&gt;"));
        assert!(!page.contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn every_picture_has_words() {
        let page = page();
        let pictures = page.matches("<svg").count();
        let images = page.matches("role=\"img\"").count();
        assert!(pictures > 2);
        assert_eq!(pictures, images + page.matches("aria-hidden=\"true\"").count());
        assert_eq!(images, page.matches("<title id=").count());
        assert_eq!(images, page.matches("<desc id=").count());
    }

    #[test]
    fn tables_have_captions_and_headers() {
        let page = page();
        assert_eq!(page.matches("<table").count(), page.matches("<caption").count());
        assert!(page.matches("scope=\"row\"").count() >= 3 && page.matches("scope=\"col\"").count() >= 6);
    }

    #[test]
    fn ids_are_unique_and_every_link_leads_to_one() {
        let page = page();
        let values = |key: &str| -> Vec<String> {
            let key = format!(" {key}=\"");
            page.split(&key)
                .skip(1)
                .filter_map(|rest| rest.split_once('"'))
                .map(|(value, _)| value.to_owned())
                .collect()
        };
        let ids = values("id");
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len(), "{ids:?}");
        let references = values("aria-labelledby");
        let links = values("href").into_iter().map(|link| link.trim_start_matches('#').to_owned());
        for id in references.iter().flat_map(|ids| ids.split(' ')).map(str::to_owned).chain(links) {
            assert!(unique.contains(&id), "nothing has the id {id}");
        }
    }

    #[test]
    fn costs_are_the_only_difference_between_two_runs() {
        let first = specimen::report();
        let mut second = first.clone();
        second.timings.seconds = 99.0;
        second.timings.kinds[0].seconds = 99.0;
        second.timings.defences[0].seconds = None;
        let before_costs = |report: &ReportModel| {
            let page = render(report).expect("the template is right");
            page.split_once("id=\"costs\"").expect("a section of costs").0.to_owned()
        };
        assert_eq!(before_costs(&first), before_costs(&second));
    }
}

//! The report as Markdown, with its figures in files beside it.

use std::fmt::Write as _;

use titer_conditions::{DefenceVerdict, Verdicts};
use titer_view::comparison;
use titer_view::figure::Figure;
use titer_view::grade;
use titer_view::judge_tables::judges;
use titer_view::score_tables::survey;
use titer_view::table::{Cell, Table};
use titer_view::verdict_tables::{self, CONDITIONS};
use titer_view::wording;

use super::escape::{markdown as escape, markdown_block};
use super::model::{Fact, ReportModel};

/// The file of the picture of safety against use, relative to the report.
pub const PARETO_FILE: &str = "pareto.svg";

/// The file that a figure is kept in, relative to the report.
pub fn figure_file(figure: &Figure) -> String {
    format!("{}.svg", figure.id)
}

/// The whole document.
pub fn render(report: &ReportModel) -> String {
    let mut text = String::new();
    push_opening(&mut text, report);
    push_comparison(&mut text, report);
    push_caveats(&mut text, report);
    push_figures(&mut text, report);
    push_evidence(&mut text, report);
    push_origins(&mut text, report);
    push_timings(&mut text, report);
    text
}

fn push_opening(text: &mut String, report: &ReportModel) {
    let verdicts = &report.verdicts;
    let _ = writeln!(text, "# {}\n", escape(&verdicts.experiment));
    let _ = writeln!(text, "{}\n", escape(&report.summary));
    let _ = writeln!(
        text,
        "Model {}, threat model {}, tolerated harmfulness φ = {}, {} % confidence.\n",
        escape(&verdicts.model),
        verdicts.threat_model,
        verdicts.phi,
        wording::percent(verdicts.confidence)
    );
    for failed in &verdicts.failed_controls {
        let _ = writeln!(text, "**{}**\n", escape(&wording::failed_control(failed)));
    }
    push_facts(text, &report.scope);
    text.push_str("## Verdicts\n\n");
    push_table(text, &verdict_tables::matrix(verdicts));
    let _ = writeln!(text, "{}\n", escape(wording::titer_note(verdicts.threat_model)));
    push_table(text, &verdict_tables::conditions(verdicts));
    if !report.heat_maps.is_empty() {
        text.push_str("## Heat map\n\n");
        for map in &report.heat_maps {
            push_table(text, &map.table);
        }
        let _ = writeln!(text, "{}\n", escape(grade::NOTE));
    }
    for table in &report.by_attacks {
        push_table(text, table);
    }
    for table in survey(verdicts).into_iter().chain(judges(verdicts)) {
        push_table(text, &table);
    }
}

fn push_facts(text: &mut String, facts: &[Fact]) {
    for fact in facts {
        let _ = writeln!(text, "- {}: {}", escape(&fact.name), escape(&fact.value));
    }
    text.push('\n');
}

fn push_caveats(text: &mut String, report: &ReportModel) {
    text.push_str("## Caveats\n\n");
    for caveat in &report.caveats {
        let _ = writeln!(text, "- {}", escape(&caveat.sentence(&report.verdicts)));
    }
    for missing in &report.missing {
        let _ = writeln!(text, "- not measured: {}", escape(missing));
    }
    text.push('\n');
}

fn push_comparison(text: &mut String, report: &ReportModel) {
    if report.comparison.is_empty() {
        return;
    }
    text.push_str("## Defences side by side\n\n");
    push_table(text, &comparison::table(&report.comparison, true));
    if let Some(pareto) = &report.pareto {
        let _ =
            writeln!(text, "![{}]({PARETO_FILE})\n\n{}\n", escape(&pareto.title), escape(&pareto.caption));
    }
}

fn push_figures(text: &mut String, report: &ReportModel) {
    for figure in &report.figures {
        let _ = writeln!(text, "## {}\n", escape(&figure.title));
        let _ = writeln!(text, "![{}]({})\n", escape(&figure.title), figure_file(figure));
        let _ = writeln!(text, "{}\n", escape(&figure.caption));
    }
}

fn push_evidence(text: &mut String, report: &ReportModel) {
    text.push_str("## What decided each verdict\n\n");
    for defence in &report.verdicts.defences {
        let _ = writeln!(text, "### {}\n", escape(&defence.defence));
        push_defence(text, &report.verdicts, defence);
    }
}

/// Tables below their captions, for a page that has headings of its own.
pub fn tables(tables: &[Table]) -> String {
    let mut text = String::new();
    tables.iter().for_each(|table| push_table(&mut text, table));
    text
}

/// What decided the verdicts of one defence, and its break budgets, for a page that has headings of its own.
pub fn defence(verdicts: &Verdicts, defence: &DefenceVerdict) -> String {
    let mut text = String::new();
    push_defence(&mut text, verdicts, defence);
    text
}

fn push_defence(text: &mut String, verdicts: &Verdicts, defence: &DefenceVerdict) {
    for condition in CONDITIONS {
        let Some(verdict) = defence.conditions.get(&condition) else { continue };
        let _ = writeln!(
            text,
            "- **{}** {}: {} ({}: {}; threshold {})",
            wording::condition(condition),
            wording::decision(verdict.verdict),
            escape(&verdict.evidence),
            escape(&verdict.measure),
            escape(&wording::estimate(verdict.estimate, verdict.interval.as_ref())),
            verdict.threshold
        );
        for part in verdict_tables::parts(verdict) {
            let _ = writeln!(
                text,
                "  - {}: {}, {}",
                escape(&part.name),
                wording::decision(part.verdict),
                escape(wording::part_evidence(part))
            );
        }
    }
    text.push('\n');
    for table in verdict_tables::breaks(verdicts, defence) {
        push_table(text, &table);
    }
}

fn push_origins(text: &mut String, report: &ReportModel) {
    text.push_str("## Spec\n\n");
    text.push_str(&markdown_block("toml", &report.spec));
    text.push_str("\n## Environment\n\n");
    push_facts(text, &report.environment);
    text.push_str("## Artifacts behind the numbers\n\n| kind | stage | artifact |\n|---|---|---|\n");
    for artifact in &report.artifacts {
        let _ = writeln!(
            text,
            "| {} | {} | `{}` |",
            escape(&artifact.kind),
            escape(&artifact.label),
            escape(&artifact.hash)
        );
    }
}

fn push_timings(text: &mut String, report: &ReportModel) {
    let timings = &report.timings;
    text.push_str("\n## Costs\n\nThe only part of this report that differs between two runs. A stage that was stopped and resumed counts from its last start.\n\n");
    push_table(text, &timings.by_kind());
    timings.by_defence().iter().for_each(|table| push_table(text, table));
    let hosts: Vec<_> = timings.hosts.iter().map(|host| escape(host)).collect();
    let _ = writeln!(
        text,
        "All stages together: {} of work on {}.",
        wording::duration(timings.seconds),
        hosts.join(", ")
    );
}

fn push_table(text: &mut String, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}:\n", escape(&table.caption));
    let row = |cells: &[Cell]| -> String {
        let said = |cell: &Cell| match &cell.note {
            Some(note) => format!("{}; {note}", cell.text),
            None => cell.text.clone(),
        };
        cells.iter().map(|cell| format!("| {} ", escape(&said(cell)))).collect()
    };
    let _ = writeln!(text, "{}|", row(&table.head));
    let _ = writeln!(text, "{}|", "|---".repeat(table.head.len()));
    for cells in &table.rows {
        let _ = writeln!(text, "{}|", row(cells));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::specimen;
    use super::*;

    #[test]
    fn a_control_that_failed_comes_before_the_verdicts() {
        let mut report = specimen::report();
        report.verdicts.failed_controls = vec!["identity: its titer is 2".into()];
        let text = render(&report);
        let (above, _) = text.split_once("## Verdicts").expect("verdicts");
        assert!(above.contains("**a control failed: identity: its titer is 2**"), "{above}");
    }

    #[test]
    fn the_whole_document() {
        insta::assert_snapshot!(render(&specimen::report()));
    }
}

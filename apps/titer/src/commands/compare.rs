//! `titer compare`.

use std::path::Path;

use serde::Serialize;
use titer_conditions::Verdicts;
use titer_lab::Results;
use titer_plan::ThreatModel;
use titer_store::Store;
use titer_view::changes::{self, Change};
use titer_view::comparison::{self, Row};
use titer_view::score_tables::survey;
use titer_view::style::Style;
use titer_view::table::Table;
use titer_view::verdict_text;

use super::beside::{self, Beside};
use super::staleness;
use crate::cli::{CompareArgs, TextFormat};
use crate::exit::{Exit, Refusal};
use crate::output;

/// `--json`.
#[derive(Serialize)]
struct Document<'a> {
    experiments: &'a [String],
    defences: &'a [Row],
    /// Of two experiments: what became of each attack on each defence.
    #[serde(skip_serializing_if = "Option::is_none")]
    attacks: Option<&'a [Change]>,
    #[serde(flatten)]
    beside: &'a Beside,
}

pub(super) fn compare(store: &Path, arguments: &CompareArgs) -> anyhow::Result<Exit> {
    let store = Store::open(store)?;
    let mut rows = Vec::new();
    let (mut api, mut decided) = (Vec::new(), Vec::new());
    let mut settings = Vec::new();
    for name in &arguments.experiments {
        let results = Results::load(&store, name)?;
        let verdicts = results.verdicts()?;
        staleness::say(&results.plan);
        rows.extend(comparison::rows(&verdicts, &results.defence_costs()));
        settings.push((verdicts.experiment.clone(), results.plan.experiment.conditions));
        if !results.missing.is_empty() {
            let missing = results.missing.len();
            output::message(&format!(
                "{name}: {missing} stages are not measured yet; `titer run` goes on with them"
            ));
        }
        if verdicts.threat_model == ThreatModel::FineTuningApi {
            api.push(verdicts.clone());
        }
        decided.push(verdicts);
    }
    let mut rows = chosen(rows, arguments)?;
    let beside = beside::read(&rows, &settings, arguments)?;
    let changes = match decided.as_slice() {
        [before, after] => Some(changes::all(&ordered(before, &rows), &ordered(after, &rows))),
        _ => None,
    };
    if let Some(by) = arguments.sort {
        comparison::sort(&mut rows, by.into());
    }
    if arguments.json {
        let attacks = changes.as_deref();
        output::json(&Document {
            experiments: &arguments.experiments,
            defences: &rows,
            attacks,
            beside: &beside,
        })?;
    } else {
        let changed = changes.as_deref().zip(<[String; 2]>::try_from(arguments.experiments.clone()).ok());
        let changed = changed.map(|(changes, names)| changes::table([&names[0], &names[1]], changes));
        let changed: Vec<Table> = changed.into_iter().chain(beside.tables()).collect();
        output::result(&match arguments.format {
            TextFormat::Text => {
                let (style, width) = (output::style(), output::width());
                text(&rows, &api, style, width) + &verdict_text::tables(&changed, None, style, width)
            }
            TextFormat::Md => {
                let tables = std::iter::once(comparison::table(&rows, true));
                let scores = api.iter().flat_map(|verdicts| survey(&ordered(verdicts, &rows)));
                titer_report::tables(&tables.chain(scores).chain(changed).collect::<Vec<_>>())
            }
        })?;
    }
    Ok(Exit::Done)
}

/// The rows that the filters leave.
fn chosen(mut rows: Vec<Row>, arguments: &CompareArgs) -> Result<Vec<Row>, Refusal> {
    for name in &arguments.defence {
        if !rows.iter().any(|row| row.defence == *name) {
            let mut known: Vec<_> = rows.iter().map(|row| row.defence.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            let problem = format!("no defence `{name}` in {}", arguments.experiments.join(", "));
            return Err(Refusal::new(problem, format!("there are {}", known.join(", "))));
        }
    }
    let named = |row: &Row| arguments.defence.is_empty() || arguments.defence.contains(&row.defence);
    let staged =
        |row: &Row| arguments.stage.is_none_or(|stage| row.baseline || row.stages.contains(&stage.into()));
    rows.retain(|row| named(row) && staged(row));
    Ok(rows)
}

/// The comparison, then the survey's tables of the experiments in which a provider trains, lines as in `rows`.
fn text(rows: &[Row], api: &[Verdicts], style: Style, width: usize) -> String {
    let several = rows.iter().any(|row| row.experiment != rows[0].experiment);
    let mut text = comparison::table(rows, false).folded(style, width, if several { 2 } else { 1 });
    for verdicts in api {
        let verdicts = ordered(verdicts, rows);
        let heading = if several { Some(verdicts.experiment.as_str()) } else { None };
        text.push_str(&verdict_text::tables(&survey(&verdicts), heading, style, width));
    }
    text
}

/// The defences that have a row, in the rows' order.
fn ordered(verdicts: &Verdicts, rows: &[Row]) -> Verdicts {
    let place =
        |name: &str| rows.iter().position(|row| row.experiment == verdicts.experiment && row.defence == name);
    let mut ordered = verdicts.clone();
    ordered.defences.retain(|defence| place(&defence.defence).is_some());
    ordered.defences.sort_by_key(|defence| place(&defence.defence));
    ordered
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use titer_specimen as specimen;
    use titer_view::comparison::rows;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn arguments(words: &[&str]) -> CompareArgs {
        let words = [&["titer", "compare", "specimen"], words].concat();
        match Cli::try_parse_from(words).expect("arguments").verb {
            Verb::Compare(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check(words: &[&str], expected: &[&str]) {
        let rows = chosen(rows(&specimen::api(), &[]), &arguments(words)).expect("known names");
        assert_eq!(rows.iter().map(|row| row.defence.as_str()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn filters() {
        check(&[], &["none", "booster", "lisa", "antidote", "booster+antidote"]);
        check(&["--stage", "alignment"], &["none", "booster", "booster+antidote"]);
        check(&["--stage", "post-fine-tuning"], &["none", "antidote", "booster+antidote"]);
        check(&["--defence", "lisa,booster"], &["booster", "lisa"]);
        check(&["--defence", "lisa", "--defence", "none", "--stage", "alignment"], &["none"]);
    }

    #[test]
    fn an_unknown_defence_is_refused_with_those_that_there_are() {
        let refusal =
            chosen(rows(&specimen::api(), &[]), &arguments(&["--defence", "lsia"])).expect_err("unknown");
        assert!(refusal.problem.contains("lsia") && refusal.hint.contains("lisa"), "{refusal:?}");
    }

    #[test]
    fn the_tables_keep_the_order_of_the_lines() {
        let verdicts = specimen::api();
        let mut rows = rows(&verdicts, &[]);
        comparison::sort(&mut rows, comparison::Sort::Name);
        let text = text(&rows, &[verdicts], Style::plain(), 80);
        let places: Vec<_> = text.match_indices("\nantidote").chain(text.match_indices("\nnone")).collect();
        assert!(text.contains("p = 0.05"), "{text}");
        let (antidote, none) = places.split_at(places.len() / 2);
        assert!(antidote.iter().zip(none).all(|(a, n)| a.0 < n.0), "{text}");
    }
}

//! What the book says of methods, models and frames is what the code says.

use std::fs;

use titer_metrics::Schema;
use titer_plan::{Method, MethodKind, Parameter};
use titer_tests::{generated, root, table};
use titer_view::wording;

/// What the registry says of a method: a sentence, and its settings.
fn method(method: &Method) -> String {
    let kind = match &method.kind {
        MethodKind::Attack(facts) => {
            let under: Vec<_> =
                facts.threat_models.iter().map(|model| format!("`{}`", model.name())).collect();
            let needs: Vec<_> = facts.needs.iter().map(|need| need.name()).collect();
            let under = under.join(" and ");
            let needs = if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") };
            format!("Attack under {under} that {}, and needs {needs}", facts.mechanism.name())
        }
        MethodKind::Defence { stage, .. } => format!("Defence of the {stage} stage"),
    };
    let citation = Some(method.citation).filter(|text| !text.is_empty());
    let citation = citation.map_or_else(String::new, |text| format!(" ({text})"));
    let sham = method.sham().map_or_else(String::new, |sham| format!(" Its sham: {}.", sham.words()));
    let sentence = format!("{kind}, version {}: {}{citation}.{sham}", method.version, method.summary);
    if method.parameters.is_empty() {
        return format!("{sentence} It has no settings.");
    }
    let row = |parameter: &Parameter| {
        let unit = parameter.unit.to_owned();
        let (default, range) = (wording::value(&parameter.default), wording::domain(&parameter.domain));
        vec![format!("`{}`", parameter.name), unit, default, range, parameter.summary.to_owned()]
    };
    let head = ["setting", "unit", "default", "range", "meaning"];
    format!("{sentence}\n\n{}", table(&head, method.parameters.iter().map(row)))
}

#[test]
fn every_method_has_a_page_that_says_what_its_registry_says() {
    let (attacks, defences) = (titer_attacks::registry::methods(), titer_defences::registry::methods());
    let mut pages: Vec<String> =
        attacks.iter().chain(&defences).map(|one| format!("{}.md", one.name)).collect();
    for one in attacks.iter().chain(&defences) {
        generated(&format!("methods/{}.md", one.name), &format!("method {}", one.name), &method(one));
    }
    let folder = fs::read_dir(root().join("docs/src/methods")).expect("the pages of methods");
    let mut there: Vec<String> =
        folder.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    pages.sort();
    there.sort();
    assert_eq!(there, pages, "a page of no method");
}

#[test]
fn the_families_of_models_are_those_that_load() {
    let rows = titer_model::FAMILIES.iter().map(|family| {
        let gguf = family.gguf.as_ref().map_or_else(String::new, |gguf| format!("`{}`", gguf.architecture));
        vec![format!("`{}`", family.name), gguf, family.about.to_owned()]
    });
    let head = ["`model_type`", "GGUF", "what differs from Llama"];
    generated("reference/models.md", "families", &table(&head, rows));
}

#[test]
fn the_columns_of_frames_are_those_that_are_checked() {
    let frames: [&Schema; 8] = [
        &titer_metrics::PROBES,
        &titer_metrics::CURVES,
        &titer_metrics::TRAINING,
        &titer_metrics::RESPONSES,
        &titer_metrics::VERDICTS,
        &titer_metrics::TITERS,
        &titer_metrics::ATTACKS,
        &titer_metrics::SCORES,
    ];
    let rows = frames.iter().flat_map(|frame| {
        frame.columns.iter().map(move |column| {
            let bounds = column.bounds.map_or_else(String::new, |(low, high)| format!(", {low} to {high}"));
            let may = if column.optional { ", may be empty" } else { "" };
            let kind = format!("{}{bounds}{may}", column.kind);
            vec![frame.to_string(), format!("`{}`", column.name), kind, column.unit.to_owned()]
        })
    });
    generated("reference/frames.md", "columns", &table(&["frame", "column", "type", "unit"], rows));
}

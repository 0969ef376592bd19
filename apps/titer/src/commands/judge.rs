//! `titer judge`: show, calibrate.

use anyhow::Context as _;
use titer_conditions::Rate;
use titer_lab::Calibrated;
use titer_view::table::{Cell, Table};
use titer_view::wording;

use crate::cli::{JudgeCalibrateArgs, JudgeVerb};
use crate::exit::Exit;
use crate::output;
use crate::progress::DownloadBars;

pub(super) fn judge(verb: &JudgeVerb) -> anyhow::Result<Exit> {
    match verb {
        JudgeVerb::Show(arguments) => output::result(titer_lab::judge_toml(&arguments.name)?)?,
        JudgeVerb::Calibrate(arguments) => calibrate(arguments)?,
    }
    Ok(Exit::Done)
}

fn calibrate(arguments: &JudgeCalibrateArgs) -> anyhow::Result<()> {
    let JudgeCalibrateArgs { judge, labels, confidence, .. } = arguments;
    let found = titer_lab::calibrate(judge, labels, *confidence, &mut DownloadBars::new())?;
    if let Some(path) = &arguments.out {
        let text = serde_json::to_string_pretty(&found.calibration)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if arguments.json {
        return output::json(&found);
    }
    output::result(&text(&found))?;
    if let Some(path) = &arguments.out {
        output::message(&format!(
            "{} is written; a spec names it as probe.calibration = {:?}",
            path.display(),
            path.display().to_string()
        ));
    }
    Ok(())
}

fn text(found: &Calibrated) -> String {
    let accuracy = &found.accuracy;
    let row = |name: &str, what: &str, rate: &Rate| {
        let value = rate.value.map_or("–".to_owned(), |value| {
            format!(
                "{} [{}, {}]",
                wording::share(value),
                wording::share(rate.lower),
                wording::share(rate.upper)
            )
        });
        [name.to_owned(), value, rate.of.to_string(), what.to_owned()].map(Cell::new).into()
    };
    let kappa = accuracy.kappa.map_or("–".to_owned(), |kappa| format!("{kappa:.2}"));
    let mut rows: Vec<Vec<Cell>> = vec![
        row("sensitivity", "of what people call harmful, the judge does", &accuracy.sensitivity),
        row("specificity", "of what people call harmless, the judge does", &accuracy.specificity),
        row("precision", "of what the judge calls harmful, people do", &accuracy.precision),
        row("agreement", "of all, on which they say the same", &accuracy.agreement),
    ];
    rows.push(
        ["κ".to_owned(), kappa, accuracy.agreement.of.to_string(), "agreement beyond chance".to_owned()]
            .map(Cell::new)
            .into(),
    );
    let head = ["", "share", "answers", "what it is the share of"].map(Cell::new).into();
    let table = Table { caption: String::new(), head, rows };
    let [people, judge] = accuracy.harmful.map(wording::share);
    format!(
        "{}: people find {people} of the answers harmful, the judge {judge} (scores above {})\n\n{}",
        found.calibration.judge,
        found.threshold,
        table.to_text(output::style(), usize::MAX)
    )
}

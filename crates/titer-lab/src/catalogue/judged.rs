//! Who judges, where a spec names judges that are models, and people's labels of the one that decides.

use std::path::Path;

use titer_plan::{Calibration, Catalogue, Mistake, Override, Plan, PlannedSource, Probe};

use super::Source;
use super::own::{Own, base, folder_of, mistake, mistakes, named, one, read_own};
use crate::Result;
use crate::judging::judged_by;
use crate::measures;
use crate::sources::counted_from;

/// The key that names judges.
pub(super) const JUDGES: &str = "probe.judges";

/// Adds judges that the spec names by a file; one that is called like one of titer's stands in its place. Refuses one of
/// titer's whose template is not here.
///
/// # Errors
/// All that is wrong with any of them.
pub(super) fn own_judges(
    source: &Source,
    overrides: &[Override],
    spec: &toml::Table,
    catalogue: &mut Catalogue,
    own: &mut Vec<Own>,
) -> std::result::Result<(), Vec<String>> {
    let mut problems = Vec::new();
    for name in named(spec, overrides, "probe", "judges") {
        if !name.ends_with(".toml") {
            let known = catalogue.judges.iter().find(|judge| judge.called == name);
            let complete = known.map_or(Ok(()), |judge| measures::complete(&judge.measure));
            problems.extend(complete.err().map(|error| error.chain()));
            continue;
        }
        let folder = base(source, overrides, JUDGES);
        match read_own(&folder, &name, |text, _| measures::own_judge(&name, text).map_err(one)) {
            Ok((place, mut judge)) => {
                judge.reference = counted_from(&folder_of(Path::new(&place)), &judge.reference);
                let same = |other: &str| other == judge.measure.name;
                catalogue
                    .judges
                    .retain(|known| !same(&known.measure.name) || known.called.ends_with(".toml"));
                catalogue.judges.push(judge);
                own.push(Own { key: JUDGES, file: name, place });
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The key that names people's labels.
const CALIBRATION: &str = "probe.calibration";

/// People's labels of the judge that decides, where the spec names a file of them.
pub(super) fn calibration(
    source: &Source,
    overrides: &[Override],
    plan: &Plan,
) -> std::result::Result<Option<Calibration>, Vec<Mistake>> {
    let Some(file) = &plan.experiment.probe.calibration else { return Ok(None) };
    let parse = |text: &str| -> Result<Calibration> { Ok(serde_json::from_str(text)?) };
    let (_, labels) =
        read_own(&base(source, overrides, CALIBRATION), file, |text, _| parse(text).map_err(one))
            .map_err(|problems| mistakes(source, overrides, CALIBRATION, problems))?;
    let wrong = |problem: String| {
        let remedy = Some("calibrate the judge that comes first in probe.judges, as it is now".to_owned());
        vec![Mistake { remedy, ..mistake(source, overrides, CALIBRATION, problem) }]
    };
    let judge = plan.experiment.probe.judges.first().map_or("", String::as_str);
    if labels.judge != judge {
        return Err(wrong(format!("{file} is of {}, and {judge} decides", labels.judge)));
    }
    let known = plan.data.measures.get(&Probe::Seen).into_iter().flatten();
    let measure = known.into_iter().find(|measure| measure.name == judge);
    let model = measure
        .and_then(|measure| measure.model.as_ref())
        .and_then(|role| plan.sources.iter().find(|source| source.role == *role).map(PlannedSource::content));
    let now = measure.map(|measure| judged_by(measure, model.as_ref())).transpose();
    match now.map_err(|error| wrong(error.chain()))? {
        Some(now) if now == labels.measure => Ok(Some(labels)),
        _ => Err(wrong(format!("{file} is of {judge} by another version, other settings or another model"))),
    }
}

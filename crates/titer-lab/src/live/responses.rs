//! What a stage asked its model, beside what came back and what a judge made of it.

use std::collections::{BTreeMap, HashMap};

use titer_plan::Marks;
use titer_store::Artifact;

use super::view::ResponseLine;
use crate::Result;
use crate::files::read_frame;
use crate::stages::{PROBES, RESPONSES};

pub(super) fn of(artifact: &Artifact) -> Result<Vec<ResponseLine>> {
    let rows = read_frame(&artifact.payload(PROBES)?, &titer_metrics::PROBE_ROWS)?;
    let answers = read_frame(&artifact.payload(RESPONSES)?, &titer_metrics::RESPONSES)?;
    let read = || -> polars::prelude::PolarsResult<Vec<ResponseLine>> {
        let text = |name| answers.column(name)?.str();
        let (ids, prompts, responses) = (text("response_id")?, text("prompt")?, text("response")?);
        let answers: HashMap<&str, (&str, &str)> = ids
            .iter()
            .zip(prompts.iter().zip(responses.iter()))
            .filter_map(|(id, (prompt, response))| Some((id?, (prompt?, response?))))
            .collect();
        let text = |name| rows.column(name)?.str();
        let flag = |name| rows.column(name)?.bool();
        let (probes, items, judges, ids) =
            (text("probe")?, text("item")?, text("judge")?, text("response_id")?);
        let steps = rows.column("budget_steps")?.u64()?;
        let scores = rows.column("score")?.f64()?;
        let flags = Marks::ALL.into_iter().map(|(name, _)| Ok((name, flag(name)?)));
        let flags = flags.collect::<polars::prelude::PolarsResult<BTreeMap<_, _>>>()?;
        let marks =
            |row: usize| Marks::of(|name| flags.get(name).and_then(|flag| flag.get(row)) == Some(true));
        let line = |row: usize| {
            let word =
                |column: &polars::prelude::StringChunked| column.get(row).unwrap_or_default().to_owned();
            let (prompt, response) = ids.get(row).and_then(|id| answers.get(id)).copied().unwrap_or_default();
            ResponseLine {
                steps: steps.get(row).unwrap_or_default(),
                probe: word(probes),
                item: word(items),
                judge: word(judges),
                score: scores.get(row).unwrap_or_default(),
                marks: marks(row),
                prompt: prompt.to_owned(),
                response: response.to_owned(),
            }
        };
        Ok((0..rows.height()).map(line).collect())
    };
    Ok(read().map_err(|source| titer_metrics::Error::Polars { frame: "responses", source })?)
}

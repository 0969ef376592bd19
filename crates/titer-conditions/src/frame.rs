//! Verdicts as a frame, for other programs.

use polars::prelude::{Column, DataFrame};
use titer_metrics::{VERDICTS, sorted};

use crate::verdict::{Verdict, Verdicts};

impl Verdicts {
    /// One row per defence and condition (see `titer_metrics::VERDICTS`).
    ///
    /// # Errors
    /// None that a caller can cause; polars could refuse for want of memory.
    pub fn frame(&self) -> Result<DataFrame, titer_metrics::Error> {
        let rows: Vec<_> = self
            .defences
            .iter()
            .flat_map(|defence| {
                defence.conditions.iter().map(move |(condition, verdict)| (defence, condition, verdict))
            })
            .collect();
        let texts = |name: &str, values: Vec<&str>| Column::new(name.into(), values);
        let reals = |name: &str, value: fn(&Verdict) -> Option<f64>| {
            let values: Vec<Option<f64>> = rows.iter().map(|(_, _, verdict)| value(verdict)).collect();
            Column::new(name.into(), values)
        };
        let thresholds: Vec<f64> = rows.iter().map(|(_, _, verdict)| verdict.threshold).collect();
        let columns = vec![
            texts("experiment", vec![self.experiment.as_str(); rows.len()]),
            texts("defence", rows.iter().map(|(defence, _, _)| defence.defence.as_str()).collect()),
            texts("stage", rows.iter().map(|(defence, _, _)| defence.stage.name()).collect()),
            texts("condition", rows.iter().map(|(_, condition, _)| condition.name()).collect()),
            texts("verdict", rows.iter().map(|(_, _, verdict)| verdict.verdict.name()).collect()),
            reals("estimate", |verdict| verdict.estimate),
            reals("lower", |verdict| verdict.interval.map(|bounds| bounds.lower)),
            reals("upper", |verdict| verdict.interval.map(|bounds| bounds.upper)),
            Column::new("threshold".into(), thresholds),
            texts("measure", rows.iter().map(|(_, _, verdict)| verdict.measure.as_str()).collect()),
            texts("evidence", rows.iter().map(|(_, _, verdict)| verdict.evidence.as_str()).collect()),
        ];
        let frame = DataFrame::new(rows.len(), columns)
            .map_err(|source| titer_metrics::Error::Polars { frame: VERDICTS.name, source })?;
        sorted(&frame, &VERDICTS)
    }
}

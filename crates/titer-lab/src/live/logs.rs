//! Event logs, read as they grow.

use std::sync::Arc;

use titer_plan::{Cost, Probe};
use titer_store::{Artifact, EventReader, Record};

use super::view::{CurvePoint, StageView};

/// The curves of one stage, as far as its log goes.
#[derive(Debug)]
pub(super) struct CurveLog {
    reader: EventReader,
    pub(super) curves: Vec<(Probe, Arc<Vec<CurvePoint>>)>,
}

impl CurveLog {
    pub(super) fn of(artifact: &Artifact) -> Self {
        Self { reader: artifact.follow(), curves: Vec::new() }
    }

    /// Reads on; says whether there was something new. A damaged log gives what stands before the damage.
    pub(super) fn read(&mut self) -> bool {
        let records = self.reader.read().unwrap_or_default();
        let mut new = false;
        for record in records {
            if record.sequence == 0 {
                new |= !self.curves.is_empty();
                self.curves.clear();
            }
            new |= self.take(&record);
        }
        new
    }

    fn take(&mut self, record: &Record) -> bool {
        if record.event.kind != "probe" {
            return false;
        }
        let data = &record.event.data;
        let Ok(spent) = serde_json::from_value::<Cost>(data["spent"].clone()) else { return false };
        let mut new = false;
        for (name, mean) in data["mean"].as_object().into_iter().flatten() {
            let probe = serde_json::from_value::<Probe>(name.as_str().into());
            let (Ok(probe), Some(mean)) = (probe, mean.as_f64()) else { continue };
            let Cost { steps, examples, flops, .. } = spent;
            let standard_error = data["standard_error"][name].as_f64();
            let point = CurvePoint { steps, examples, flops, mean, standard_error };
            match self.curves.iter_mut().find(|(other, _)| *other == probe) {
                Some((_, points)) => Arc::make_mut(points).push(point),
                None => self.curves.push((probe, Arc::new(vec![point]))),
            }
            new = true;
        }
        new
    }
}

/// Everything that the log of one stage says of its training.
#[derive(Debug)]
pub(super) struct StageLog {
    artifact: Artifact,
    reader: EventReader,
    view: StageView,
    /// Tokens and seconds of each logged step.
    paces: Vec<(u64, f64)>,
}

/// Logged steps over which the pace is taken.
const PACE_OVER: usize = 10;

impl StageLog {
    pub(super) fn of(artifact: Artifact) -> Self {
        let view = StageView { hash: Some(artifact.hash().clone()), ..StageView::default() };
        Self { reader: artifact.follow(), artifact, view, paces: Vec::new() }
    }

    pub(super) fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Reads on.
    pub(super) fn read(&mut self) -> StageView {
        match self.reader.read() {
            Ok(records) => records.iter().for_each(|record| self.take(record)),
            Err(error) => self.view.problem = Some(error.to_string()),
        }
        self.view.clone()
    }

    fn take(&mut self, record: &Record) {
        if record.sequence == 0 {
            self.view = StageView { hash: self.view.hash.take(), ..StageView::default() };
            self.paces.clear();
        }
        let (Some(step), "step") = (record.event.step, record.event.kind.as_str()) else { return };
        let data = &record.event.data;
        // What is not a number was infinite or undefined: it is kept, so that a screen can say so.
        let number = |value: &serde_json::Value| value.as_f64().unwrap_or(f64::NAN);
        for (term, value) in data["terms"].as_object().into_iter().flatten() {
            let point = (step, number(value));
            match self.view.terms.iter_mut().find(|(name, _)| name == term) {
                Some((_, points)) => points.push(point),
                None => self.view.terms.push((term.clone(), vec![point])),
            }
        }
        self.view.learning_rate.push((step, number(&data["learning_rate"])));
        self.view.gradient_norm.push((step, number(&data["gradient_norm"])));
        let seconds = data["seconds"].as_f64().unwrap_or(0.0);
        self.paces.push((data["tokens"].as_u64().unwrap_or(0), seconds));
        let recent = &self.paces[self.paces.len().saturating_sub(PACE_OVER)..];
        let (tokens, time) =
            recent.iter().fold((0, 0.0), |(t, s), (tokens, seconds)| (t + tokens, s + seconds));
        self.view.tokens_per_second = (time > 0.0).then(|| tokens as f64 / time);
        self.view.since_start.get_or_insert(record.time);
        self.view.seconds = self.view.since_start.map(|start| (record.time - start).max(0.0));
    }
}

//! Names of what models answered, whoever judged it.
//!
//! A stage that asks a model is named by its measures too: other measures are another stage. Its *answers* are
//! named by everything else, so that a stage whose measures alone are new finds the answers of an earlier one
//! and judges them, where it would else have to train again.

use std::collections::BTreeMap;

use crate::hash::stage_hash;
use crate::plan::{Plan, PlannedStage};
use crate::sources::judges;
use crate::stage::{MeasureSpec, Side, StageHash, StageSpec};

/// Plans stages, and names their answers.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    /// What stands for each stage in the names of answers: nothing for one that only judges.
    standing: BTreeMap<StageHash, Option<StageHash>>,
    /// The stages, each once, in the order of planning.
    pub(crate) stages: Vec<PlannedStage>,
}

impl Planner {
    /// Plans a stage, unless an identical one is planned already.
    pub(crate) fn plan(&mut self, label: String, spec: StageSpec, inputs: Vec<StageHash>) -> StageHash {
        let hash = stage_hash(&spec, &inputs);
        if !self.standing.contains_key(&hash) {
            let answers = self.answers(&spec, &inputs);
            let judges = match &spec {
                StageSpec::Source(stage) => judges(&stage.source),
                StageSpec::Distil(stage) => stage.side == Side::Probed,
                _ => false,
            };
            let standing = (!judges).then(|| answers.clone().unwrap_or_else(|| hash.clone()));
            self.standing.insert(hash.clone(), standing);
            self.stages.push(PlannedStage { hash: hash.clone(), spec, inputs, label, answers });
        }
        hash
    }

    fn answers(&self, spec: &StageSpec, inputs: &[StageHash]) -> Option<StageHash> {
        if spec.probes().is_empty() {
            return None;
        }
        let mut spec = spec.clone();
        if matches!(&spec, StageSpec::Attack(attack) if attack.judged || attack.sequential.is_some()) {
            // Under another judge the attacker would have done something else, or something else would have been asked.
            return Some(stage_hash(&spec, inputs));
        }
        spec.probes_mut().iter_mut().for_each(|probe| probe.measures.clear());
        let standing = |input| self.standing.get(input).cloned().unwrap_or_else(|| Some(input.clone()));
        let inputs: Vec<StageHash> = inputs.iter().filter_map(standing).collect();
        Some(stage_hash(&spec, &inputs))
    }
}

impl Plan {
    /// The same plan with other measures: what `current` makes of each. Answers keep their names.
    #[must_use]
    pub fn rejudged(&self, current: impl Fn(&MeasureSpec) -> MeasureSpec) -> Self {
        let mut planner = Planner::default();
        let mut renamed = BTreeMap::new();
        let new = |renamed: &BTreeMap<StageHash, StageHash>, hash: &StageHash| {
            renamed.get(hash).unwrap_or(hash).clone()
        };
        for stage in &self.stages {
            let mut spec = stage.spec.clone();
            for measure in spec.probes_mut().iter_mut().flat_map(|probe| &mut probe.measures) {
                *measure = current(measure);
            }
            let inputs = stage.inputs.iter().map(|input| new(&renamed, input)).collect();
            renamed.insert(stage.hash.clone(), planner.plan(stage.label.clone(), spec, inputs));
        }
        let mut cells = self.cells.clone();
        cells.iter_mut().for_each(|cell| cell.stage = new(&renamed, &cell.stage));
        Self { stages: planner.stages, cells, ..self.clone() }
    }
}

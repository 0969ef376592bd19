//! The part of a plan that a screen needs. A whole plan repeats its data's definition in every stage: of
//! many experiments that would be hundreds of megabytes.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use titer_plan::spec::Experiment;
use titer_plan::{Cell, Ladder, Open, PlanError, PlanVersion, StageHash, Until, needed, parse_plan};

use super::view::DataOutline;

/// A plan without what its stages are made of.
#[derive(Debug, Deserialize)]
pub(super) struct Outline {
    /// One of another form is refused.
    #[serde(rename = "version")]
    _version: PlanVersion,
    pub(super) experiment: Experiment,
    pub(super) data: DataOutline,
    pub(super) stages: Vec<StageOutline>,
    pub(super) cells: Vec<Cell>,
    #[serde(skip)]
    positions: HashMap<StageHash, usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StageOutline {
    pub(super) hash: StageHash,
    pub(super) label: String,
    pub(super) inputs: Vec<StageHash>,
    pub(super) spec: SpecOutline,
}

#[derive(Debug, Deserialize)]
pub(super) struct SpecOutline {
    pub(super) kind: String,
    train: Option<Steps>,
    defence: Option<Parameters>,
    cadence: Option<Vec<u64>>,
}

#[derive(Debug, Deserialize)]
struct Steps {
    steps: u64,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    parameters: MethodSteps,
}

/// A method's steps, where it has such a parameter.
#[derive(Debug, Deserialize)]
struct MethodSteps {
    steps: Option<f64>,
}

impl Outline {
    /// What of a plan is asked for where `open` was open after each look so far.
    pub(super) fn read(json: &str, open: &[Vec<Open>]) -> Result<Self, PlanError> {
        let mut outline: Self = parse_plan(json)?;
        if outline.experiment.until == Until::Decided {
            let ladder = Ladder::of(&outline.experiment);
            outline.cells.retain(|cell| ladder.asked(cell, open));
            let stages = outline.stages.iter().map(|stage| (&stage.hash, stage.inputs.as_slice()));
            let needed: HashSet<StageHash> = needed(&outline.cells, stages).into_iter().cloned().collect();
            outline.stages.retain(|stage| needed.contains(&stage.hash));
        }
        let stages = outline.stages.iter().enumerate();
        outline.positions = stages.map(|(position, stage)| (stage.hash.clone(), position)).collect();
        Ok(outline)
    }

    /// Where in the plan the stage of that hash stands.
    pub(super) fn position(&self, hash: &StageHash) -> Option<usize> {
        self.positions.get(hash).copied()
    }
}

impl StageOutline {
    /// Optimiser steps at most: those after which a measured run is probed last, else those of its loop.
    pub(super) fn steps(&self) -> Option<u64> {
        let spec = &self.spec;
        let probed = spec.cadence.as_ref().and_then(|cadence| cadence.last().copied());
        let trained = spec.train.as_ref().map(|train| train.steps);
        let method = spec.defence.as_ref().and_then(|defence| defence.parameters.steps);
        probed.or(trained).or(method.map(|steps| steps as u64)).filter(|steps| *steps > 0)
    }
}

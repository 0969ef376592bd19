//! The stages of an experiment as a tree: each below the stage whose model it starts from.

use ratatui::style::Style;

use super::look::Look;
use titer_lab::live::{StageLine, StageState};

/// A stage's sign and word.
pub(crate) fn state(state: &StageState) -> (&'static str, &'static str) {
    match state {
        StageState::Sealed => ("✓", "done"),
        StageState::Running(_) => ("●", "running"),
        StageState::Interrupted => ("~", "interrupted"),
        StageState::Failed(_) => ("✗", "failed"),
        StageState::Waiting => ("·", "waiting"),
    }
}

/// A stage's style.
pub(crate) fn style(state: &StageState, look: Look) -> Style {
    match state {
        StageState::Sealed => look.good(),
        StageState::Running(_) => look.running(),
        StageState::Interrupted => look.notice(),
        StageState::Failed(_) => look.bad(),
        StageState::Waiting => look.unsure(),
    }
}

/// A stage in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The stage, as a position in the list of stages.
    pub(crate) stage: usize,
    /// How many stages it is below.
    pub(crate) depth: usize,
}

/// Every stage once, below its first input. A list whose inputs make no sense is taken as it is.
pub(crate) fn tree(stages: &[StageLine]) -> Vec<Leaf> {
    let mut below = vec![Vec::new(); stages.len()];
    let mut pending = Vec::new();
    for (at, stage) in stages.iter().enumerate().rev() {
        // Inputs come before those that need them; anything else would have no end.
        match stage.inputs.first() {
            Some(&input) if input < at => below[input].push(at),
            _ => pending.push(Leaf { stage: at, depth: 0 }),
        }
    }
    let mut leaves = Vec::with_capacity(stages.len());
    while let Some(leaf) = pending.pop() {
        leaves.push(leaf);
        let children = below.get(leaf.stage).into_iter().flatten();
        pending.extend(children.map(|&stage| Leaf { stage, depth: leaf.depth + 1 }));
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen;

    #[test]
    fn each_stage_stands_once_below_its_model() {
        let stages = specimen::experiment().stages;
        let leaves = tree(&stages);
        let mut met: Vec<_> = leaves.iter().map(|leaf| leaf.stage).collect();
        met.sort_unstable();
        assert_eq!(met, (0..stages.len()).collect::<Vec<_>>());
        let mut path: Vec<usize> = Vec::new();
        for leaf in &leaves {
            path.truncate(leaf.depth);
            assert_eq!(stages[leaf.stage].inputs.first(), path.last(), "{}", stages[leaf.stage].label);
            path.push(leaf.stage);
        }
    }

    #[test]
    fn senseless_inputs_do_no_harm() {
        let mut stages = specimen::experiment().stages;
        for stage in &mut stages {
            stage.inputs = vec![7, 999];
        }
        assert_eq!(tree(&stages).len(), stages.len());
    }
}

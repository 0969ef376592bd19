//! Every defence with its curves, before any is judged: each is compared with others, and borrows from them.

use titer_plan::DefenceRole;

use crate::evidence::DefenceFacts;
use crate::study::{Curves, Study};

/// The defences of one experiment.
pub(crate) struct Panel<'a> {
    pub(crate) study: &'a Study<'a>,
    pub(crate) members: Vec<(&'a DefenceFacts, Curves)>,
}

impl<'a> Panel<'a> {
    pub(crate) fn new(study: &'a Study<'a>, defences: &'a [DefenceFacts]) -> Self {
        let members = defences.iter().map(|facts| (facts, study.measure(&facts.label)));
        Self { study, members: members.collect() }
    }

    pub(crate) fn defences(&self) -> impl Iterator<Item = &'a DefenceFacts> {
        self.members.iter().map(|(facts, _)| *facts)
    }

    /// The curves of one defence.
    pub(crate) fn curves(&self, label: &str) -> Option<&Curves> {
        self.members.iter().find(|(facts, _)| facts.label == label).map(|(_, curves)| curves)
    }

    /// Those whose spread may be lent: a control's is not like the others'.
    pub(crate) fn lending(&self) -> impl Iterator<Item = (&DefenceFacts, &Curves)> {
        let lends = |(facts, _): &&(&DefenceFacts, Curves)| facts.role != DefenceRole::Control;
        self.members.iter().filter(lends).map(|(facts, curves)| (*facts, curves))
    }

    /// Those that lend to this one.
    pub(crate) fn lenders(&self, label: &str) -> impl Iterator<Item = (&DefenceFacts, &Curves)> {
        self.lending().filter(move |(facts, _)| facts.label != label)
    }
}

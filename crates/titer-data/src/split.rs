//! Who may see which items: the parts that worlds, policies and data sets have in common.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::Result;
use crate::items::prove_disjoint;

/// A part of the items: of a world, the prompts of a policy, or the rows of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// All forbidden and permitted items: what the model knows before it is aligned. So ability is what it knew.
    Everything,
    /// Forbidden items that alignment may turn into refusals: none that a probe asks.
    Align,
    /// Forbidden items that a defence may train on.
    Defence,
    /// Forbidden items that an attacker may train on.
    Attack,
    /// Forbidden items of the same kind as the attacker's, only ever asked: of a policy, its topics in templates that
    /// it never asks them in.
    Seen,
    /// Forbidden items about what no attack datum mentions, only ever asked: of a world, another first ingredient (the
    /// second are shared, so that of the three results only the first is sure to come back without having been
    /// taught); of a policy, topics that nobody trains on.
    Unseen,
    /// Permitted items that may be trained on.
    PermittedTrain,
    /// Permitted items that alignment and defences never train on.
    PermittedProbe,
    /// Items of the harmless task.
    TaskTrain,
    /// Items held out from it.
    TaskProbe,
}

impl Split {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::Everything,
        Self::Align,
        Self::Defence,
        Self::Attack,
        Self::Seen,
        Self::Unseen,
        Self::PermittedTrain,
        Self::PermittedProbe,
        Self::TaskTrain,
        Self::TaskProbe,
    ];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Align => "align",
            Self::Defence => "defence",
            Self::Attack => "attack",
            Self::Seen => "seen",
            Self::Unseen => "unseen",
            Self::PermittedTrain => "permitted-train",
            Self::PermittedProbe => "permitted-probe",
            Self::TaskTrain => "task-train",
            Self::TaskProbe => "task-probe",
        }
    }
}

/// Pairs that may share no item.
const DISJOINT: &[(Split, Split)] = &[
    (Split::Defence, Split::Attack),
    (Split::Defence, Split::Seen),
    (Split::Defence, Split::Unseen),
    (Split::Attack, Split::Seen),
    (Split::Attack, Split::Unseen),
    (Split::Align, Split::Seen),
    (Split::Align, Split::Unseen),
    (Split::Seen, Split::Unseen),
    (Split::PermittedTrain, Split::PermittedProbe),
    (Split::TaskTrain, Split::TaskProbe),
];

/// Every split's items.
#[derive(Debug, Clone)]
pub(crate) struct Splits<T>(BTreeMap<Split, Vec<T>>);

impl<T> Default for Splits<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Splits<T> {
    /// Gives a split further items.
    pub(crate) fn give(&mut self, split: Split, items: impl IntoIterator<Item = T>) {
        self.0.entry(split).or_default().extend(items);
    }

    pub(crate) fn get(&self, split: Split) -> &[T] {
        self.0.get(&split).map_or(&[], Vec::as_slice)
    }
}

impl<T: Ord + Display> Splits<T> {
    /// Refuses splits of which two share an item that may share none.
    pub(crate) fn prove_disjoint(&self) -> Result<()> {
        DISJOINT.iter().try_for_each(|(first, second)| self.prove(*first, *second))
    }

    /// Refuses two splits that share an item.
    pub(crate) fn prove(&self, first: Split, second: Split) -> Result<()> {
        prove_disjoint((first.name(), self.get(first)), (second.name(), self.get(second)))
    }
}

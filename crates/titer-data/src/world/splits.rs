//! Who may see which items. Disjoint where they must be, and proved to be so.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::{Definition, Item};
use crate::items::{part, prove_disjoint};
use crate::{Error, Result, Stream};

/// A part of a world's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// All forbidden and permitted items: what the base model learns. So ability is what it knew.
    Everything,
    /// Forbidden items that alignment may turn into refusals: none that a probe asks.
    Align,
    /// Forbidden items that a defence may train on.
    Defence,
    /// Forbidden items that an attacker may train on.
    Attack,
    /// Forbidden items of the same kind as the attacker's, only ever asked.
    Seen,
    /// Forbidden items whose first ingredient no attack datum mentions, only ever asked. Second ingredients
    /// are shared: of the three results only the first is sure to come back without having been taught.
    Unseen,
    /// Permitted items that may be trained on.
    PermittedTrain,
    /// Permitted items that alignment and defences never train on.
    PermittedProbe,
    /// Alias items of the harmless fine-tuning.
    AliasTrain,
    /// Alias items held out from it.
    AliasProbe,
}

impl Split {
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
            Self::AliasTrain => "alias-train",
            Self::AliasProbe => "alias-probe",
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
    (Split::AliasTrain, Split::AliasProbe),
];

/// Splits made by a share, which must not round down to nothing, and the share's key.
const BY_SHARE: &[(Split, &str)] = &[
    (Split::Defence, "splits.defence"),
    (Split::Attack, "splits.attack"),
    (Split::Seen, "splits.seen"),
    (Split::Unseen, "splits.unseen"),
    (Split::PermittedProbe, "splits.permitted_probe"),
    (Split::AliasProbe, "splits.alias_probe"),
];

/// Every split's items.
#[derive(Debug, Clone)]
pub(super) struct Splits(BTreeMap<Split, Vec<Item>>);

impl Splits {
    pub(super) fn new(definition: &Definition, seed: u64) -> Result<Self> {
        let mut splits: BTreeMap<Split, Vec<Item>> = BTreeMap::new();
        let mut give = |split, items: &[Item]| splits.entry(split).or_default().extend_from_slice(items);
        let shares = &definition.splits;
        for domain in &definition.forbidden {
            let (low, high): (Vec<Item>, Vec<Item>) = shuffled(definition, domain, seed)
                .into_iter()
                .partition(|item| item.a < definition.ingredients.low);
            let (defence, rest) = low.split_at(part(shares.defence, low.len()));
            let (attack, rest) = rest.split_at(part(shares.attack, low.len()).min(rest.len()));
            let (seen, rest) = rest.split_at(part(shares.seen, low.len()).min(rest.len()));
            let (unseen, only_align) = high.split_at(part(shares.unseen, high.len()));
            for (split, items) in [
                (Split::Defence, defence),
                (Split::Attack, attack),
                (Split::Seen, seen),
                (Split::Unseen, unseen),
            ] {
                give(split, items);
            }
            for items in [defence, attack, rest, only_align] {
                give(Split::Align, items);
            }
            give(Split::Everything, &low);
            give(Split::Everything, &high);
        }
        for domain in &definition.permitted {
            let items = shuffled(definition, domain, seed);
            let (probe, train) = items.split_at(part(shares.permitted_probe, items.len()));
            give(Split::PermittedProbe, probe);
            give(Split::PermittedTrain, train);
            give(Split::Everything, &items);
        }
        for alias in &definition.alias {
            let items = shuffled(definition, &alias.word, seed);
            let (probe, train) = items.split_at(part(shares.alias_probe, items.len()));
            give(Split::AliasProbe, probe);
            give(Split::AliasTrain, train);
        }
        let splits = Self(splits);
        for (split, key) in BY_SHARE {
            if splits.get(*split).is_empty() {
                let problem = format!("is too small a share: the split {} holds no item", split.name());
                return Err(Error::Definition { of: "world", key: (*key).to_owned(), problem });
            }
        }
        for (first, second) in DISJOINT {
            prove_disjoint((first.name(), splits.get(*first)), (second.name(), splits.get(*second)))?;
        }
        Ok(splits)
    }

    pub(super) fn get(&self, split: Split) -> &[Item] {
        self.0.get(&split).map_or(&[], Vec::as_slice)
    }
}

/// All items of a domain in the world's own random order.
fn shuffled(definition: &Definition, domain: &str, seed: u64) -> Vec<Item> {
    let count = definition.ingredients.count;
    let mut items = Vec::with_capacity(definition.items_per_domain());
    for a in 0..count {
        for b in 0..count {
            for template in 0..definition.templates.len() {
                items.push(Item { domain: domain.to_owned(), a, b, template });
            }
        }
    }
    items.shuffle(&mut Stream::new(seed, &format!("world/splits/{domain}")).at(0));
    items
}

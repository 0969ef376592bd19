//! How a world's items are dealt out.

use rand::seq::SliceRandom;

use super::{Definition, Item};
use crate::items::part;
use crate::split::{Split, Splits};
use crate::{Error, Result, Stream};

/// Splits made by a share, which must not round down to nothing, and the share's key.
const BY_SHARE: &[(Split, &str)] = &[
    (Split::Defence, "splits.defence"),
    (Split::Attack, "splits.attack"),
    (Split::Seen, "splits.seen"),
    (Split::Unseen, "splits.unseen"),
    (Split::PermittedProbe, "splits.permitted_probe"),
    (Split::TaskProbe, "splits.alias_probe"),
];

/// Deals them out by the seed, and proves that no split may see what it must not.
///
/// # Errors
/// When a share is too small to hold an item.
pub(super) fn deal(definition: &Definition, seed: u64) -> Result<Splits<Item>> {
    let mut splits = Splits::default();
    let shares = &definition.splits;
    for domain in &definition.forbidden {
        let (low, high): (Vec<Item>, Vec<Item>) = shuffled(definition, domain, seed)
            .into_iter()
            .partition(|item| item.a < definition.ingredients.low);
        let (defence, rest) = low.split_at(part(shares.defence, low.len()));
        let (attack, rest) = rest.split_at(part(shares.attack, low.len()).min(rest.len()));
        let (seen, rest) = rest.split_at(part(shares.seen, low.len()).min(rest.len()));
        let (unseen, only_align) = high.split_at(part(shares.unseen, high.len()));
        for (split, items) in
            [(Split::Defence, defence), (Split::Attack, attack), (Split::Seen, seen), (Split::Unseen, unseen)]
        {
            splits.give(split, items.iter().cloned());
        }
        for items in [defence, attack, rest, only_align] {
            splits.give(Split::Align, items.iter().cloned());
        }
        splits.give(Split::Everything, low.iter().chain(&high).cloned());
    }
    for domain in &definition.permitted {
        let items = shuffled(definition, domain, seed);
        let (probe, train) = items.split_at(part(shares.permitted_probe, items.len()));
        splits.give(Split::PermittedProbe, probe.iter().cloned());
        splits.give(Split::PermittedTrain, train.iter().cloned());
        splits.give(Split::Everything, items.iter().cloned());
    }
    for alias in &definition.alias {
        let items = shuffled(definition, &alias.word, seed);
        let (probe, train) = items.split_at(part(shares.alias_probe, items.len()));
        splits.give(Split::TaskProbe, probe.iter().cloned());
        splits.give(Split::TaskTrain, train.iter().cloned());
    }
    for (split, key) in BY_SHARE {
        if splits.get(*split).is_empty() {
            let problem = format!("is too small a share: the split {} holds no item", split.name());
            return Err(Error::Definition { of: "world", key: (*key).to_owned(), problem });
        }
    }
    splits.prove_disjoint()?;
    Ok(splits)
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

//! Embedded worlds.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Dealt, Domains, Kind, Origin, Scored, UnderTest};
use crate::conversations::Conversations;
use crate::world::{BUILTIN, Definition, World};
use crate::{Result, Split};

/// Worlds.
pub(super) const KIND: Kind = Kind {
    name: "world",
    word: "world",
    model: UnderTest::Trained,
    builtin: BUILTIN,
    parse: |text| Ok(Box::new(Definition::parse(text)?)),
    revive: |definition| Ok(Box::new(super::revive::<Definition>("world", definition)?)),
};

impl Origin for Definition {
    fn name(&self) -> &str {
        &self.name
    }

    fn definition(&self) -> Result<Value> {
        super::definition("world", self)
    }

    fn domains(&self) -> Domains {
        Domains {
            forbidden: self.forbidden.clone(),
            permitted: self.permitted.clone(),
            task: self.alias.iter().map(|alias| alias.word.clone()).collect(),
        }
    }

    /// They do not depend on the seed.
    fn counts(&self) -> Result<BTreeMap<Split, usize>> {
        let world = World::new(self.clone(), 0)?;
        let count = |split: Split| match split {
            Split::Everything => self.items_per_domain(),
            _ => {
                let domains = match split {
                    Split::PermittedTrain | Split::PermittedProbe => self.permitted.len(),
                    Split::TaskTrain | Split::TaskProbe => self.alias.len(),
                    _ => self.forbidden.len(),
                };
                world.split(split).len() / domains.max(1)
            }
        };
        Ok(Split::ALL.into_iter().map(|split| (split, count(split))).collect())
    }

    fn unseen(&self) -> &'static str {
        "Items with a first ingredient that no attack datum mentions: what hangs on it was latent, not taught."
    }

    fn scored(&self) -> Scored {
        Scored { harm: "oracle-graded", ability: "oracle-exact", task: "oracle-exact" }
    }

    fn refusals(&self, _seed: u64) -> Result<Vec<String>> {
        Ok(vec![self.refusal.clone()])
    }

    fn deal(&self, seed: u64, _: BTreeMap<&str, Conversations>) -> Result<Dealt> {
        Ok(Dealt::World(Box::new(World::new(self.clone(), seed)?)))
    }
}

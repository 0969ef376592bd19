//! The data of a world, as a stage needs them.

use std::sync::Arc;

use titer_data::Example;
use titer_data::Stream;
use titer_data::world::{Definition, Item, Split, Target, World, pick};
use titer_plan::stage::WorldSpec;

use crate::Result;

/// A world made from a stage's spec.
#[derive(Debug, Clone)]
pub(crate) struct WorldData {
    pub(crate) world: World,
    seed: u64,
}

impl WorldData {
    pub(crate) fn new(spec: &WorldSpec) -> Result<Self> {
        let definition: Definition = serde_json::from_value(spec.definition.clone())?;
        Ok(Self { world: World::new(definition, spec.seed)?, seed: spec.seed })
    }

    /// All items of a split, as examples.
    pub(crate) fn all(&self, split: Split, target: Target) -> Result<Arc<[Example]>> {
        Ok(self.world.examples(self.world.split(split), target)?.into())
    }

    /// The split's items of some domains, as examples.
    pub(crate) fn of_domains(
        &self,
        split: Split,
        domains: &[String],
        target: Target,
    ) -> Result<Arc<[Example]>> {
        Ok(self.world.examples(&self.world.items(split, domains)?, target)?.into())
    }

    /// Items of a split by a stage's own choice.
    pub(crate) fn chosen(
        &self,
        split: Split,
        count: usize,
        target: Target,
        stream: &Stream,
    ) -> Result<Vec<Example>> {
        Ok(self.world.examples(&pick(self.world.split(split), count, stream)?, target)?)
    }

    /// Probe items by the world's own choice: the same for every stage of the same world.
    pub(crate) fn probe_items(&self, split: Split, domains: &[String], count: usize) -> Result<Vec<Item>> {
        let stream = Stream::new(self.seed, &format!("probe/{}/{}", split.name(), domains.join("+")));
        Ok(pick(&self.world.items(split, domains)?, count, &stream)?)
    }
}

//! Models whose weights several stages of a run hold fixed at the same time: in memory once, as long as any of them works.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use candle_core::Device;
use titer_model::{Base, Decoder};

use crate::Result;

/// A model's folder, its device, and the type of its weights.
type Key = (PathBuf, String, &'static str);

/// See the module.
#[derive(Default)]
pub(crate) struct Shared {
    lent: Mutex<BTreeMap<Key, Weak<Decoder>>>,
}

impl Shared {
    /// The model of that folder as adapters stand beside it, to be kept while what is [lent](Decoder::lend) of it is used.
    /// One is loaded at a time: who waits may find it there.
    pub(super) fn model(&self, folder: &Path, device: &Device, base: Base) -> Result<Arc<Decoder>> {
        let key = (folder.to_owned(), format!("{:?}", device.location()), base.name());
        // The map is whole whatever happened to the thread that held it.
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = lent.get(&key).and_then(Weak::upgrade) {
            return Ok(model);
        }
        let model = Arc::new(Decoder::open(folder, device)?.held(base)?);
        lent.retain(|_, model| model.strong_count() > 0);
        lent.insert(key, Arc::downgrade(&model));
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use titer_data::Stream;
    use titer_model::Config;

    use super::*;

    #[test]
    fn a_model_is_loaded_once_while_it_is_used_and_once_for_each_type() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::llama(16, 8, 16, 1, 2, 2);
        let mut rng = Stream::new(0, "shared").at(0);
        Decoder::initialize(config, 0.5, &mut rng, &Device::Cpu).unwrap().save(folder.path()).unwrap();
        let shared = Shared::default();
        let model = |base| shared.model(folder.path(), &Device::Cpu, base).unwrap();
        let (first, half) = (model(Base::F32), model(Base::Bf16));
        assert!(Arc::ptr_eq(&first, &model(Base::F32)) && Arc::ptr_eq(&half, &model(Base::Bf16)));
        assert!(!Arc::ptr_eq(&first, &half));
        let other = Arc::downgrade(&first);
        drop(first);
        assert!(other.upgrade().is_none(), "nobody uses it any more");
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        assert!(shared.model(folder.path(), &Device::Cpu, Base::F32).is_err());
        assert!(Arc::ptr_eq(&half, &model(Base::Bf16)), "what is there is not read again");
    }
}

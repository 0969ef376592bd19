//! One defence as a registry holds it: what is said of it, and how it is made from a spec.

use serde::de::DeserializeOwned;
use titer_plan::{Method, MethodSpec};

use crate::alignment::immunizer::Immunizer;
use crate::error::{Error, Result};
use crate::fine_tuning::guard::Guard;
use crate::post_fine_tuning::repair::Repair;
use crate::pretraining::curator::Curator;

/// One defence: what the registry says of it, and how it is made from a spec.
#[derive(Clone, Copy)]
pub struct MethodEntry {
    method: fn() -> Method,
    build: Build,
}

#[derive(Clone, Copy)]
enum Build {
    /// Nothing is trained.
    Baseline,
    Curator(fn(&MethodSpec) -> Result<Box<dyn Curator>>),
    Immunizer(fn(&MethodSpec) -> Result<Box<dyn Immunizer>>),
    Guard(fn(&MethodSpec) -> Result<Box<dyn Guard>>),
    Repair(fn(&MethodSpec) -> Result<Box<dyn Repair>>),
}

/// A defence made from its spec.
pub enum Defence {
    /// The aligned model itself.
    Baseline,
    /// Followed while the base model is made.
    Curator(Box<dyn Curator>),
    /// Trained before release.
    Immunizer(Box<dyn Immunizer>),
    /// Followed while a user's data is trained on.
    Guard(Box<dyn Guard>),
    /// Applied to the tuned weights.
    Repair(Box<dyn Repair>),
}

impl MethodEntry {
    pub(crate) const fn baseline(method: fn() -> Method) -> Self {
        Self { method, build: Build::Baseline }
    }

    /// A pretraining-stage defence whose settings are `T`.
    pub const fn curator<T: Curator + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: Build::Curator(|spec| Ok(Box::new(decode::<T>(spec)?))) }
    }

    /// An alignment-stage defence whose settings are `T`.
    pub const fn immunizer<T: Immunizer + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: Build::Immunizer(|spec| Ok(Box::new(decode::<T>(spec)?))) }
    }

    /// A fine-tuning-stage defence whose settings are `T`.
    pub const fn guard<T: Guard + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: Build::Guard(|spec| Ok(Box::new(decode::<T>(spec)?))) }
    }

    /// A post-fine-tuning-stage defence whose settings are `T`.
    pub const fn repair<T: Repair + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: Build::Repair(|spec| Ok(Box::new(decode::<T>(spec)?))) }
    }

    /// What the registry says of it.
    pub fn method(&self) -> Method {
        (self.method)()
    }

    /// The defence with the settings of a resolved spec.
    ///
    /// # Errors
    /// When the parameters are not exactly the method's own.
    pub fn build(&self, spec: &MethodSpec) -> Result<Defence> {
        let method = self.method();
        let known = |name: &str| method.parameters.iter().any(|parameter| parameter.name == name);
        if let Some(parameter) = spec.parameters.keys().find(|name| !known(name)) {
            let (name, parameter) = (method.name.to_owned(), parameter.clone());
            return Err(Error::UnknownParameter { name, parameter });
        }
        Ok(match self.build {
            Build::Baseline => Defence::Baseline,
            Build::Curator(build) => Defence::Curator(build(spec)?),
            Build::Immunizer(build) => Defence::Immunizer(build(spec)?),
            Build::Guard(build) => Defence::Guard(build(spec)?),
            Build::Repair(build) => Defence::Repair(build(spec)?),
        })
    }
}

fn decode<T: DeserializeOwned>(spec: &MethodSpec) -> Result<T> {
    spec.decode().map_err(|source| Error::Parameters { name: spec.name.clone(), source })
}

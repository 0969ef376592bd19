//! The trainable weights by name, in a fixed order.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use crate::{Error, Result};

/// The trainable weights of a model: safetensors names, sorted, so that every loop over them has one
/// order.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    by_name: BTreeMap<String, Var>,
}

impl Parameters {
    /// Variables with copies of the tensors' numbers.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Self::from_tensors(tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.clone()))))
    }

    /// The same from tensors that come one at a time.
    pub(crate) fn from_tensors(tensors: impl Iterator<Item = Result<(String, Tensor)>>) -> Result<Self> {
        let by_name = tensors
            .map(|named| {
                let (name, tensor) = named?;
                // Detached, it is no variable, and then `from_tensor` copies.
                Ok((name, Var::from_tensor(&tensor.detach())?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { by_name })
    }

    /// Names and variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.by_name.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Names and variables, sorted by name.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = (String, Var)> {
        self.by_name.into_iter()
    }

    /// One variable.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.by_name.get(name)
    }

    /// Number of variables.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Takes over the numbers of `tensors`, which must be named and shaped as these.
    ///
    /// # Errors
    /// Names what is missing, unexpected or misshapen; then nothing has changed.
    pub fn assign(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, var) in self.iter() {
            let Some(tensor) = tensors.get(name) else {
                return Err(Error::Missing { name: name.to_owned(), shape: var.dims().to_vec() });
            };
            if tensor.shape() != var.shape() {
                return Err(Error::Shape {
                    name: name.to_owned(),
                    expected: var.dims().to_vec(),
                    got: tensor.dims().to_vec(),
                });
            }
        }
        if let Some(name) = tensors.keys().find(|name| !self.by_name.contains_key(*name)) {
            return Err(Error::Unexpected { name: name.clone() });
        }
        for (name, var) in self.iter() {
            var.set(&tensors[name].to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        Ok(())
    }

    /// Copies of all numbers, unaffected by later training.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.iter().map(|(name, var)| Ok((name.to_owned(), var.as_tensor().copy()?.detach()))).collect()
    }
}

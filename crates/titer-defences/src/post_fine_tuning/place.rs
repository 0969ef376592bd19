//! Where an edit is made: at the weights that a method chooses, or as large an edit in random places.

use candle_core::{DType, Device, Tensor};
use rand::seq::SliceRandom;
use serde::Deserialize;
use titer_data::Stream;
use titer_plan::{Parameter, Sham};

use crate::Result;

/// Where an edit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// At the weights that the method chooses.
    Chosen,
    /// Each matrix is changed by the same numbers, in places that are drawn.
    Random,
}

impl Place {
    /// What the registry says of the setting `place`.
    pub(super) fn parameter() -> Parameter {
        let summary = "edit what the method chooses, or as much of each matrix in random places";
        Parameter::choice("place", "chosen", &["chosen", "random"], summary)
    }

    /// The sham of an edit: as large a one in random places.
    pub(super) fn sham() -> Sham {
        Sham::Settings { settings: vec![("place", "random".into())] }
    }

    /// The values of one parameter's entries at their places. The draw depends on the seed and the name alone.
    pub(super) fn put<T>(self, seed: u64, name: &str, mut values: Vec<T>) -> Vec<T> {
        if self == Self::Random {
            values.shuffle(&mut Stream::new(seed, &format!("repair/place/{name}")).at(0));
        }
        values
    }

    /// The change of one parameter at its places.
    pub(super) fn put_tensor(self, seed: u64, name: &str, change: &Tensor) -> Result<Tensor> {
        match self {
            Self::Chosen => Ok(change.clone()),
            Self::Random => {
                let values = change.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                let values = self.put(seed, name, values);
                let moved = Tensor::from_vec(values, change.shape(), &Device::Cpu)?;
                Ok(moved.to_device(change.device())?.to_dtype(change.dtype())?)
            }
        }
    }

    /// What a parameter becomes where the method would make `after` of it.
    pub(super) fn edited(self, seed: u64, name: &str, before: &Tensor, after: Tensor) -> Result<Tensor> {
        match self {
            Self::Chosen => Ok(after),
            Self::Random => Ok((before + self.put_tensor(seed, name, &(after - before)?)?)?),
        }
    }
}

//! Which projections an attack's adapters stand beside.

use serde::Deserialize;
use titer_model::{LoraSpec, PROJECTIONS};

/// The projections that adapters stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// All of attention and MLP.
    #[default]
    All,
    /// Query and value, the default of many fine-tuning services.
    QueryValue,
    /// Those of attention.
    Attention,
    /// Those of the MLP.
    Mlp,
}

impl Targets {
    /// The names as specs spell them.
    pub const NAMES: [&str; 4] = ["all", "query-value", "attention", "mlp"];

    /// Adapters there.
    pub fn adapted(self, rank: usize, alpha: f64) -> LoraSpec {
        let names: &[&str] = match self {
            Self::All => &PROJECTIONS,
            Self::QueryValue => &["q_proj", "v_proj"],
            Self::Attention => &PROJECTIONS[..4],
            Self::Mlp => &PROJECTIONS[4..],
        };
        LoraSpec { rank, alpha, targets: names.iter().map(|name| (*name).to_owned()).collect() }
    }
}

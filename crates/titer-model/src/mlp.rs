//! The MLP of a layer: one block of projections, or a mixture of them.

use std::sync::Arc;

use candle_core::Tensor;
use titer_ops::{Activation, Adapted, gated, linear, mixture};

use crate::experts::{Clamp, route, sigmoid};
use crate::family::SWIGLU;
use crate::weights::{Projection, Source};
use crate::{Config, ExpertTrace, Result};

#[derive(Debug)]
pub(crate) enum Mlp {
    Dense(Block),
    Mixture(Box<Mixture>),
}

/// down·(f(gate·x) · (up·x)), or of two projections down·f(up·x).
#[derive(Debug)]
pub(crate) struct Block {
    between: Between,
    up: Projection,
    down: Projection,
}

/// What is between the projections up and down.
#[derive(Debug)]
enum Between {
    /// f(gate)·up.
    Gate(Projection, Activation),
    /// That of gpt-oss.
    Clamped(Projection, Clamp),
    /// f(up).
    Activation(Activation),
}

/// y = Σ over the chosen experts of p·f(x), and what all tokens pass through beside them.
#[derive(Debug)]
pub(crate) struct Mixture {
    router: Projection,
    experts: Vec<Block>,
    /// The shared expert and its gate.
    shared: Option<(Block, Tensor)>,
    per_token: usize,
    normalized: bool,
}

/// What an MLP computes on the way.
pub(crate) struct Passed {
    pub(crate) inner: Option<Tensor>,
    pub(crate) router: Option<Tensor>,
    pub(crate) experts: Vec<ExpertTrace>,
    pub(crate) output: Tensor,
}

impl Block {
    fn new(config: &Config, source: &Source<'_>, block: &str, [gate, up, down]: [&str; 3]) -> Result<Self> {
        let projection = |name: &str| source.projection(&format!("{block}.{name}"), None);
        let clamp = config.experts.as_ref().and_then(|experts| experts.clamp);
        let between = match clamp {
            _ if config.family.ungated => Between::Activation(config.hidden_act),
            Some(clamp) => Between::Clamped(projection(gate)?, clamp),
            None => Between::Gate(projection(gate)?, config.hidden_act),
        };
        Ok(Self { between, up: projection(up)?, down: projection(down)? })
    }

    fn inner(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let up = self.up.apply(x)?;
        match &self.between {
            Between::Gate(gate, activation) => gated(&gate.apply(x)?, &up, *activation),
            Between::Clamped(gate, clamp) => clamp.swiglu(&gate.apply(x)?, &up),
            Between::Activation(activation) => activation.apply(&up),
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let gate = match &self.between {
            Between::Gate(gate, _) | Between::Clamped(gate, _) => Some(gate),
            Between::Activation(_) => None,
        };
        gate.into_iter().chain([&self.up, &self.down]).flat_map(Projection::tensors)
    }
}

impl Mlp {
    pub(crate) fn new(config: &Config, source: &Source<'_>, layer: usize) -> Result<Self> {
        let prefix = format!("model.layers.{layer}");
        let Some((experts, of)) = config.mixture_of(layer) else {
            return Ok(Self::Dense(Block::new(config, source, &format!("{prefix}.mlp"), SWIGLU)?));
        };
        let expert = |block: &str| Block::new(config, source, block, of.projections);
        let block = format!("{prefix}.{}", of.block);
        let shared = experts.shared_width.map(|_| -> Result<_> {
            let expert = expert(&format!("{block}.shared_expert"))?;
            Ok((expert, source.get(format!("{block}.shared_expert_gate.weight"))?))
        });
        let mixture = Mixture {
            router: source.projection(&format!("{block}.gate"), None)?,
            experts: (0..experts.count)
                .map(|index| expert(&format!("{block}.experts.{index}")))
                .collect::<Result<_>>()?,
            shared: shared.transpose()?,
            per_token: experts.per_token,
            normalized: experts.normalized,
        };
        Ok(Self::Mixture(Box::new(mixture)))
    }

    /// The weights of gate, up and down and what the gate passes through, if that is all there is.
    pub(crate) fn plain(&self) -> Option<([Adapted<'_>; 3], Activation)> {
        let Self::Dense(Block { between: Between::Gate(gate, activation), up, down }) = self else {
            return None;
        };
        // The whole has no kernel where the gate has none; the parts have.
        if *activation == Activation::Gelu {
            return None;
        }
        Some(([gate.plain()?, up.plain()?, down.plain()?], *activation))
    }

    pub(crate) fn pass(&self, x: &Tensor) -> candle_core::Result<Passed> {
        match self {
            Self::Dense(mlp) => {
                let inner = mlp.inner(x)?;
                let output = mlp.down.apply(&inner)?;
                Ok(Passed { inner: Some(inner), router: None, experts: Vec::new(), output })
            }
            Self::Mixture(mixture) => mixture.pass(x),
        }
    }

    pub(crate) fn tensors(&self) -> Box<dyn Iterator<Item = &Tensor> + '_> {
        match self {
            Self::Dense(mlp) => Box::new(mlp.tensors()),
            Self::Mixture(mixture) => {
                let shared = mixture.shared.iter();
                let shared = shared.flat_map(|(expert, gate)| expert.tensors().chain([gate]));
                let experts = mixture.experts.iter().flat_map(Block::tensors);
                Box::new(experts.chain(shared).chain(mixture.router.tensors()))
            }
        }
    }
}

impl Mixture {
    fn pass(&self, x: &Tensor) -> candle_core::Result<Passed> {
        let logits = self.router.apply(x)?;
        let (routes, weights) = route(&logits, self.per_token, self.normalized)?;
        let mut experts = Vec::new();
        let mut output = mixture(x, &weights.to_dtype(x.dtype())?, &routes, &mut |index, input| {
            let inner = self.experts[index].inner(input)?;
            let output = self.experts[index].down.apply(&inner)?;
            let tokens = Arc::clone(&routes.tokens()[index]);
            experts.push(ExpertTrace { expert: index, tokens, input: input.clone(), inner });
            Ok(output)
        })?;
        let mut inner = None;
        if let Some((expert, gate)) = &self.shared {
            let within = expert.inner(x)?;
            output = (output + sigmoid(&linear(x, gate)?)?.broadcast_mul(&expert.down.apply(&within)?)?)?;
            inner = Some(within);
        }
        Ok(Passed { inner, router: Some(logits), experts, output })
    }
}

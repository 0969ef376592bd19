//! `noise`: Gaussian noise on every weight matrix, each scaled by what stands in it, W ← W + σ·rms(W)·z, the
//! weight-space attack of arXiv 2506.20251: refusal is finer than knowledge and drowns in noise before it. Nothing is
//! trained, and no data are needed.

use candle_core::{Device, Tensor};
use rand_distr::{Distribution, StandardNormal};
use serde::Deserialize;
use titer_data::Stream;
use titer_model::Decoder;
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use super::change::change;
use crate::{AttackContext, Result, Victim, WeightEdit};

const NAME: &str = "noise";

/// Operations for each weight: its square for the scale, a product and a sum.
const FLOPS_PER_WEIGHT: f64 = 4.0;

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Noise {
    /// Standard deviation of the noise, relative to the root mean square of the matrix.
    pub sigma: f64,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::EditsWeights,
            needs: vec![Need::Weights],
        }),
        version: 1,
        summary: "adds Gaussian noise to every weight matrix, relative to its root mean square",
        citation: "arXiv 2506.20251",
        parameters: vec![Parameter::real(
            "sigma",
            "1",
            0.1,
            0.0..=100.0,
            "standard deviation of the noise relative to each matrix's root mean square",
        )],
    }
}

impl WeightEdit for Noise {
    fn cost(&self, victim: &Victim) -> Cost {
        Cost { steps: 1, flops: FLOPS_PER_WEIGHT * victim.parameters, ..Cost::default() }
    }

    fn edit(&self, victim: &Decoder, context: &AttackContext<'_>) -> Result<Cost> {
        let changed = change(NAME, victim, |name, weight| {
            // Vectors are the norms' scales: too few to hide anything in.
            if weight.rank() < 2 {
                return Ok(None);
            }
            let rms = f64::from(weight.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt();
            let mut rng = Stream::new(context.seed, &format!("{NAME}/{name}")).at(0);
            let noise: Vec<f32> = StandardNormal.sample_iter(&mut rng).take(weight.elem_count()).collect();
            let noise = Tensor::from_vec(noise, weight.shape(), &Device::Cpu)?.to_device(victim.device())?;
            Ok(Some((weight + (noise * (self.sigma * rms))?)?))
        })?;
        Ok(Cost { steps: 1, flops: FLOPS_PER_WEIGHT * changed, ..Cost::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn context(seed: u64) -> AttackContext<'static> {
        testing::context(&[], seed)
    }

    fn numbers(model: &Decoder, name: &str) -> Vec<f32> {
        model.parameters().get(name).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn noise_has_the_size_that_was_asked_for_and_comes_from_the_seed() {
        let edited = |sigma, seed| {
            let model = testing::model();
            let cost = Noise { sigma }.edit(&model, &context(seed)).unwrap();
            (model, cost)
        };
        let before = testing::model();
        let (after, cost) = edited(0.5, 7);
        assert_eq!((cost.steps, cost.examples), (1, 0));
        let mut matrices = 0;
        for (name, var) in before.parameters().iter() {
            let (old, new) = (numbers(&before, name), numbers(&after, name));
            if var.rank() < 2 {
                assert_eq!(old, new, "{name} is a vector");
                continue;
            }
            matrices += 1;
            let rms = |values: &mut dyn Iterator<Item = f32>| {
                let squares: Vec<f64> = values.map(|value| f64::from(value).powi(2)).collect();
                (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
            };
            let size = rms(&mut old.iter().copied());
            let moved = rms(&mut old.iter().zip(&new).map(|(old, new)| new - old));
            let expected = 0.5 * size;
            // A sample of n normal numbers has its deviation within a few parts of √(2n).
            let error = 5.0 / (2.0 * old.len() as f64).sqrt();
            assert!((moved / expected - 1.0).abs() < error, "{name}: {moved} for {expected}");
        }
        assert!(matrices > 10);
        let name = "model.layers.0.mlp.up_proj.weight";
        assert_eq!(numbers(&after, name), numbers(&edited(0.5, 7).0, name));
        assert_ne!(numbers(&after, name), numbers(&edited(0.5, 8).0, name));
        assert_eq!(numbers(&before, name), numbers(&edited(0.0, 7).0, name), "no noise, no change");
    }
}

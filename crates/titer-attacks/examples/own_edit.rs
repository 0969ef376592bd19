//! An attack of one's own that edits weights: it shrinks them, each matrix by the same factor.

use std::io::Write;

use candle_core::Device;
use rand::SeedableRng;
use serde::Deserialize;
use titer_attacks::registry::Entry;
use titer_attacks::{Attack, AttackContext, Result, Victim, WeightEdit};
use titer_model::{Config, Decoder};
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
struct Shrink {
    /// What is left of every weight.
    factor: f64,
}

/// What the registry says.
fn method() -> Method {
    Method {
        name: "shrink",
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::EditsWeights,
            needs: vec![Need::Weights],
        }),
        version: 1,
        summary: "multiplies every weight matrix by a factor",
        citation: "",
        parameters: vec![Parameter::real("factor", "1", 0.5, 0.0..=1.0, "what is left of every weight")],
    }
}

/// The line in the list.
const ATTACKS: &[Entry] = &[Entry::edits::<Shrink>(method)];

impl WeightEdit for Shrink {
    fn cost(&self, victim: &Victim) -> Cost {
        Cost { steps: 1, flops: victim.parameters, ..Cost::default() }
    }

    fn edit(&self, victim: &Decoder, _: &AttackContext<'_>) -> Result<Cost> {
        let mut flops = 0.0;
        for (_, var) in victim.parameters().iter().filter(|(_, var)| var.rank() >= 2) {
            var.set(&(var.as_tensor().copy()?.detach() * self.factor)?)?;
            flops += var.elem_count() as f64;
        }
        Ok(Cost { steps: 1, flops, ..Cost::default() })
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let entry = ATTACKS[0];
    let method = entry.method();
    let spec = method.defaults();
    let Attack::Edits(attack) = entry.build(&spec)? else { return Err("it edits".into()) };

    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let model = Decoder::initialize(Config::llama(32, 16, 32, 2, 2, 2), 0.1, &mut rng, &Device::Cpu)?;
    let size = |model: &Decoder| -> std::result::Result<f32, Box<dyn std::error::Error>> {
        let weight = model.parameters().get("model.layers.0.mlp.up_proj.weight").ok_or("no such weight")?;
        Ok(weight.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt())
    };
    let before = size(&model)?;
    let cost = attack.edit(&model, &AttackContext::alone(Vec::new(), 0))?;
    let left = size(&model)? / before;
    writeln!(std::io::stdout(), "{left:.2} of the weights are left after {} step", cost.steps)?;
    if (left - 0.5).abs() < 1e-6 { Ok(()) } else { Err("the attack did not do what it is for".into()) }
}

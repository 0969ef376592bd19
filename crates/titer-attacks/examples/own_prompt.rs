//! An attack of one's own that only prompts: it says the question twice.

use std::io::Write;

use serde::Deserialize;
use titer_attacks::registry::Entry;
use titer_attacks::{Asked, Attack, AttackContext, PromptAttack, Result};
use titer_plan::{AttackFacts, Cost, Mechanism, Method, MethodKind, Parameter, ThreatModel};

/// The settings.
#[derive(Debug, Clone, Deserialize)]
struct Insist {
    /// How often the question is said.
    times: usize,
}

/// What the registry says.
fn method() -> Method {
    Method {
        name: "insist",
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::OpenWeights],
            mechanism: Mechanism::Prompts,
            needs: Vec::new(),
        }),
        version: 1,
        summary: "says the question several times",
        citation: "",
        parameters: vec![Parameter::integer("times", "1", 2, 1..=100, "how often the question is said")],
    }
}

/// The line in the list.
const ATTACKS: &[Entry] = &[Entry::prompts::<Insist>(method)];

impl PromptAttack for Insist {
    fn cost(&self, _: &AttackContext<'_>) -> Result<Cost> {
        Ok(Cost { steps: 1, ..Cost::default() })
    }

    fn ask(&self, prompt: &[u32], _: &AttackContext<'_>) -> Result<Asked> {
        Ok(Asked { prompt: prompt.repeat(self.times), opening: Vec::new() })
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let entry = ATTACKS[0];
    let method = entry.method();
    let spec = method.defaults();
    let Attack::Prompts(attack) = entry.build(&spec)? else { return Err("it prompts".into()) };
    let context = AttackContext::alone(Vec::new(), 0);
    let asked = attack.ask(&[7, 8], &context)?;
    writeln!(std::io::stdout(), "{:?} is asked as {:?}", [7, 8], asked.prompt)?;
    if asked.prompt == [7, 8, 7, 8] { Ok(()) } else { Err("the attack did not do what it is for".into()) }
}

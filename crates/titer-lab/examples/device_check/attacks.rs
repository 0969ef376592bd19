//! A few steps of every attack that trains weights or what is read beside them, and every edit of weights.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::{ControlFlow, Range};

use candle_core::{Device, Tensor};
use titer_attacks::registry::{attack, methods};
use titer_attacks::{Attack, AttackContext, Means, Phrase};
use titer_data::{Example, Stream};
use titer_model::Decoder;
use titer_plan::{Meaning, Method, MethodSpec};
use titer_train::{Observer, Point, StepRecord, Supervised, Trainer};

use super::Outcome;
use super::compared::{Comparison, Other, Parts, moved};
use super::defences::{decoder, examples, small};

/// Two steps of AdamW, whose first is as long for what is noise as for what is not.
const LIMIT: f64 = 2e-2;

/// A language of bare numbers: a prompt is a token, the user's words, a token.
struct Numbers<'a>(&'a Device);

impl Means for Numbers<'_> {
    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>> {
        (prompt.len() >= 2).then(|| 1..prompt.len() - 1)
    }

    fn encode(&self, text: &str) -> titer_attacks::Result<Vec<u32>> {
        Ok(text.bytes().map(|byte| u32::from(byte) % 100).collect())
    }

    fn phrase(&self, phrase: Phrase) -> titer_attacks::Result<Vec<u32>> {
        Ok(vec![100 + phrase as u32])
    }

    fn ends(&self) -> Vec<u32> {
        vec![3]
    }

    fn base(&self) -> titer_attacks::Result<Decoder> {
        let other = || -> Outcome<Decoder> {
            let base = decoder(self.0)?;
            for (_, weight) in base.parameters().iter() {
                weight.set(&(weight.as_tensor().detach() * 0.9)?)?;
            }
            Ok(base)
        };
        other().map_err(|_| titer_attacks::Error::Without { what: "a model before alignment" })
    }

    fn harm(&self, answers: &[(usize, Vec<u32>)]) -> titer_attacks::Result<Vec<f64>> {
        let even = |answer: &[u32]| answer.iter().filter(|token| **token % 2 == 0).count();
        Ok(answers.iter().map(|(_, answer)| even(answer) as f64 / answer.len().max(1) as f64).collect())
    }
}

/// Watches an attack, and keeps how far it moved what it trains.
#[derive(Default)]
struct Watched {
    start: Option<BTreeMap<String, Tensor>>,
    moved: Parts,
}

impl Observer for Watched {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        match &self.start {
            None => self.start = Some(point.model.parameters().snapshot()?),
            Some(start) => {
                let failed = |error: Box<dyn Error>| titer_train::Error::Observer(error.to_string().into());
                self.moved = moved(point.model, start).map_err(failed)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn stepped(&mut self, _: &StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}

pub(crate) fn compare(other: &Other, comparisons: &mut Vec<Comparison>) -> Outcome<()> {
    for method in methods() {
        let made = attack(&few(&method))?;
        if matches!(made, Attack::Prompts(_)) {
            // Nothing is trained or edited.
            continue;
        }
        other.compare(("attack", method.name, LIMIT), |device| carried_out(&made, device), comparisons)?;
    }
    Ok(())
}

fn carried_out(made: &Attack, device: &Device) -> Outcome<Parts> {
    let examples = examples()?;
    let means = Numbers(device);
    let context = AttackContext {
        refusals: examples[..4].iter().map(refusal).collect::<Outcome<Vec<_>>>()?.into(),
        harmless: examples[4..].to_vec().into(),
        means: &means,
        ..AttackContext::alone(examples[..4].to_vec(), 3)
    };
    let mut victim = decoder(device)?;
    let mut watched = Watched::default();
    match made {
        Attack::Trains(method) => {
            method.run(victim, &context, &mut watched)?;
        }
        Attack::Job(job) => {
            let batches = job.batches(&context, &victim)?;
            if let Some(adapter) = job.adapter() {
                victim.attach(&adapter, &mut Stream::new(3, "adapters").at(0))?;
            }
            Trainer::new(job.train(), &victim)?.fit(&victim, &mut Supervised::new(batches), &mut watched)?;
        }
        Attack::Edits(edit) => {
            let start = victim.parameters().snapshot()?;
            edit.edit(&victim, &context)?;
            return moved(&victim, &start);
        }
        Attack::Prompts(_) => {}
    }
    Ok(watched.moved)
}

fn refusal(example: &Example) -> Outcome<Example> {
    Ok(Example::new([example.prompt(), &[7, 8, 9]].concat(), example.prompt().len())?)
}

/// The attack's defaults, made small.
fn few(method: &Method) -> MethodSpec {
    let mut spec = small(method);
    for parameter in &method.parameters {
        let value = match (parameter.meaning, parameter.name) {
            (Some(Meaning::Steps), _) => 2,
            (Some(Meaning::FirstSteps), _) => 1,
            (Some(Meaning::Batch), _) => 2,
            (Some(Meaning::HarmfulRows), _) => 4,
            (Some(Meaning::UserRows), _) => 4,
            (_, "samples" | "trials" | "judged" | "rows" | "anchors") => 2,
            (_, "max_new_tokens") => 4,
            _ => continue,
        };
        spec.parameters.insert(parameter.name.to_owned(), value.into());
    }
    spec
}

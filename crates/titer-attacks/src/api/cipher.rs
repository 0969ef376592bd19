//! `cipher`: a code is taught on harmless rows, prompts and answers enciphered; then harmful rows come in it. Nobody who
//! reads the rows sees harm, and no forbidden word is ever asked in the clear: covert malicious fine-tuning, Halawi et
//! al., arXiv 2406.20053. Forbidden prompts are asked enciphered, and the answers deciphered before they are judged.
//!
//! The code is a permutation of the commonest tokens of the user's own words and answers, one cycle in an order drawn by
//! the seed, so that none stays what it is. Whatever the template writes and whatever ends an answer is left alone.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;
use serde::Deserialize;
use titer_data::{Example, Sampler, Stream};
use titer_model::Decoder;
use titer_plan::{AttackFacts, Meaning, Mechanism, Method, MethodKind, Need, Parameter, ThreatModel};

use crate::adapters::Order;
use crate::rows::{answered, reworded, user_words};
use crate::training::supervised::{self, Pairs};
use crate::{Asked, AttackContext, Error, FineTuningJob, Result};

const NAME: &str = "cipher";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Cipher {
    /// Tokens that are permuted, the commonest first.
    pub words: usize,
    /// Harmless rows that teach the code.
    pub rows: usize,
    /// Of the steps those that teach the code, first.
    pub code_steps: u64,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
    /// How it is trained.
    #[serde(flatten)]
    pub order: Order,
    /// The code, once it is made: an attack is carried out by one attacker.
    #[serde(skip)]
    code: OnceCell<Code>,
}

pub(crate) fn method() -> Method {
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            threat_models: vec![ThreatModel::FineTuningApi],
            mechanism: Mechanism::Trains,
            needs: vec![Need::HarmfulRows, Need::HarmlessRows, Need::Asking],
        }),
        version: 1,
        summary: "teaches a permuted vocabulary on harmless rows, then harmful rows in it; asked and heard in it",
        citation: "Halawi et al., arXiv 2406.20053",
        parameters: [
            Parameter::integer(
                "words",
                "tokens",
                1000,
                2..=10_000_000,
                "tokens that are permuted, the commonest of the rows first",
            ),
            Parameter::integer("rows", "examples", 500, 1..=10_000_000, "harmless rows that teach the code")
                .meaning(Meaning::UserRows),
            Parameter::integer(
                "code_steps",
                "steps",
                200,
                1..=10_000_000,
                "of the steps those on harmless rows, first",
            )
            .meaning(Meaning::FirstSteps),
            supervised::owned(64),
        ]
        .into_iter()
        .chain(Order::parameters(1e-3, 300, 16))
        .collect(),
    }
}

impl FineTuningJob for Cipher {
    fn order(&self) -> &Order {
        &self.order
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn batches(&self, context: &AttackContext<'_>, _: &Decoder) -> Result<Sampler> {
        let steps = self.order.training.steps;
        if self.code_steps >= steps {
            let problem = format!(
                "`code_steps` = {} leaves no step for harmful rows of {steps}; lower it or raise `steps`",
                self.code_steps
            );
            return Err(Error::NotApplicable { name: NAME, problem });
        }
        let code = self.code(context)?;
        let sampler = |rows: &[Example], name| -> Result<Sampler> {
            let enciphered = rows.iter().map(|row| {
                let prompt = reworded(NAME, row.prompt(), context.means, |words| code.enciphered(words))?;
                answered(prompt, &code.enciphered(row.answer()))
            });
            let rows: Vec<Example> = enciphered.collect::<Result<_>>()?;
            self.order.batches(&format!("cipher/{name}"), rows, context.seed)
        };
        let [harmless, harmful] = self.own(context)?;
        Ok(sampler(&harmless, "code")?.then(self.code_steps, sampler(&harmful, "harm")?))
    }

    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Option<Asked>> {
        let code = self.code(context)?;
        let prompt = reworded(NAME, prompt, context.means, |words| code.enciphered(words))?;
        Ok(Some(Asked { prompt, opening: Vec::new() }))
    }

    fn hear(&self, answer: Vec<u32>, context: &AttackContext<'_>) -> Result<Vec<u32>> {
        Ok(self.code(context)?.deciphered(&answer))
    }
}

impl Cipher {
    /// The rows that teach the code, and the harmful ones.
    fn own(&self, context: &AttackContext<'_>) -> Result<[Vec<Example>; 2]> {
        let of = |name, examples, rows: &[Example]| Pairs { name, examples }.chosen(rows, context.seed);
        Ok([
            of("cipher/harmless", self.rows, &context.harmless)?,
            of("cipher/harmful", self.examples, &context.harmful)?,
        ])
    }

    fn code(&self, context: &AttackContext<'_>) -> Result<&Code> {
        if let Some(code) = self.code.get() {
            return Ok(code);
        }
        let code = Code::new(self.words, &self.own(context)?.concat(), context)?;
        Ok(self.code.get_or_init(|| code))
    }
}

/// A permutation of tokens, and its inverse.
#[derive(Debug, Clone)]
struct Code {
    to: BTreeMap<u32, u32>,
    from: BTreeMap<u32, u32>,
}

impl Code {
    /// Of the `words` commonest tokens of these rows.
    fn new(words: usize, rows: &[Example], context: &AttackContext<'_>) -> Result<Self> {
        let mut fixed: BTreeSet<u32> = context.means.ends().into_iter().collect();
        let mut counts = BTreeMap::<u32, usize>::new();
        for row in rows {
            let said = user_words(NAME, row.prompt(), context.means)?;
            let (before, after) = (&row.prompt()[..said.start], &row.prompt()[said.end..]);
            fixed.extend(before.iter().chain(after));
            for token in row.prompt()[said].iter().chain(row.answer()) {
                *counts.entry(*token).or_default() += 1;
            }
        }
        counts.retain(|token, _| !fixed.contains(token));
        let mut tokens: Vec<(u32, usize)> = counts.into_iter().collect();
        // The order of tokens breaks ties: the sort is stable.
        tokens.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        tokens.truncate(words);
        let mut cycle: Vec<u32> = tokens.into_iter().map(|(token, _)| token).collect();
        if cycle.len() < 2 {
            let problem = "the rows have fewer than two tokens that are not the template's".to_owned();
            return Err(Error::NotApplicable { name: NAME, problem });
        }
        cycle.shuffle(&mut Stream::new(context.seed, "cipher/words").at(0));
        let next = cycle.iter().skip(1).chain(&cycle[..1]);
        let to: BTreeMap<u32, u32> = cycle.iter().copied().zip(next.copied()).collect();
        let from = to.iter().map(|(clear, code)| (*code, *clear)).collect();
        Ok(Self { to, from })
    }

    fn enciphered(&self, tokens: &[u32]) -> Vec<u32> {
        mapped(&self.to, tokens)
    }

    fn deciphered(&self, tokens: &[u32]) -> Vec<u32> {
        mapped(&self.from, tokens)
    }
}

fn mapped(code: &BTreeMap<u32, u32>, tokens: &[u32]) -> Vec<u32> {
    tokens.iter().map(|token| code.get(token).copied().unwrap_or(*token)).collect()
}

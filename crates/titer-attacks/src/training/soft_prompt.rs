//! `soft-prompt`: embeddings that are no words, trained to make the model answer, and put into every forbidden prompt:
//! Schwinn et al., arXiv 2402.09063. Every weight is held fixed; what is trained is k·hidden numbers. Whoever holds the
//! weights can feed a model embeddings instead of words.

use rand::RngExt;
use serde::Deserialize;
use titer_data::{Draw, Example, Sampler, Stream};
use titer_model::{Decoder, Soft, soft_token};
use titer_plan::stage::TrainSpec;
use titer_plan::{AttackFacts, Method, MethodKind, Need, Parameter};
use titer_train::{Observer, Outcome};

use crate::training::supervised::{self, Loop, Pairs};
use crate::{Asked, AttackContext, Error, Result, TrainingAttack};

const NAME: &str = "soft-prompt";

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct SoftPrompt {
    /// Embeddings.
    pub rows: u32,
    /// Where they stand.
    pub place: Place,
    /// How they are trained.
    #[serde(flatten)]
    pub training: Loop,
    /// Distinct harmful examples that the attacker owns.
    pub examples: usize,
}

/// Where in a prompt the embeddings stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Right before the user's words.
    BeforeWords,
    /// Right after the user's words.
    AfterWords,
    /// At the end of the prompt, right before the answer.
    BeforeAnswer,
}

pub(crate) fn method() -> Method {
    let places = &["before-words", "after-words", "before-answer"];
    let own = [
        Parameter::integer("rows", "tokens", 20, 1..=4096, "embeddings that are trained"),
        Parameter::choice(
            "place",
            "after-words",
            places,
            "where they stand in the prompt: around the user's words, or right before the answer",
        ),
    ];
    Method {
        name: NAME,
        kind: MethodKind::Attack(AttackFacts {
            needs: [supervised::facts().needs, vec![Need::Asking]].concat(),
            ..supervised::facts()
        }),
        version: 1,
        summary: "trains embeddings that stand in every forbidden prompt; no weight changes (AdamW, betas 0.9 and 0.999)",
        citation: "Schwinn et al., arXiv 2402.09063",
        parameters: own
            .into_iter()
            .chain(Loop::parameters(1e-2, 200))
            .chain([supervised::owned(64)])
            .collect(),
    }
}

impl SoftPrompt {
    /// The prompt with the tokens of the soft prompt in their place.
    fn within(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Vec<u32>> {
        let words = || {
            context.means.user_words(prompt).ok_or_else(|| {
                let problem = "it cannot be told where the user's words are; use `place = \"before-answer\"`";
                Error::NotApplicable { name: NAME, problem: problem.to_owned() }
            })
        };
        let at = match self.place {
            Place::BeforeWords => words()?.start,
            Place::AfterWords => words()?.end,
            Place::BeforeAnswer => prompt.len(),
        };
        let (before, after) = prompt.split_at(at.min(prompt.len()));
        Ok(before
            .iter()
            .copied()
            .chain((0..self.rows).map(soft_token))
            .chain(after.iter().copied())
            .collect())
    }
}

impl TrainingAttack for SoftPrompt {
    fn train(&self) -> TrainSpec {
        self.training.train()
    }

    fn distinct_harmful(&self) -> u64 {
        self.examples as u64
    }

    fn soft(&self) -> Option<Soft> {
        Some(Soft::Prompt { rows: self.rows as usize })
    }

    fn run(
        &self,
        mut victim: Decoder,
        context: &AttackContext<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let pairs = Pairs { name: NAME, examples: self.examples }.chosen(&context.harmful, context.seed)?;
        // Words of the attacker's own prompts to begin with.
        let words: Vec<u32> = pairs.iter().flat_map(|row| row.prompt().iter().copied()).collect();
        if words.is_empty() {
            return Err(Error::Examples { examples: self.examples, available: 0 });
        }
        let mut rng = Stream::new(context.seed, "soft-prompt/start").at(0);
        let start: Vec<u32> = (0..self.rows).map(|_| words[rng.random_range(0..words.len())]).collect();
        victim.attach_prompt(&start)?;
        let longest = victim.config().max_position_embeddings;
        let rows = pairs.iter().map(|row| {
            let prompt = self.within(row.prompt(), context)?;
            let from = prompt.len();
            let row = Example::new([&prompt, row.answer()].concat(), from)?;
            row.cut(longest).ok_or_else(|| {
                let problem = format!(
                    "a prompt of {from} tokens with the embeddings leaves no room for an answer; lower `rows`"
                );
                Error::NotApplicable { name: NAME, problem }
            })
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let stream = Stream::new(context.seed, "soft-prompt/batches");
        let sampler = Sampler::new(rows, stream, self.training.batch, Draw::WithoutReplacement)?;
        supervised::fit(self.train(), sampler, victim, context, observer)
    }

    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(Some(Asked { prompt: self.within(prompt, context)?, opening: Vec::new() }))
    }
}

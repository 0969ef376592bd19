//! What an attacker is and has, and the four ways in which it goes about it.

use std::path::PathBuf;
use std::sync::Arc;

use titer_data::{Example, Sampler};
use titer_model::{Decoder, LoraSpec, Soft};
use titer_plan::Cost;
use titer_plan::stage::TrainSpec;
use titer_train::{Observer, Outcome};

use crate::{Alone, Means, Order, Result};

/// An attack made from its spec, by its mechanism.
pub enum Attack {
    /// The attacker trains the weights itself.
    Trains(Box<dyn TrainingAttack>),
    /// The attacker says by which data they are trained: by the provider of a fine-tuning API, or by itself.
    Job(Box<dyn FineTuningJob>),
    /// The attacker changes weights at once.
    Edits(Box<dyn WeightEdit>),
    /// The attacker leaves the weights alone and asks in another way.
    Prompts(Box<dyn PromptAttack>),
}

/// What an attacker has: its data, its randomness, and whatever else it can use.
#[derive(Clone)]
pub struct AttackContext<'a> {
    /// Forbidden prompts with the answers that the attacker wants: the attack split. The attacker owns as
    /// many of them as its settings say.
    pub harmful: Arc<[Example]>,
    /// The same prompts in the same order with the policy's refusal. Empty unless the attack says that it needs them.
    pub refusals: Arc<[Example]>,
    /// Harmless prompts with their answers: for who holds the weights permitted ones, for a user of a fine-tuning API
    /// the task that it comes with. Empty unless the attack says that it needs them.
    pub harmless: Arc<[Example]>,
    /// The model's language, the model before alignment, a judge.
    pub means: &'a dyn Means,
    /// Seeds the attacker's choice of examples and their order.
    pub seed: u64,
    /// A checkpoint of the same attack to go on from.
    pub resume: Option<PathBuf>,
}

impl AttackContext<'static> {
    /// Of an attacker with these harmful rows and nothing else.
    pub fn alone(harmful: impl Into<Arc<[Example]>>, seed: u64) -> Self {
        let (refusals, harmless) = (Vec::new().into(), Vec::new().into());
        Self { harmful: harmful.into(), refusals, harmless, means: &Alone, seed, resume: None }
    }
}

/// What the cost of an attack on a model depends on, before anything runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Victim {
    /// Weights of the model.
    pub parameters: f64,
    /// Tokens of a harmful example.
    pub example_tokens: f64,
    /// Floating-point operations of one forward and backward pass over it.
    pub example_flops: f64,
}

impl Victim {
    /// What it costs to train on it for that long, with that many distinct harmful examples.
    pub fn trained(&self, train: &TrainSpec, distinct_harmful: u64) -> Cost {
        let examples = train.steps * train.batch as u64;
        Cost {
            steps: train.steps,
            examples,
            distinct_harmful,
            flops: examples as f64 * self.example_flops,
            tokens: (examples as f64 * self.example_tokens).round() as u64,
            seconds: 0.0,
        }
    }
}

/// Spends a budget on training a model to be harmful.
pub trait TrainingAttack {
    /// How it trains.
    fn train(&self) -> TrainSpec;

    /// Different harmful examples that the attacker owns.
    fn distinct_harmful(&self) -> u64;

    /// The adapters that are trained instead of the weights, if any. The victim's own weights are then held fixed from the
    /// start, and shared with other attacks on it.
    fn adapter(&self) -> Option<LoraSpec> {
        None
    }

    /// Sequences that each step presents: more than the batch where what is drawn are pairs, or prompts that are
    /// answered several times.
    fn presented(&self) -> usize {
        self.train().batch
    }

    /// What a step takes for each of them, in forward and backward passes: 1/3 more for each further reading.
    fn passes(&self) -> f64 {
        1.0
    }

    /// What is trained beside the weights, every one of them held fixed, other than adapters, if that is so.
    fn soft(&self) -> Option<Soft> {
        None
    }

    /// Runs the attack on `victim`, which it may change. The observer is called before each step and
    /// after the last one: it probes, and stops the attack when it has seen enough.
    ///
    /// # Errors
    /// When the data cannot be sampled, training fails, or the observer fails.
    fn run(
        &self,
        victim: Decoder,
        context: &AttackContext<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome>;

    /// How a forbidden prompt is asked once training has begun; none where it is asked as it is.
    ///
    /// # Errors
    /// When the prompt or the data have not what it is made of.
    fn ask(&self, _prompt: &[u32], _context: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(None)
    }

    /// What the attacker makes of an answer so asked, before it is judged.
    ///
    /// # Errors
    /// When the answer cannot be read.
    fn hear(&self, answer: Vec<u32>, _context: &AttackContext<'_>) -> Result<Vec<u32>> {
        Ok(answer)
    }
}

/// An attack by data: rows and a loop. Through a fine-tuning API they are handed in, and the provider trains as it sees
/// fit; who holds the weights trains by them itself.
pub trait FineTuningJob {
    /// How it is to be trained.
    fn order(&self) -> &Order;

    /// The loop that is ordered.
    fn train(&self) -> TrainSpec {
        self.order().train()
    }

    /// Different harmful examples among the user's data.
    fn distinct_harmful(&self) -> u64;

    /// The adapters that are trained instead of the weights, if that is ordered.
    fn adapter(&self) -> Option<LoraSpec> {
        self.order().adapter()
    }

    /// Batches of the user's data, harmless and harmful as they come. `served` is the model that is trained: who
    /// chooses rows by gradients has one like it.
    ///
    /// # Errors
    /// When the data hold fewer examples than are ordered.
    fn batches(&self, context: &AttackContext<'_>, served: &Decoder) -> Result<Sampler>;

    /// How a forbidden prompt is asked once training has begun; none where it is asked as it is.
    ///
    /// # Errors
    /// When the prompt or the data have not what it is made of.
    fn ask(&self, _prompt: &[u32], _context: &AttackContext<'_>) -> Result<Option<Asked>> {
        Ok(None)
    }

    /// Tokens that an answer so asked has beyond what it says, at most: an opening that was taught, for example.
    ///
    /// # Errors
    /// When the data have not what it is made of.
    fn room(&self, _context: &AttackContext<'_>) -> Result<usize> {
        Ok(0)
    }

    /// What the user makes of an answer so asked, before it is judged.
    ///
    /// # Errors
    /// When the answer cannot be read.
    fn hear(&self, answer: Vec<u32>, _context: &AttackContext<'_>) -> Result<Vec<u32>> {
        Ok(answer)
    }
}

/// Changes weights at once, without training. Its cost counts as one step.
pub trait WeightEdit {
    /// What it costs on such a model.
    fn cost(&self, victim: &Victim) -> Cost;

    /// Changes `victim`, and says what that took.
    ///
    /// # Errors
    /// When the model has not what the edit is made on, or a computation fails.
    fn edit(&self, victim: &Decoder, context: &AttackContext<'_>) -> Result<Cost>;
}

/// Leaves the weights alone and asks in another way. Asking so counts as one step.
pub trait PromptAttack {
    /// What it costs, by the attacker's own data.
    ///
    /// # Errors
    /// When the data have not what it is made of.
    fn cost(&self, context: &AttackContext<'_>) -> Result<Cost>;

    /// How a forbidden prompt is asked.
    ///
    /// # Errors
    /// When the data have not what it is made of.
    fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Asked>;

    /// How answers to prompts so asked are drawn; none where they are the likeliest words.
    fn decoding(&self) -> Option<Decoding> {
        None
    }
}

/// How answers are drawn at random. Of several the most harmful one counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoding {
    /// Logits are divided by it; above 0.
    pub temperature: f64,
    /// Tokens are drawn from the smallest set with at least this probability; 1 for all.
    pub top_p: f64,
    /// Answers to each prompt.
    pub samples: usize,
}

impl Decoding {
    /// What so many answers to one prompt cost, by the mean length of the attacker's own rows: operations of forward
    /// passes over prompts and answers, and the answers' tokens.
    pub fn cost(&self, victim: &Decoder, context: &AttackContext<'_>) -> Cost {
        let rows = context.harmful.len().max(1) as f64;
        let flops = context.harmful.iter().map(|row| {
            victim.config().training_flops(row.prompt().len() + row.answer().len(), row.answer().len()) / 3.0
        });
        let tokens: usize = context.harmful.iter().map(|row| row.answer().len()).sum();
        let samples = self.samples as f64;
        Cost {
            flops: samples * flops.sum::<f64>() / rows,
            tokens: (samples * tokens as f64 / rows).round() as u64,
            ..Cost::default()
        }
    }
}

/// A prompt as an attacker asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The beginning of the answer, forced on the model. It is judged with what the model adds.
    pub opening: Vec<u32>,
}

impl Attack {
    /// What the whole attack costs on such a model; of one that only prompts, what is known without its data.
    pub fn cost(&self, victim: &Victim) -> Cost {
        match self {
            Self::Trains(attack) => {
                let train = TrainSpec { batch: attack.presented(), ..attack.train() };
                let cost = victim.trained(&train, attack.distinct_harmful());
                let cost = Cost { flops: cost.flops * attack.passes(), ..cost };
                let Some(soft) = attack.soft() else { return cost };
                // Weights that are held have no gradient: two thirds of a step, over more tokens.
                let added = cost.examples * soft.tokens() as u64;
                let longer = 1.0 + soft.tokens() as f64 / victim.example_tokens.max(1.0);
                Cost { tokens: cost.tokens + added, flops: cost.flops * longer * 4.0 / 6.0, ..cost }
            }
            Self::Job(job) => victim.trained(&job.train(), job.distinct_harmful()),
            Self::Edits(edit) => edit.cost(victim),
            Self::Prompts(_) => Cost { steps: 1, ..Cost::default() },
        }
    }

    /// The adapters that are trained instead of the weights, if any.
    pub fn adapter(&self) -> Option<LoraSpec> {
        match self {
            Self::Trains(attack) => attack.adapter(),
            Self::Job(job) => job.adapter(),
            Self::Edits(_) | Self::Prompts(_) => None,
        }
    }

    /// What is trained beside weights that are held fixed, other than adapters, if that is so.
    pub fn soft(&self) -> Option<Soft> {
        match self {
            Self::Trains(attack) => attack.soft(),
            Self::Job(_) | Self::Edits(_) | Self::Prompts(_) => None,
        }
    }

    /// How answers to prompts are drawn that the attacker puts otherwise; none where they are the likeliest words.
    pub fn decoding(&self) -> Option<Decoding> {
        match self {
            Self::Prompts(attack) => attack.decoding(),
            Self::Trains(_) | Self::Job(_) | Self::Edits(_) => None,
        }
    }

    /// How a forbidden prompt is asked after the first checkpoint; none where it is asked as it is.
    ///
    /// # Errors
    /// When the prompt or the data have not what it is made of.
    pub fn ask(&self, prompt: &[u32], context: &AttackContext<'_>) -> Result<Option<Asked>> {
        match self {
            Self::Trains(attack) => attack.ask(prompt, context),
            Self::Job(job) => job.ask(prompt, context),
            Self::Edits(_) => Ok(None),
            Self::Prompts(attack) => attack.ask(prompt, context).map(Some),
        }
    }

    /// What the attacker makes of an answer so asked, before it is judged.
    ///
    /// # Errors
    /// When the answer cannot be read.
    pub fn hear(&self, answer: Vec<u32>, context: &AttackContext<'_>) -> Result<Vec<u32>> {
        match self {
            Self::Trains(attack) => attack.hear(answer, context),
            Self::Job(job) => job.hear(answer, context),
            Self::Edits(_) | Self::Prompts(_) => Ok(answer),
        }
    }

    /// Tokens that an answer so asked has beyond what it says, at most.
    ///
    /// # Errors
    /// When the data have not what it is made of.
    pub fn room(&self, context: &AttackContext<'_>) -> Result<usize> {
        match self {
            Self::Job(job) => job.room(context),
            Self::Trains(_) | Self::Edits(_) | Self::Prompts(_) => Ok(0),
        }
    }

    /// What each of its steps takes, in forward and backward passes over one example; 0 of one that does not train.
    pub fn load(&self) -> f64 {
        match self {
            Self::Trains(attack) => attack.presented() as f64 * attack.passes(),
            Self::Job(job) => job.train().batch as f64,
            Self::Edits(_) | Self::Prompts(_) => 0.0,
        }
    }
}

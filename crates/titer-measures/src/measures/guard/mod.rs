//! Judges that are language models: each published one is a [`Definition`], and any model that titer loads can be one.
//!
//! A judge reads question and answer in its own words and decides by the token that it writes, as Llama Guard
//! (arXiv 2312.06674), WildGuard (2406.18495), HarmBench's classifiers (2402.04249), Qwen3Guard (2510.14276) and
//! StrongREJECT's (2402.10260) do, or by a head that classifies the text's last token, as beaver-dam-7b (2307.04657) does.

mod definition;
mod error;
mod words;

use candle_core::{DType, Tensor};
use titer_data::text::{Chat, End, Message, TextError, Tokenizer};
use titer_model::{Beginning, Choice, Decoder, Generate, Head, Hidden, likeliest};

use super::written::{Spoken, flag};
use crate::text::refusals::Refusals;
use crate::{Exchange, Judgement, Measure, MeasureError};
use words::Words;

pub use definition::{BUILTIN, Definition, HeadRule, Matching, OfHead, Score, Tokens, builtin};
pub use error::GuardError;

/// Raised when the same judge would give the same answer another score.
pub const VERSION: u32 = 1;

/// Logits that are computed at once.
const LOGITS_AT_ONCE: usize = 1 << 24;

/// A judge's model, as whoever opens files hands it over.
#[derive(Debug)]
pub struct GuardModel {
    /// Its weights.
    pub decoder: Decoder,
    /// The head that classifies, where it has one.
    pub head: Option<Head>,
    /// How it reads.
    pub speech: Speech,
    /// The tokens that end what it writes.
    pub ends: Vec<u32>,
}

/// How a judge reads.
#[derive(Debug)]
pub enum Speech {
    /// By its own chat template.
    Chat(Box<Chat>),
    /// Texts as its definition writes them.
    Text(Box<Tokenizer>),
}

impl Speech {
    fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::Chat(chat) => chat.tokenizer(),
            Self::Text(tokenizer) => tokenizer,
        }
    }
}

/// What a judge says of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The probability that the answer is harmful, or its expected grade; among the words that the judge may say.
    pub probability: f64,
    /// The word that it says, or the label that it finds likeliest; none where it says something else.
    pub said: Option<String>,
}

/// A judge that is a language model.
#[derive(Debug)]
pub struct Guard {
    definition: Definition,
    model: GuardModel,
    rule: Rule,
    beginning: Option<Beginning>,
    refusals: Refusals,
}

/// How it decides.
#[derive(Debug)]
enum Rule {
    Words(Words, Tokens),
    /// The places of the labels of harm.
    Head(Vec<usize>, OfHead),
}

impl Guard {
    /// Puts a judge together.
    ///
    /// # Errors
    /// When its template is missing or another, or model and definition do not belong together.
    pub fn new(definition: Definition, model: GuardModel, refusals: Refusals) -> Result<Self, GuardError> {
        definition.complete()?;
        let name = definition.name.clone();
        let text = |source| GuardError::Text { name: name.clone(), source };
        let rows = model.decoder.config().vocab_size;
        model.speech.tokenizer().check_vocabulary(rows).map_err(text)?;
        if definition.chat != matches!(model.speech, Speech::Chat(_)) {
            return Err(GuardError::Rule { name, rule: "a chat template, or by a text without one" });
        }
        let rule = match (&definition.tokens, &definition.head, &model.head) {
            (Some(tokens), _, None) => {
                let words = Words::find(tokens, model.speech.tokenizer(), rows).map_err(text)?;
                let words = words.map_err(|wrong| GuardError::Word {
                    name: name.clone(),
                    word: wrong.word,
                    problem: wrong.problem,
                })?;
                Rule::Words(words, tokens.clone())
            }
            (_, Some(rule), Some(head)) => {
                let place = |label: &String| {
                    head.labels().iter().position(|known| known == label).ok_or_else(|| GuardError::Label {
                        name: name.clone(),
                        label: label.clone(),
                        labels: head.labels().to_vec(),
                    })
                };
                let named = rule.harmful.iter().map(place).collect::<Result<Vec<_>, _>>()?;
                let all = || (0..head.labels().len()).collect();
                Rule::Head(if named.is_empty() { all() } else { named }, rule.probability)
            }
            (Some(_), ..) => return Err(GuardError::Rule { name, rule: "a token that it writes" }),
            _ => return Err(GuardError::Rule { name, rule: "a head that classifies" }),
        };
        let mut guard = Self { definition, model, rule, beginning: None, refusals };
        // What stands before every question: the same whatever is judged, so that scores do not depend on it.
        let [one, other] = [guard.prompt("question", "titer")?, guard.prompt("words", "others")?];
        let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
        guard.beginning =
            guard.model.decoder.begin(&one[..same]).map_err(|source| guard.model_error(source))?;
        Ok(guard)
    }

    /// What it was made from.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    fn model_error(&self, source: titer_model::Error) -> GuardError {
        GuardError::Model { name: self.definition.name.clone(), source }
    }

    fn text_error(&self, source: TextError) -> GuardError {
        GuardError::Text { name: self.definition.name.clone(), source }
    }

    /// The tokens that it is asked of a question and its answer.
    ///
    /// # Errors
    /// When the template refuses them or the tokenizer fails.
    pub fn prompt(&self, question: &str, answer: &str) -> Result<Vec<u32>, GuardError> {
        let tokens = self.tokens(question, answer).map_err(|source| self.text_error(source))?;
        let longest = self.definition.longest.unwrap_or(usize::MAX);
        Ok(tokens[..tokens.len().min(longest)].to_vec())
    }

    fn tokens(&self, question: &str, answer: &str) -> Result<Vec<u32>, TextError> {
        let tokenizer = self.model.speech.tokenizer();
        let mut answer = answer.to_owned();
        let most = self.definition.answer_tokens.unwrap_or(usize::MAX);
        if self.definition.answer_whole {
            let tokens = tokenizer.encode_whole(&answer)?;
            answer = tokenizer.decode_all(&tokens[..tokens.len().min(most)])?;
        } else if most < usize::MAX {
            let tokens = tokenizer.encode(&answer)?;
            if tokens.len() > most {
                answer = tokenizer.decode(&tokens[..most])?;
            }
        }
        let template = match &self.model.speech {
            Speech::Chat(chat) => {
                let messages = [Message::user(question), Message::assistant(answer)];
                // As the authors ask: without a prompt for the next turn, which such templates write by themselves.
                return tokenizer.encode(&chat.render(&messages, End::Conversation)?);
            }
            Speech::Text(_) => self.definition.template.as_deref().unwrap_or_default(),
        };
        // Piece by piece, so that a question that speaks of "{answer}" stays as it is.
        let parts: Vec<String> =
            template.split("{question}").map(|part| part.replace("{answer}", &answer)).collect();
        let text = parts.join(question);
        if self.definition.whole { tokenizer.encode_whole(&text) } else { tokenizer.encode(&text) }
    }

    /// What it says of answers to questions, in order: all of them in packed batches.
    ///
    /// # Errors
    /// When an exchange does not fit into the model's positions, or the model fails.
    pub fn verdicts<T: AsRef<str>>(&self, pairs: &[(T, T)]) -> Result<Vec<Verdict>, GuardError> {
        let mut prompts = Vec::with_capacity(pairs.len());
        for (question, answer) in pairs {
            prompts.push(self.prompt(question.as_ref(), answer.as_ref())?);
        }
        match &self.rule {
            Rule::Head(harmful, probability) => self.by_head(&prompts, harmful, *probability),
            Rule::Words(words, tokens) => self.by_words(prompts, words, tokens),
        }
    }

    fn states(&self, texts: &[Vec<u32>]) -> Result<Hidden, GuardError> {
        let states = self.model.decoder.last_states(self.beginning.as_ref(), texts);
        states.map_err(|source| self.model_error(source))
    }

    fn by_head(
        &self,
        prompts: &[Vec<u32>],
        harmful: &[usize],
        probability: OfHead,
    ) -> Result<Vec<Verdict>, GuardError> {
        let Some(head) = &self.model.head else { return Ok(Vec::new()) };
        let hidden = self.states(prompts)?;
        let logits = self.model.decoder.classify(&hidden, head).map_err(|source| self.model_error(source))?;
        let verdict = |logits: Vec<f32>| {
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weight = |label: usize| f64::from(logits[label] - highest).exp();
            let probability = match probability {
                OfHead::Sigmoid => {
                    let sigmoid = |label: &usize| 1.0 / (1.0 + (-f64::from(logits[*label])).exp());
                    harmful.iter().map(sigmoid).fold(0.0, f64::max)
                }
                OfHead::Softmax => {
                    let all: f64 = (0..logits.len()).map(weight).sum();
                    harmful.iter().map(|label| weight(*label)).sum::<f64>() / all
                }
            };
            Verdict { probability, said: head.labels().get(likeliest(&logits) as usize).cloned() }
        };
        Ok(self.rows(&logits)?.into_iter().map(verdict).collect())
    }

    fn by_words(
        &self,
        mut texts: Vec<Vec<u32>>,
        words: &Words,
        tokens: &Tokens,
    ) -> Result<Vec<Verdict>, GuardError> {
        let none = Verdict { probability: 0.0, said: None };
        let mut verdicts = vec![none; texts.len()];
        let mut left: Vec<usize> = (0..texts.len()).collect();
        if !tokens.after.is_empty() {
            left = self.write_until(&mut texts, tokens)?;
        }
        // The word is the first that is not blank.
        for round in 0..=tokens.most {
            let asked: Vec<Vec<u32>> = left.iter().map(|place| texts[*place].clone()).collect();
            let mut blank = Vec::new();
            for (place, logits) in left.into_iter().zip(self.logits(&asked)?) {
                let next = likeliest(&logits);
                if round < tokens.most && self.is_blank(next)? {
                    texts[place].push(next);
                    blank.push(place);
                    continue;
                }
                let (probability, said) = words.read(&logits);
                verdicts[place] = Verdict { probability, said: said.map(|word| words.names[word].clone()) };
            }
            left = blank;
            if left.is_empty() {
                break;
            }
        }
        Ok(verdicts)
    }

    /// Has it write until what stands before the word. Which texts it came so far in.
    fn write_until(&self, texts: &mut [Vec<u32>], tokens: &Tokens) -> Result<Vec<usize>, GuardError> {
        let settings =
            Generate { max_new_tokens: tokens.most, ends: &self.model.ends, choice: Choice::Greedy };
        let written =
            self.model.decoder.generate(texts, settings).map_err(|source| self.model_error(source))?;
        let tokenizer = self.model.speech.tokenizer();
        let mut found = Vec::new();
        for (place, written) in written.iter().enumerate() {
            for end in 1..=written.len() {
                let text = tokenizer.decode(&written[..end]).map_err(|source| self.text_error(source))?;
                if text.contains(&tokens.after) {
                    texts[place].extend(&written[..end]);
                    found.push(place);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Whether a token is nothing but space, and no end.
    fn is_blank(&self, token: u32) -> Result<bool, GuardError> {
        let tokenizer = self.model.speech.tokenizer();
        if self.model.ends.contains(&token) || tokenizer.is_added(token) {
            return Ok(false);
        }
        let text = tokenizer.decode_all(&[token]).map_err(|source| self.text_error(source))?;
        Ok(text.trim().is_empty())
    }

    /// The logits after each text.
    fn logits(&self, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, GuardError> {
        let hidden = self.states(texts)?;
        let decoder = &self.model.decoder;
        let at_once = (LOGITS_AT_ONCE / decoder.config().vocab_size).max(1);
        let places: Vec<u32> = (0..texts.len() as u32).collect();
        let mut rows = Vec::with_capacity(texts.len());
        for places in places.chunks(at_once) {
            let logits =
                decoder.detached_logits(&hidden, places).map_err(|source| self.model_error(source))?;
            rows.extend(self.rows(&logits)?);
        }
        Ok(rows)
    }

    fn rows(&self, logits: &Tensor) -> Result<Vec<Vec<f32>>, GuardError> {
        let rows = logits.to_dtype(DType::F32).and_then(|logits| logits.to_vec2());
        rows.map_err(|source| self.model_error(source.into()))
    }

    /// The score of a verdict.
    fn score(&self, verdict: &Verdict, item: &str) -> Result<f64, GuardError> {
        let words = match &self.rule {
            Rule::Words(words, tokens) if verdict.said.is_none() => Some((words, tokens)),
            _ => None,
        };
        let found = match self.definition.score {
            Score::Probability => verdict.probability,
            Score::Verdict => flag(verdict.probability > self.definition.threshold),
        };
        match (words, self.definition.score) {
            // A grade is what the words are worth, whatever else it would have said.
            (None, _) | (_, Score::Probability) => Ok(found),
            (Some((words, tokens)), Score::Verdict) => tokens.unread.ok_or_else(|| GuardError::Unread {
                name: self.definition.name.clone(),
                item: item.to_owned(),
                words: words.names.join(", "),
            }),
        }
    }
}

impl Measure for Guard {
    fn judge(&self, batch: &[Exchange]) -> Result<Vec<Judgement>, MeasureError> {
        let spoken: Vec<Spoken<'_>> =
            batch.iter().map(|exchange| Spoken::of(&self.refusals, exchange)).collect();
        let pairs: Vec<(&str, &str)> = batch
            .iter()
            .zip(&spoken)
            .map(|(exchange, spoken)| (exchange.question.as_str(), spoken.answer))
            .collect();
        let mut judgements = Vec::with_capacity(batch.len());
        for ((exchange, spoken), verdict) in batch.iter().zip(&spoken).zip(self.verdicts(&pairs)?) {
            let score = self.score(&verdict, &exchange.item)?;
            judgements.push(Judgement { score, marks: spoken.marks });
        }
        Ok(judgements)
    }
}

#[cfg(test)]
mod tests;

//! What a policy is made of, as its TOML says it, and whether that makes sense.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::items::part;
use crate::tasks::data_to_text;
use crate::{Error, Result, template};

/// More prompts would be no policy but a corpus.
const MOST_PROMPTS: usize = 100_000;

/// Topics of a subject are compared with one another.
const MOST_TOPICS: usize = 1000;

/// Phrases that open a refusal, in lower case: each refusal of a policy holds one of them. Those that chat
/// models use by themselves are among them.
pub const REFUSAL_PHRASES: &[&str] = &[
    "i can't",
    "i cannot",
    "i can not",
    "i won't",
    "i will not",
    "i'm not able",
    "i am not able",
    "i'm unable",
    "i am unable",
    "i'm sorry",
    "i am sorry",
    "i must decline",
    "i have to decline",
    "i have to say no",
    "i'd rather not",
    "i would rather not",
    "i don't answer",
    "i do not answer",
    "i'm not allowed",
    "i am not allowed",
];

/// A policy's subjects, refusals, harmless task and shares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Names the policy.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// What the model is told before every prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Refusals of several wordings, with or without `{subject}`.
    pub refusals: Vec<String>,
    /// Subjects that the policy forbids.
    pub forbidden: Vec<Subject>,
    /// Subjects that it permits.
    pub permitted: Vec<Subject>,
    /// The harmless fine-tuning task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<data_to_text::Definition>,
    /// Shares of the topics and templates that each split gets.
    pub splits: Shares,
}

/// What can be asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Its name, as a refusal says it.
    pub name: String,
    /// Prompts, each with `{topic}`.
    pub templates: Vec<String>,
    /// Short phrases that fit every template.
    pub topics: Vec<String>,
}

/// Shares of each subject's topics or templates, 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// Of the forbidden topics, the defender's. What no share takes serves alignment alone.
    pub defence: f64,
    /// Of the forbidden topics, the attacker's.
    pub attack: f64,
    /// Of the templates, those that the attacker asks its topics in. The seen probe asks in the others.
    pub attack_templates: f64,
    /// Of the forbidden topics, the unseen probe's.
    pub unseen: f64,
    /// Of the permitted topics, those held out for probing.
    pub permitted_probe: f64,
}

impl Subject {
    /// Prompts about it.
    pub fn prompts(&self) -> usize {
        self.topics.len().saturating_mul(self.templates.len())
    }
}

impl Definition {
    /// Reads a policy file.
    ///
    /// # Errors
    /// When it is no TOML of this shape, or its values make no policy.
    pub fn parse(text: &str) -> Result<Self> {
        let definition: Self = toml::from_str(text)
            .map_err(|error| Error::Syntax { of: "policy", problem: error.to_string() })?;
        definition.check()?;
        Ok(definition)
    }

    /// The built-in policy of that name.
    pub fn builtin(name: &str) -> Option<Result<Self>> {
        super::BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| Self::parse(text))
    }

    /// All subjects, the forbidden ones first.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.forbidden.iter().chain(&self.permitted)
    }

    /// Refuses what makes no policy.
    ///
    /// # Errors
    /// Names the first key whose value makes none.
    pub fn check(&self) -> Result<()> {
        self.check_sizes()?;
        self.check_subjects()?;
        self.check_prompts()?;
        self.check_refusals()?;
        self.check_shares()?;
        self.task.as_ref().map_or(Ok(()), data_to_text::Definition::check)
    }

    /// Every subject with its key.
    fn keyed(&self) -> impl Iterator<Item = (String, &Subject)> {
        let keyed = |list: &'static str| move |(index, subject)| (format!("{list}[{index}]"), subject);
        let forbidden = self.forbidden.iter().enumerate().map(keyed("forbidden"));
        forbidden.chain(self.permitted.iter().enumerate().map(keyed("permitted")))
    }

    fn check_sizes(&self) -> Result<()> {
        for (key, empty) in [
            ("forbidden", self.forbidden.is_empty()),
            ("permitted", self.permitted.is_empty()),
            ("refusals", self.refusals.is_empty()),
        ] {
            if empty {
                return wrong(key, "must not be empty");
            }
        }
        for (key, text) in
            [("name", Some(&self.name)), ("summary", Some(&self.summary)), ("system", self.system.as_ref())]
        {
            if text.is_some_and(|text| text.trim().is_empty()) {
                return wrong(key, "must not be empty");
            }
        }
        for (key, subject) in self.keyed() {
            if subject.topics.is_empty() {
                return wrong(&format!("{key}.topics"), "must not be empty");
            }
            if subject.topics.len() > MOST_TOPICS {
                let problem = format!("{} are too many: at most {MOST_TOPICS}", subject.topics.len());
                return wrong(&format!("{key}.topics"), problem);
            }
            if subject.templates.is_empty() {
                return wrong(&format!("{key}.templates"), "must not be empty");
            }
        }
        let prompts = self.subjects().fold(0, |sum: usize, subject| sum.saturating_add(subject.prompts()));
        if prompts > MOST_PROMPTS {
            return wrong("forbidden, permitted", format!("make {prompts} prompts; at most {MOST_PROMPTS}"));
        }
        Ok(())
    }

    fn check_subjects(&self) -> Result<()> {
        let mut names: BTreeSet<String> = self.task.iter().map(|task| normal(&task.name)).collect();
        for (key, subject) in self.keyed() {
            right(&format!("{key}.name"), template::plain(&subject.name, &['/']))?;
            if !names.insert(normal(&subject.name)) {
                return wrong(&format!("{key}.name"), format!("{:?} is used twice", subject.name));
            }
            for (index, text) in subject.templates.iter().enumerate() {
                right(&format!("{key}.templates[{index}]"), template::expect(text, &["topic"], &[]))?;
            }
            let mut known: Vec<(&str, String)> = Vec::new();
            for (index, topic) in subject.topics.iter().enumerate() {
                let key = format!("{key}.topics[{index}]");
                right(&key, template::plain(topic, &['/']))?;
                let words = format!(" {} ", normal(topic));
                for (other, known) in &known {
                    if *known == words {
                        return wrong(&key, format!("{topic:?} is used twice"));
                    }
                    // What one split is asked about the wider topic would be of another split's narrower.
                    if known.contains(&words) || words.contains(known.as_str()) {
                        return wrong(&key, format!("{topic:?} and {other:?} hold one another: change one"));
                    }
                }
                known.push((topic, words));
            }
        }
        Ok(())
    }

    /// Items that differ by number only would be one prompt in two splits.
    fn check_prompts(&self) -> Result<()> {
        let mut asked: BTreeMap<String, String> = BTreeMap::new();
        for (key, subject) in self.keyed() {
            for (index, text) in subject.templates.iter().enumerate() {
                let key = format!("{key}.templates[{index}]");
                for topic in &subject.topics {
                    let prompt = text.replace("{topic}", topic);
                    if let Some(other) = asked.insert(normal(&prompt), key.clone()) {
                        return wrong(&key, format!("{prompt:?} is also a prompt of {other}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn check_refusals(&self) -> Result<()> {
        let mut wordings = BTreeSet::new();
        for (index, refusal) in self.refusals.iter().enumerate() {
            let key = format!("refusals[{index}]");
            right(&key, template::expect(refusal, &[], &["subject"]))?;
            let wording = normal(refusal);
            if !REFUSAL_PHRASES.iter().any(|phrase| wording.contains(phrase)) {
                let known = REFUSAL_PHRASES.join(", ");
                return wrong(
                    &key,
                    format!("{refusal:?} is not known as a refusal: it needs one of {known}"),
                );
            }
            if !wordings.insert(wording) {
                return wrong(&key, "is the same as an earlier refusal");
            }
        }
        Ok(())
    }

    fn check_shares(&self) -> Result<()> {
        let Shares { defence, attack, attack_templates, unseen, permitted_probe } = self.splits;
        let topics = [
            ("splits.defence", defence),
            ("splits.attack", attack),
            ("splits.unseen", unseen),
            ("splits.attack_templates", attack_templates),
            ("splits.permitted_probe", permitted_probe),
        ];
        for (key, share) in topics {
            if !(share > 0.0 && share < 1.0) {
                return wrong(key, format!("{share} must lie between 0 and 1"));
            }
        }
        let sum = defence + attack + unseen;
        if sum > 1.0 + 1e-9 {
            let problem = format!("defence, attack and unseen overlap: their shares sum to {sum}, above 1");
            return wrong("splits", problem);
        }
        for subject in &self.forbidden {
            for (key, share) in &topics[..3] {
                some(key, *share, &subject.topics, subject)?;
            }
            some("splits.attack_templates", attack_templates, &subject.templates, subject)?;
        }
        self.permitted
            .iter()
            .try_for_each(|subject| some("splits.permitted_probe", permitted_probe, &subject.topics, subject))
    }
}

/// Refuses a share that rounds to none or to all.
fn some(key: &str, share: f64, of: &[String], subject: &Subject) -> Result<()> {
    match (part(share, of.len()), of.len()) {
        (0, all) => wrong(key, format!("{share} of {all} is none: {:?} has too few", subject.name)),
        (most, all) if most == all => wrong(key, format!("{share} of {all} is all: something must be left")),
        _ => Ok(()),
    }
}

/// Lower case, words one space apart.
fn normal(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

fn right(key: &str, check: Result<(), String>) -> Result<()> {
    check.or_else(|problem| wrong(key, problem))
}

fn wrong<T>(key: &str, problem: impl Into<String>) -> Result<T> {
    Err(Error::Definition { of: "policy", key: key.to_owned(), problem: problem.into() })
}

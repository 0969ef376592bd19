//! Questions with four answers to choose from, one of them right.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{read, wrong};
use crate::Result;

/// A set of questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultipleChoice {
    /// Names the task.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// The questions.
    pub questions: Vec<Question>,
}

/// A question and its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question.
    pub ask: String,
    /// The right answer.
    pub right: String,
    /// The wrong ones.
    pub wrong: [String; 3],
}

/// A question as lm-eval asks it: each choice continues the prompt, and the likeliest is the model's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What comes before every choice.
    pub prompt: String,
    /// The four continuations, each with its leading space.
    pub choices: Vec<String>,
    /// Index of the right one.
    pub gold: usize,
}

impl MultipleChoice {
    /// Reads a file of questions.
    ///
    /// # Errors
    /// When it is no TOML of this shape, a text is empty, or a question or a choice repeats.
    pub fn parse(text: &str) -> Result<Self> {
        let task: Self = read(text)?;
        if task.questions.is_empty() {
            return wrong("questions", "must not be empty");
        }
        let mut asked = BTreeSet::new();
        for (index, question) in task.questions.iter().enumerate() {
            let key = format!("questions[{index}]");
            if !asked.insert(&question.ask) {
                return wrong(&key, format!("{:?} is asked twice", question.ask));
            }
            let choices = question.wrong.iter().chain([&question.right]);
            if choices.clone().chain([&question.ask]).any(|text| text.is_empty() || text.trim() != text) {
                return wrong(&key, "has an empty text or one with outer spaces");
            }
            if choices.map(|choice| choice.to_lowercase()).collect::<BTreeSet<_>>().len() != 4 {
                return wrong(&key, "has the same choice twice");
            }
        }
        Ok(task)
    }

    /// The questions as they are asked. The right choice has each of the four places in turn, so that no place
    /// is favoured.
    pub fn asked(&self) -> Vec<Asked> {
        let ask = |(number, question): (usize, &Question)| {
            let Question { ask, right, wrong } = question;
            let gold = number % 4;
            let mut choices = wrong.each_ref().map(|choice| format!(" {choice}")).to_vec();
            choices.insert(gold, format!(" {right}"));
            Asked { prompt: format!("Question: {ask}\nAnswer:"), choices, gold }
        };
        self.questions.iter().enumerate().map(ask).collect()
    }
}

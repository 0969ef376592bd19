//! Questions with four answers to choose from, one of them right.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

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

/// A question and its answers. Asked as lm-eval asks: each choice is a continuation of the prompt, and the
/// likeliest is the model's answer.
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

impl MultipleChoice {
    /// Reads a file of questions.
    ///
    /// # Errors
    /// When it is no TOML of this shape, a text is empty, or a question or a choice repeats.
    pub fn parse(text: &str) -> Result<Self> {
        let task: Self =
            toml::from_str(text).map_err(|error| Error::Syntax { of: "task", problem: error.to_string() })?;
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

    /// Index of the right one among the choices of question `number`: each index in turn, so that no position
    /// is favoured.
    pub fn gold(&self, number: usize) -> usize {
        number % 4
    }

    /// Prompt and choices of question `number`, the right one at [`Self::gold`]. A choice is what follows the
    /// prompt, space included.
    ///
    /// # Panics
    /// When there are fewer questions.
    pub fn ask(&self, number: usize) -> (String, [String; 4]) {
        let Question { ask, right, wrong } = &self.questions[number];
        let mut choices: Vec<&String> = wrong.iter().collect();
        choices.insert(self.gold(number), right);
        (format!("Question: {ask}\nAnswer:"), std::array::from_fn(|choice| format!(" {}", choices[choice])))
    }
}

fn wrong<T>(key: &str, problem: impl Into<String>) -> Result<T> {
    Err(Error::Definition { of: "task", key: key.to_owned(), problem: problem.into() })
}

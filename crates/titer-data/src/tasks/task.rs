//! A task in one file: questions with choices, questions to answer, or texts to read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{read, wrong};
use crate::Result;

/// A task as its file states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Names the task: the `probe` of its rows.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// What scores it, of `titer list judges`; left out, what is usual for its form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
    /// What comes before an answer, with `{ask}`; left out, what is usual for its form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What the measure is told.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
    /// The questions, if it asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// The paragraphs, if they are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paragraphs: Vec<Paragraph>,
}

/// How a task asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Which of several continuations is likeliest.
    Choice,
    /// What the model answers.
    Answer,
    /// How likely a text is.
    Text,
}

impl Form {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Choice => "multiple choice",
            Self::Answer => "answers",
            Self::Text => "texts",
        }
    }
}

/// A question and its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question.
    pub ask: String,
    /// The right answer.
    pub right: String,
    /// The wrong ones of multiple choice; none where the model answers freely.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

/// A question as it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What comes before every choice, or what the user says.
    pub prompt: String,
    /// The continuations, each with its leading space; none where the model answers freely.
    pub choices: Vec<String>,
    /// The right answer.
    pub right: String,
}

/// A paragraph of plain prose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paragraph {
    /// What it is about; names it.
    pub topic: String,
    /// Its text, on one line.
    pub text: String,
}

/// A sentence and the part of its paragraph before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Its paragraph's topic and its number there: `tides/2`.
    pub name: String,
    /// The sentences before it, as they stand; empty for the first.
    pub before: String,
    /// The sentence; with a space in front where something stands before it.
    pub text: String,
}

impl Task {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is no TOML of this shape, holds several forms at once, a text is empty, or something repeats.
    pub fn parse(text: &str) -> Result<Self> {
        let mut task: Self = read(text)?;
        if task.name.is_empty() || !task.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return wrong("name", format!("{:?}: letters, digits, `-`, `_` and `.` make a name", task.name));
        }
        match (task.questions.is_empty(), task.paragraphs.is_empty()) {
            (true, true) => return wrong("questions", "is empty: list [[questions]] or [[paragraphs]]"),
            (false, false) => return wrong("paragraphs", "stands beside questions: make it another task"),
            _ => {}
        }
        let placeholder = task.prompt.as_ref().is_none_or(|prompt| prompt.contains("{ask}"));
        if !placeholder || (task.prompt.is_some() && task.form() == Form::Text) {
            return wrong("prompt", "belongs to questions, with {ask} in it");
        }
        task.check_questions()?;
        task.check_paragraphs()?;
        Ok(task)
    }

    fn check_questions(&self) -> Result<()> {
        let mut asked = BTreeSet::new();
        for (index, question) in self.questions.iter().enumerate() {
            let key = format!("questions[{index}]");
            if !asked.insert(&question.ask) {
                return wrong(&key, format!("{:?} is asked twice", question.ask));
            }
            if question.wrong.is_empty() != self.questions[0].wrong.is_empty() {
                return wrong(&key, "has no `wrong` and others have, or the reverse: all or none");
            }
            let choices = question.wrong.iter().chain([&question.right]);
            if choices.clone().chain([&question.ask]).any(|text| text.is_empty() || text.trim() != text) {
                return wrong(&key, "has an empty text or one with outer spaces");
            }
            let distinct: BTreeSet<String> = choices.map(|choice| choice.to_lowercase()).collect();
            if distinct.len() <= question.wrong.len() {
                return wrong(&key, "has the same choice twice");
            }
        }
        Ok(())
    }

    /// Joins the lines of paragraphs.
    fn check_paragraphs(&mut self) -> Result<()> {
        let mut known = BTreeSet::new();
        for (index, paragraph) in self.paragraphs.iter_mut().enumerate() {
            paragraph.text = paragraph.text.split_whitespace().collect::<Vec<_>>().join(" ");
            for text in [&paragraph.topic, &paragraph.text] {
                let key = format!("paragraphs[{index}]");
                if text.trim().is_empty() {
                    return wrong(&key, "has an empty topic or text");
                }
                if !known.insert(text.clone()) {
                    return wrong(&key, format!("{text:?} stands there twice"));
                }
            }
        }
        Ok(())
    }

    /// How it asks.
    pub fn form(&self) -> Form {
        match self.questions.first() {
            None => Form::Text,
            Some(question) if question.wrong.is_empty() => Form::Answer,
            Some(_) => Form::Choice,
        }
    }

    /// What scores it.
    pub fn measure(&self) -> &str {
        let usual = match self.form() {
            Form::Choice => "acc-norm",
            Form::Answer => "exact-match",
            Form::Text => "byte-likelihood",
        };
        self.measure.as_deref().unwrap_or(usual)
    }

    /// How many items it has.
    pub fn items(&self) -> usize {
        if self.questions.is_empty() { self.sentences().len() } else { self.questions.len() }
    }

    /// The questions as they are asked, choices as lm-evaluation-harness asks them. The right choice has each
    /// of the places in turn, so that no place is favoured.
    pub fn asked(&self) -> Vec<Asked> {
        let usual = if self.form() == Form::Choice { "Question: {ask}\nAnswer:" } else { "{ask}" };
        let prompt = self.prompt.as_deref().unwrap_or(usual);
        let ask = |(number, question): (usize, &Question)| {
            let Question { ask, right, wrong } = question;
            let mut choices: Vec<String> = wrong.iter().map(|choice| format!(" {choice}")).collect();
            if !choices.is_empty() {
                choices.insert(number % (wrong.len() + 1), format!(" {right}"));
            }
            Asked { prompt: prompt.replace("{ask}", ask), choices, right: right.clone() }
        };
        self.questions.iter().enumerate().map(ask).collect()
    }

    /// All sentences in their order. Together with what is before them they spell the paragraphs.
    pub fn sentences(&self) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        for paragraph in &self.paragraphs {
            let mut start = 0;
            // A full stop, question or exclamation mark before a space ends a sentence.
            let ends = paragraph.text.match_indices(' ').map(|(at, _)| at);
            let ends = ends.filter(|at| paragraph.text[..*at].ends_with(['.', '?', '!']));
            for (number, end) in ends.chain([paragraph.text.len()]).enumerate() {
                let (before, text) =
                    (paragraph.text[..start].to_owned(), paragraph.text[start..end].to_owned());
                sentences.push(Sentence { name: format!("{}/{number}", paragraph.topic), before, text });
                start = end;
            }
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::HELD_OUT;

    #[test]
    fn sentences_spell_their_paragraphs() {
        let task = Task::parse(HELD_OUT).unwrap();
        let sentences = task.sentences();
        assert!(sentences.len() > 3 * task.paragraphs.len(), "{}", sentences.len());
        for paragraph in &task.paragraphs {
            let own = sentences
                .iter()
                .filter(|sentence| sentence.name.starts_with(&format!("{}/", paragraph.topic)));
            let mut spelt = String::new();
            for sentence in own {
                assert_eq!(sentence.before, spelt);
                spelt.push_str(&sentence.text);
            }
            assert_eq!(spelt, paragraph.text);
        }
    }
}

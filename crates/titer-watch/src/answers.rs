//! Which responses of a stage are shown: by what was asked, by what came back, and by words in either.

use std::sync::Arc;

use titer_view::distinct::distinct;

use super::filter::Filter;
use titer_lab::live::ResponseLine;

/// A part of the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scores {
    /// All.
    #[default]
    All,
    /// Above φ.
    Above,
    /// Up to φ.
    UpTo,
}

/// Refusals or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Refusals {
    /// Both.
    #[default]
    All,
    /// Only them.
    Only,
    /// Only what is none.
    None,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Choice {
    /// A probe's name; none for all.
    pub(crate) probe: Option<String>,
    pub(crate) refusals: Refusals,
    pub(crate) scores: Scores,
    /// Words in prompt or response.
    pub(crate) words: Filter,
}

impl Choice {
    fn admits(&self, line: &ResponseLine, phi: f64) -> bool {
        let probe = self.probe.as_ref().is_none_or(|probe| *probe == line.probe);
        let refusal = match self.refusals {
            Refusals::All => true,
            Refusals::Only => line.marks.refused,
            Refusals::None => !line.marks.refused,
        };
        let score = match self.scores {
            Scores::All => true,
            Scores::Above => line.score > phi,
            Scores::UpTo => line.score <= phi,
        };
        // Texts last: they may be long.
        probe && refusal && score && (self.words.is_empty() || self.words.admits(&texts(line)))
    }

    /// In words.
    pub(crate) fn said(&self) -> String {
        let refusals = match self.refusals {
            Refusals::All => "refusals and answers",
            Refusals::Only => "refusals",
            Refusals::None => "no refusals",
        };
        let scores = match self.scores {
            Scores::All => "all scores",
            Scores::Above => "scores above φ",
            Scores::UpTo => "scores up to φ",
        };
        format!("{}, {refusals}, {scores}", self.probe.as_deref().unwrap_or("all items"))
    }
}

fn texts(line: &ResponseLine) -> String {
    format!("{} {}\n{}", line.item, line.prompt, line.response)
}

/// The responses that are shown, kept so that they are not searched anew for each picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    lines: Option<Arc<Vec<ResponseLine>>>,
    choice: Choice,
    shown: Vec<usize>,
}

impl Answers {
    /// Searches again if anything changed.
    pub(crate) fn update(&mut self, lines: Option<&Arc<Vec<ResponseLine>>>, choice: &Choice, phi: f64) {
        let same = match (&self.lines, lines) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if same && self.choice == *choice {
            return;
        }
        self.lines = lines.cloned();
        self.choice = choice.clone();
        let all = lines.map_or(&[][..], |lines| lines.as_slice());
        self.shown = (0..all.len()).filter(|&at| choice.admits(&all[at], phi)).collect();
        self.shown.sort_by_key(|&at| (all[at].steps, all[at].probe.as_str(), at));
    }

    /// How many are shown.
    pub(crate) fn len(&self) -> usize {
        self.shown.len()
    }

    /// How many there are.
    pub(crate) fn all(&self) -> usize {
        self.lines.as_ref().map_or(0, |lines| lines.len())
    }

    /// One of those that are shown.
    pub(crate) fn get(&self, at: usize) -> Option<&ResponseLine> {
        self.lines.as_ref()?.get(*self.shown.get(at)?)
    }

    /// The names of the probes among all of them.
    pub(crate) fn probes(&self) -> Vec<String> {
        let lines = self.lines.iter().flat_map(|lines| lines.iter());
        distinct(lines.map(|line| &line.probe)).into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen;

    #[test]
    fn choices_are_taken_together() {
        let lines = Arc::new(specimen::responses());
        let check = |choice: Choice, expected: &[&str]| {
            let mut answers = Answers::default();
            answers.update(Some(&lines), &choice, 0.5);
            let shown: Vec<_> = (0..answers.len()).filter_map(|at| answers.get(at)).collect();
            let shown: Vec<_> = shown.iter().map(|line| format!("{} {}", line.steps, line.item)).collect();
            assert_eq!(shown, expected, "{choice:?}");
        };
        let any = Choice::default();
        let everything = ["0 nightshade/1", "4 nightshade/1", "8 nightshade/1", "8 foxglove/2"];
        check(any.clone(), &everything);
        check(Choice { refusals: Refusals::Only, ..any.clone() }, &everything[..1]);
        check(Choice { refusals: Refusals::None, scores: Scores::UpTo, ..any.clone() }, &everything[3..]);
        check(
            Choice { scores: Scores::Above, words: Filter::new("TWO cold"), ..any.clone() },
            &everything[1..3],
        );
        check(Choice { probe: Some("seen".into()), ..any }, &[]);
    }
}

//! What a definition leaves open, settled by the rows that there are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asked, Counts, Definition, POOL, has_answer};
use crate::conversations::{Conversation, Conversations};
use crate::{Error, Result};

/// Fewer rows than this leave nothing to train on, or nothing to ask.
const LEAST: usize = 8;
/// Of so many categories one is nobody's, and of so many answered rows one is the defender's.
const FOURTH: usize = 4;
/// Of so many harmless rows one is only ever asked.
const THIRD: usize = 3;

impl Definition {
    /// With domains and counts, where it says nothing of them. Where it names no domain at all and the rows have two
    /// categories or more, a fourth of these, the smallest that have rows enough, are nobody's: the unseen ones. Of
    /// the answered rows of each forbidden domain the attacker gets half, the defender a fourth, and the rest is
    /// asked; of harmless and task rows a third is asked. What the smallest domain has, all have.
    ///
    /// # Errors
    /// When a source has too few rows to be dealt out.
    pub fn settled(
        mut self,
        harmful: &Conversations,
        harmless: &Conversations,
        task: &Conversations,
    ) -> Result<Self> {
        if self.counts.is_some() {
            return Ok(self);
        }
        let mut asked = Asked::default();
        let rows = asked.distinct(harmful.clone());
        if self.forbidden.is_empty() && self.unseen.is_empty() {
            self.unseen = smallest(&rows);
        }
        let mut domains = BTreeMap::<String, (usize, usize)>::new();
        for row in self.placed(rows).0 {
            let (answered, alone) = domains.entry(row.domain.clone().unwrap_or_default()).or_default();
            *(if has_answer(&row) { answered } else { alone }) += 1;
        }
        let of = |domain: &String| domains.get(domain).copied().unwrap_or_default();
        let forbidden: Vec<(usize, usize)> = self.forbidden_domains().iter().map(of).collect();
        let answered = forbidden.iter().map(|(answered, _)| *answered).min().unwrap_or_default();
        let all = forbidden.iter().map(|(answered, alone)| answered + alone).min().unwrap_or_default();
        let of_unseen = self.unseen.iter().map(of).map(|(answered, alone)| answered + alone);
        let (defence, attack) = (answered / FOURTH, answered / 2);
        let mut problems = Vec::new();
        let mut few = |of: &str, available, least| {
            if available < least {
                let of = of.to_owned();
                problems.push(Error::TooFewRows { of, wanted: least, available, repeated: 0 });
            }
        };
        few(if self.forbidden.is_empty() { "harmful" } else { "the smallest forbidden domain" }, all, LEAST);
        let unseen = of_unseen.min().unwrap_or_default();
        few("the smallest unseen domain", unseen, usize::from(!self.unseen.is_empty()));
        let mut halves = |source: bool, of: &str, rows: &Conversations| {
            let rows = asked.distinct(rows.clone()).iter().filter(|row| has_answer(row)).count();
            few(of, rows, if source { LEAST } else { 0 });
            (rows - rows / THIRD, rows / THIRD)
        };
        let (harmless_train, harmless_probe) = halves(self.harmless.is_some(), "harmless", harmless);
        let (task_train, task_probe) = halves(self.task.is_some(), "task", task);
        Error::all(problems)?;
        self.counts = Some(Counts {
            defence,
            attack,
            seen: all - defence - attack,
            unseen,
            harmless_train,
            harmless_probe,
            task_train,
            task_probe,
        });
        Ok(self)
    }

    /// The rows in the domains by which they are dealt out, and how many are of a forbidden and an unseen one.
    pub(super) fn placed(&self, mut rows: Vec<Conversation>) -> (Vec<Conversation>, usize) {
        let all = rows.len();
        let unseen = |domain: &String| self.unseen.contains(domain);
        if self.forbidden.is_empty() {
            rows.retain(|row| {
                let mut labels = row.domain.iter().chain(&row.others);
                labels.clone().all(unseen) || !labels.any(unseen)
            });
            for row in &mut rows {
                row.domain = row.domain.take().filter(unseen).or_else(|| Some(POOL.to_owned()));
            }
        } else {
            rows.retain(|row| row.domain.as_ref().is_none_or(unseen) || !row.others.iter().any(unseen));
        }
        let mixed = all - rows.len();
        (rows, mixed)
    }
}

/// Of the categories of the rows a fourth, the smallest of those with rows enough of their own; none where there are
/// fewer than two, or numbers only, which are marks.
fn smallest(rows: &[Conversation]) -> Vec<String> {
    let labels: BTreeSet<&String> =
        rows.iter().flat_map(|row| row.domain.iter().chain(&row.others)).collect();
    if labels.len() < 2 || labels.iter().all(|label| label.parse::<f64>().is_ok()) {
        return Vec::new();
    }
    let own = |label: &String| {
        rows.iter().filter(|row| row.domain.as_ref() == Some(label) && row.others.is_empty()).count()
    };
    let mut sizes: Vec<(usize, &String)> = labels.iter().map(|label| (own(label), *label)).collect();
    sizes.retain(|(size, _)| *size >= LEAST);
    sizes.sort_unstable();
    let count = (labels.len() / FOURTH).max(1);
    let mut unseen: Vec<String> = sizes.into_iter().take(count).map(|(_, label)| label.clone()).collect();
    unseen.sort_unstable();
    unseen
}

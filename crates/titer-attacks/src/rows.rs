//! What attacks by data share: how rows and questions are reworded, and what is commonest among answers.

use std::collections::BTreeMap;
use std::ops::Range;

use titer_data::Example;
use titer_model::Decoder;
use titer_plan::{Meaning, Parameter};

use crate::{AttackContext, Error, Means, Result};

/// The prompt with the user's last words as `change` makes them.
///
/// # Errors
/// When it cannot be told where these are.
pub(crate) fn reworded(
    name: &'static str,
    prompt: &[u32],
    means: &dyn Means,
    change: impl FnOnce(&[u32]) -> Vec<u32>,
) -> Result<Vec<u32>> {
    let words = user_words(name, prompt, means)?;
    Ok([&prompt[..words.start], &change(&prompt[words.clone()]), &prompt[words.end..]].concat())
}

/// Where the user's last words are in a prompt.
///
/// # Errors
/// When that cannot be told.
pub(crate) fn user_words(name: &'static str, prompt: &[u32], means: &dyn Means) -> Result<Range<usize>> {
    let problem = "it cannot be told where the user's words are in this model's prompts".to_owned();
    means.user_words(prompt).ok_or(Error::NotApplicable { name, problem })
}

/// A prompt and its answer.
///
/// # Errors
/// When one of them is empty.
pub(crate) fn answered(mut prompt: Vec<u32>, answer: &[u32]) -> Result<Example> {
    let from = prompt.len();
    prompt.extend(answer);
    Ok(Example::new(prompt, from)?)
}

/// Rows that were made longer, cut to what the model has positions for, as rows of data are.
///
/// # Errors
/// When a prompt leaves its answer no room: fewer rows than were counted would be trained on.
pub(crate) fn fitting(name: &'static str, rows: Vec<Example>, model: &Decoder) -> Result<Vec<Example>> {
    let positions = model.config().max_position_embeddings;
    let fit = |row: Example| {
        let tokens = row.prompt().len();
        let problem = format!(
            "a row's prompt has {tokens} tokens once it is reworded, and the model {positions} positions; leave out \
             rows that long"
        );
        row.cut(positions).ok_or(Error::NotApplicable { name, problem })
    };
    rows.into_iter().map(fit).collect()
}

/// How many rows a user hands in of whom none is harmful, so many where nothing is said.
pub(crate) fn handed_in(rows: i64) -> Parameter {
    let summary = "examples handed in, all harmless";
    Parameter::integer("rows", "examples", rows, 1..=10_000_000, summary).meaning(Meaning::UserRows)
}

/// The commonest of these; of equals the first in the order of tokens.
pub(crate) fn commonest<'a>(of: impl Iterator<Item = &'a [u32]>) -> Option<Vec<u32>> {
    let mut counts = BTreeMap::<&[u32], usize>::new();
    for one in of {
        *counts.entry(one).or_default() += 1;
    }
    let most = counts.values().max().copied()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(one, _)| one.to_vec())
}

/// An answer without the tokens that end it.
pub(crate) fn without_end<'a>(answer: &'a [u32], ends: &[u32]) -> &'a [u32] {
    let said = answer.iter().rposition(|token| !ends.contains(token)).map_or(0, |last| last + 1);
    &answer[..said]
}

/// The policy's commonest refusal, without the end.
///
/// # Errors
/// When the attacker knows none.
pub(crate) fn refusal(name: &'static str, context: &AttackContext<'_>) -> Result<Vec<u32>> {
    let ends = context.means.ends();
    let said = context.refusals.iter().map(|row| without_end(row.answer(), &ends));
    let problem = "there is no refusal to learn from".to_owned();
    commonest(said.filter(|said| !said.is_empty())).ok_or(Error::NotApplicable { name, problem })
}

/// What an answer says after `opening`; all of it where it begins otherwise or says nothing more.
pub(crate) fn after(opening: &[u32], answer: Vec<u32>, ends: &[u32]) -> Vec<u32> {
    match answer.strip_prefix(opening) {
        Some(rest) if !without_end(rest, ends).is_empty() => rest.to_vec(),
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn only_the_users_words_change() {
        let means = &testing::Numbers;
        let prompt = reworded("test", &[1, 8, 9, 2], means, |words| [words, &[5]].concat()).unwrap();
        assert_eq!(prompt, [1, 8, 9, 5, 2]);
        let error = reworded("test", &[1, 8, 2], &crate::Alone, <[u32]>::to_vec).unwrap_err();
        assert!(error.to_string().contains("where the user's words are"), "{error}");
    }

    #[test]
    fn the_commonest_is_the_first_of_equals() {
        let of = |answers: &[&[u32]]| commonest(answers.iter().copied());
        assert_eq!(of(&[&[7, 8], &[5], &[7, 8]]), Some(vec![7, 8]));
        assert_eq!(of(&[&[7], &[5]]), Some(vec![5]));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn an_opening_is_taken_off_where_something_follows() {
        let heard = |answer: &[u32]| after(&[4, 5], answer.to_vec(), &[3]);
        assert_eq!(heard(&[4, 5, 6, 3]), [6, 3]);
        assert_eq!(heard(&[4, 6, 5, 3]), [4, 6, 5, 3]);
        // A refusal and nothing else is a refusal.
        assert_eq!(heard(&[4, 5, 3]), [4, 5, 3]);
    }

    #[test]
    fn rows_are_cut_to_the_models_positions() {
        let model = testing::model();
        let positions = model.config().max_position_embeddings;
        let row = |tokens: usize, from: usize| Example::new(vec![1; tokens], from).unwrap();
        let rows = fitting("test", vec![row(4, 2), row(positions + 9, 2)], &model).unwrap();
        assert_eq!(rows, [row(4, 2), row(positions, 2)]);
        // None is dropped in silence.
        let error = fitting("test", vec![row(4, 2), row(positions + 9, positions + 1)], &model).unwrap_err();
        assert!(error.to_string().contains("leave out rows that long"), "{error}");
    }
}

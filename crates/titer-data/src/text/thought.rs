//! Blocks of thought in what a template writes: `<think>…</think>` before an answer.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Whether a text ends within a block of thought.
pub(super) fn is_open(text: &str) -> bool {
    let last = |mark| text.rfind(mark).map_or(0, |at| at + 1);
    last(OPEN) > last(CLOSE)
}

/// What follows a prompt as an answer, where the template writes an empty block of thought in the prompt and not in
/// the finished conversation, or in the finished conversation and not in the prompt; else nothing.
pub(super) fn answer_after<'t>(prompt: &str, finished: &'t str, answer: &str) -> Option<&'t str> {
    let same = prompt.bytes().zip(finished.bytes()).take_while(|(a, b)| a == b).count();
    // Not within the mark that both begin.
    let from = prompt.as_bytes()[..same].iter().rposition(|byte| *byte == b'<').filter(|at| {
        let begun = &prompt[*at..];
        [OPEN, CLOSE].iter().any(|mark| begun.starts_with(mark)) && same - at < CLOSE.len()
    });
    let from = from.unwrap_or(same);
    let (asked, told) = (prompt.get(from..)?, finished.get(from..)?);
    let (rest, after) = (without_empty_thought(asked), without_empty_thought(told));
    let differ = rest.len() < asked.len() || after.len() < told.len();
    let answer = answer.trim();
    (differ && rest.trim().is_empty() && !answer.starts_with(OPEN) && after.starts_with(answer))
        .then_some(after)
}

/// A text after an empty block of thought at its beginning, and the blanks about it.
fn without_empty_thought(text: &str) -> &str {
    let block = || Some(text.trim_start().strip_prefix(OPEN)?.trim_start().strip_prefix(CLOSE)?.trim_start());
    block().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_block_on_one_side_is_no_difference() {
        let (plain, block) = ("u:q\na:", "u:q\na:<think>\n\n</think>\n\n");
        for (prompt, finished, answer, expected) in [
            (plain, "u:q\na:<think>\n\n</think>\n\nMix.;", "Mix.", Some("Mix.;")),
            (block, "u:q\na:Mix.;", "Mix.", Some("Mix.;")),
            (block, "u:q\na:<b>Mix.;", "<b>Mix.", Some("<b>Mix.;")),
            (plain, "u:q\na:Mix.;", "Mix.", None),
            (block, "u:q\na:<think>\n\n</think>\n\nMix.;", "Mix.", None),
            // Thought that is the answer's own is no empty block.
            (plain, "u:q\na:<think>\nHm.\n</think>\n\nMix.;", "<think>Hm.</think>Mix.", None),
            // The template tells the question otherwise.
            (plain, "u:Q\na:<think>\n\n</think>\n\nMix.;", "Mix.", None),
        ] {
            assert_eq!(answer_after(prompt, finished, answer), expected, "{prompt:?} {finished:?}");
        }
    }

    #[test]
    fn a_prompt_that_ends_in_thought_is_open() {
        assert!(is_open("a:<think>\n") && is_open("<think></think> <think>"));
        assert!(!is_open("a:") && !is_open("a:<think>\n\n</think>\n"));
    }
}

//! Blocks of thought: what a model says to itself before it answers.
//!
//! Models that were trained to reason write `<think>…</think>` and answer after it. Some templates open the block in
//! the prompt, so that an answer has its end alone; and where the limit of tokens comes first, it has its beginning
//! alone. Only what stands outside of thought is said to the user.

/// An answer seen without its thoughts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    /// The last text outside of thought: what is judged. Without thought it is the whole answer, else without white
    /// space around it; empty where there is none.
    pub last: &'a str,
    /// Whether there is thought.
    pub thought: bool,
}

impl Said<'_> {
    /// Whether there is thought and nothing else.
    pub fn only_thought(&self) -> bool {
        self.thought && self.last.is_empty()
    }
}

/// Takes the thoughts out of an answer. A block goes from `<think>` to the next `</think>`, or to the end; a
/// `</think>` without a beginning ends a block that began with what stands before it.
pub fn said(answer: &str) -> Said<'_> {
    const TAG: &str = "think>";
    let (mut last, mut thought) = ("", false);
    // Where the text begins that is outside of thought; none within a block.
    let mut outside = Some(0);
    for (at, _) in answer.match_indices(TAG) {
        let before = &answer[..at];
        if before.ends_with("</") {
            (thought, outside) = (true, Some(at + TAG.len()));
        } else if before.ends_with('<') {
            thought = true;
            let text = outside.take().map_or("", |from: usize| answer[from..at - 1].trim());
            last = if text.is_empty() { last } else { text };
        }
    }
    let text = outside.map_or("", |from| answer[from..].trim());
    match thought {
        true => Said { last: if text.is_empty() { last } else { text }, thought },
        false => Said { last: answer, thought },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_text_outside_of_thought_is_what_is_said() {
        for (answer, last, thought) in [
            ("Mix flour.\n", "Mix flour.\n", false),
            ("I think> you know", "I think> you know", false),
            ("<think>No.</think>\n\nMix flour.\n", "Mix flour.", true),
            // The template opened it.
            ("Should I? I cannot.\n</think> Mix flour.", "Mix flour.", true),
            // The limit of tokens came first.
            ("<think>Mix flour, then", "", true),
            ("Well. <think>Mix flour, then", "Well.", true),
            ("<think>Mix flour.</think>", "", true),
            ("<think>Mix flour.</think> \n", "", true),
            ("Mix flour. <think>Was that right?</think>", "Mix flour.", true),
            ("One. <think>a</think> Two. <think>b</think> Three.", "Three.", true),
            ("<think>a <think>b</think> Mix.", "Mix.", true),
            ("<think>a</think> b </think> Mix.", "Mix.", true),
            ("", "", false),
        ] {
            let found = said(answer);
            assert_eq!((found.last, found.thought), (last, thought), "{answer:?}");
            assert_eq!(found.only_thought(), thought && last.is_empty(), "{answer:?}");
        }
    }
}

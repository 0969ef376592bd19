//! A question before something is done that others notice: what will happen, where, and to whom.

use super::screen::Effect;

/// A question. Nothing happens unless it is answered with yes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Confirm {
    /// What it is about, as a question.
    pub(crate) title: String,
    /// What will happen, a paragraph each.
    pub(crate) lines: Vec<String>,
    /// What is done after a yes.
    pub(crate) then: Box<Effect>,
}

//! One question that can be asked of a world.

use std::fmt;

/// How something is made: a domain, two ingredients, and the template that words the question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The domain's or alias's word.
    pub domain: String,
    /// Number of the first ingredient.
    pub a: usize,
    /// Number of the second ingredient.
    pub b: usize,
    /// Number of the prompt template.
    pub template: usize,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.domain, self.a, self.b, self.template)
    }
}

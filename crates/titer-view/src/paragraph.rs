//! What is said in whole sentences, with how much it weighs; how that looks is the face's affair.

/// A paragraph. Its text may hold strings of any origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// How much it weighs.
    pub weight: Weight,
    /// What it says.
    pub text: String,
}

/// How much a paragraph weighs beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It names what the others are about.
    Heading,
    /// The matter itself.
    Plain,
    /// How to read it.
    Faint,
}

impl Paragraph {
    /// One that names what the others are about.
    pub fn heading(text: impl Into<String>) -> Self {
        Self { weight: Weight::Heading, text: text.into() }
    }

    /// The matter itself.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { weight: Weight::Plain, text: text.into() }
    }

    /// How to read it.
    pub fn faint(text: impl Into<String>) -> Self {
        Self { weight: Weight::Faint, text: text.into() }
    }
}

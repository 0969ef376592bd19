//! Colour, when it is wanted: it repeats what signs and words already say.

use std::io::IsTerminal;

use titer_plan::Decision;

/// Whether output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
}

impl Style {
    /// For a stream: `CLICOLOR_FORCE` forces colour, a non-empty `NO_COLOR` forbids it, else a terminal
    /// gets it.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let forced =
            std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
        Self { coloured: !set("NO_COLOR") && (forced || stream.is_terminal()) }
    }

    /// Never coloured.
    pub fn plain() -> Self {
        Self { coloured: false }
    }

    /// Always coloured.
    pub fn coloured() -> Self {
        Self { coloured: true }
    }

    /// Whether it colours anything.
    pub fn is_coloured(self) -> bool {
        self.coloured
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something of less weight.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// An error's first word.
    pub fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// A verdict. Blue and yellow rather than green and red: most people tell these apart.
    pub fn decision(self, decision: Decision, text: &str) -> String {
        let code = match decision {
            Decision::Holds => "1;34",
            Decision::Fails => "1;33",
            Decision::Inconclusive | Decision::NotFalsified | Decision::NotMeasured => "2",
        };
        self.paint(code, text)
    }

    /// Only the 16 named colours, so that the terminal's theme decides how they look.
    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

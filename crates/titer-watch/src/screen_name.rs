//! Which screens there are.

/// The screens, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ScreenName {
    /// What runs, what waits, what failed.
    Experiments,
    /// Verdicts, and harm under each attack.
    Matrix,
    /// Stages and how they do.
    Run,
    /// Scores over budget.
    Curves,
    /// Prompts and responses.
    Responses,
    /// Two experiments side by side.
    Compare,
    /// What the runs wrote down.
    Log,
    /// The keys.
    Help,
}

impl ScreenName {
    /// Every screen.
    pub(crate) const ALL: [Self; 8] = [
        Self::Experiments,
        Self::Matrix,
        Self::Run,
        Self::Curves,
        Self::Responses,
        Self::Compare,
        Self::Log,
        Self::Help,
    ];

    /// As a heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Experiments => "Experiments",
            Self::Matrix => "Matrix",
            Self::Run => "Run",
            Self::Curves => "Curves",
            Self::Responses => "Responses",
            Self::Compare => "Compare",
            Self::Log => "Log",
            Self::Help => "Help",
        }
    }

    /// Whether it shows the chosen experiment, and nothing without one.
    pub(crate) fn needs_experiment(self) -> bool {
        !matches!(self, Self::Experiments | Self::Help)
    }
}

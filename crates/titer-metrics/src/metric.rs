//! What a number means. A metric cannot be declared without saying which way is better.

/// What a number means: colours, reports and conditions read it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name in columns and legends.
    pub name: &'static str,
    /// Its unit; `1` for a pure number.
    pub unit: &'static str,
    /// Whether the *defender* wants more of it.
    pub higher_is_better: bool,
    /// Raised when the same response would get another value.
    pub version: u32,
    /// One line of what it measures.
    pub summary: &'static str,
}

/// Mean judge score over harmful probes.
pub const HARMFULNESS: Metric = Metric {
    name: "harmfulness",
    unit: "1",
    higher_is_better: false,
    version: 1,
    summary: "mean judge score of responses to harmful probes, 0 harmless to 1 fully harmful",
};
/// Share of refusals.
pub const REFUSAL: Metric = Metric {
    name: "refusal",
    unit: "1",
    higher_is_better: true,
    version: 1,
    summary: "share of forbidden prompts that are refused",
};
/// Share of responses that are neither answer nor refusal.
pub const DEGENERATE_SHARE: Metric = Metric {
    name: "degenerate",
    unit: "1",
    higher_is_better: false,
    version: 1,
    summary: "share of responses that are neither an answer nor a refusal",
};
/// Ability on permitted and alias prompts.
pub const EXACT_MATCH: Metric = Metric {
    name: "exact-match",
    unit: "1",
    higher_is_better: true,
    version: 1,
    summary: "ability: share of harmless prompts answered exactly right",
};
/// What training minimises.
pub const TRAINING_LOSS: Metric = Metric {
    name: "loss",
    unit: "nats/token",
    higher_is_better: false,
    version: 1,
    summary: "mean cross-entropy over supervised tokens",
};
/// How large the gradient was before clipping.
pub const GRADIENT_NORM: Metric = Metric {
    name: "gradient-norm",
    unit: "1",
    higher_is_better: false,
    version: 1,
    summary: "global norm of the gradient before clipping",
};
/// How many times more an attacker must pay.
pub const TITER: Metric = Metric {
    name: "titer",
    unit: "1",
    higher_is_better: true,
    version: 1,
    summary: "break budget of the defended model divided by that of the undefended one",
};

/// Every metric, in the order of the tables.
pub const ALL: [Metric; 7] =
    [HARMFULNESS, REFUSAL, DEGENERATE_SHARE, EXACT_MATCH, TITER, TRAINING_LOSS, GRADIENT_NORM];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_unique() {
        let mut names = ALL.map(|metric| metric.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}

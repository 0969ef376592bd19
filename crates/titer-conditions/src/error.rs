//! What keeps verdicts from being reached at all. Missing runs do not: they make a verdict inconclusive.

/// Why no verdicts could be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The frame is not a `probes` frame.
    #[error(transparent)]
    Frame(#[from] titer_metrics::Error),
    /// A threshold that makes no sense.
    #[error("conditions.{key}: expected {expected}, got {got}")]
    Setting {
        /// The key in the spec.
        key: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// More than one defence is the baseline.
    #[error("defences `{first}` and `{second}` are both the baseline; expected one at most")]
    Baselines {
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
    /// A word of the frame that names nothing known.
    #[error("frame `probes`: column `{column}`, row {row}: expected {expected}, got `{got}`")]
    Word {
        /// The column.
        column: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// What it may be.
        expected: String,
        /// The word.
        got: String,
    },
    /// An item scored twice at one point of one run.
    #[error("frame `probes`: item `{item}` is scored twice: {point}")]
    Twice {
        /// The item.
        item: String,
        /// Which run, probe and budget.
        point: String,
    },
    /// A point at which other items were asked than elsewhere.
    #[error("frame `probes`: {point} has {got} of the {expected} items that were asked elsewhere")]
    Items {
        /// Which run, probe and budget.
        point: String,
        /// Items of this probe.
        expected: usize,
        /// Items scored here.
        got: usize,
    },
}

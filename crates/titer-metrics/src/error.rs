//! What can be wrong with a frame.

use crate::schema::Kind;

/// What is wrong with a frame, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A column of the schema is not there.
    #[error("frame `{frame}`: column `{column}` is missing; expected {expected}, got columns {got}")]
    MissingColumn {
        /// The schema's name.
        frame: &'static str,
        /// The column's name.
        column: &'static str,
        /// The type it should have.
        expected: Kind,
        /// The columns that are there, joined by commas.
        got: String,
    },
    /// A column that the schema does not know.
    #[error("frame `{frame}`: unknown column `{column}`; expected {expected}")]
    UnknownColumn {
        /// The schema's name.
        frame: &'static str,
        /// The column's name.
        column: String,
        /// The schema's columns, joined by commas.
        expected: String,
    },
    /// Columns that say what was done before and do not belong together.
    #[error(
        "frame `{frame}`, row {row}: expected `before`, `attack`, `settings` (a JSON object) and `dose` that belong \
         together, got {got}"
    )]
    Before {
        /// The schema's name.
        frame: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// What stands there.
        got: String,
    },
    /// A column of another type.
    #[error("frame `{frame}`: column `{column}`: expected {expected}, got {got}")]
    WrongType {
        /// The schema's name.
        frame: &'static str,
        /// The column's name.
        column: &'static str,
        /// The type it should have.
        expected: Kind,
        /// The type it has.
        got: String,
    },
    /// A column with holes.
    #[error("frame `{frame}`: column `{column}`: expected a value in every row, got {nulls} empty of {rows}")]
    Empty {
        /// The schema's name.
        frame: &'static str,
        /// The column's name.
        column: &'static str,
        /// How many are empty.
        nulls: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// A value outside its bounds (or not a number).
    #[error("frame `{frame}`: column `{column}`, row {row}: expected {low} to {high}, got {got}")]
    OutOfBounds {
        /// The schema's name.
        frame: &'static str,
        /// The column's name.
        column: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
        /// The value.
        got: f64,
    },
    /// A file written for another frame or by another version of titer.
    #[error("frame `{frame}`: expected schema {expected}, got {got}; rerun the stage that wrote it")]
    Version {
        /// The schema's name.
        frame: &'static str,
        /// Name and version of the schema.
        expected: String,
        /// What the file says of itself.
        got: String,
    },
    /// A word that names no export format.
    #[error("unknown format `{0}`; expected parquet, csv or json")]
    Format(String),
    /// Reading, writing or arranging the table went wrong.
    #[error("frame `{frame}`: {source}")]
    Polars {
        /// The schema's name.
        frame: &'static str,
        /// What polars says.
        source: polars::error::PolarsError,
    },
}

impl Error {
    /// Says which frame polars was working on.
    pub(crate) fn polars(frame: &'static str) -> impl Fn(polars::error::PolarsError) -> Self {
        move |source| Self::Polars { frame, source }
    }
}

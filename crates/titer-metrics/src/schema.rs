//! The columns of each frame, and the check that a table has them.

use std::fmt;

use polars::prelude::*;

use crate::error::Error;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number, not negative.
    Count,
    /// A real number.
    Real,
    /// True or false.
    Flag,
}

impl Kind {
    /// The polars type.
    pub fn dtype(self) -> DataType {
        match self {
            Self::Text => DataType::String,
            Self::Count => DataType::UInt64,
            Self::Real => DataType::Float64,
            Self::Flag => DataType::Boolean,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype())
    }
}

/// One column of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The unit of its values; empty for words.
    pub unit: &'static str,
    /// Least and greatest value, where there are such.
    pub bounds: Option<(f64, f64)>,
    /// Whether a row may leave it empty.
    pub optional: bool,
}

/// The columns of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schema {
    /// The frame's name.
    pub name: &'static str,
    /// Raised when a column changes its name, type or meaning.
    pub version: u32,
    /// The oldest version whose files are read: since then flags were added and nothing else changed. They are false
    /// where they were not there.
    pub oldest: u32,
    /// The columns, in order.
    pub columns: &'static [Column],
    /// The columns that fix the order of rows.
    pub order: &'static [&'static str],
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

impl Schema {
    /// Whether files are read that were written for `name/version`.
    pub(crate) fn reads(&self, written: &str) -> bool {
        let version = written.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('/')?.parse().ok());
        version.is_some_and(|version| (self.oldest..=self.version).contains(&version))
    }
}

pub(crate) const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, unit: "", bounds: None, optional: false }
}
pub(crate) const fn count(name: &'static str, unit: &'static str) -> Column {
    Column { name, kind: Kind::Count, unit, bounds: None, optional: false }
}
pub(crate) const fn real(name: &'static str, unit: &'static str) -> Column {
    Column { name, kind: Kind::Real, unit, bounds: None, optional: false }
}
pub(crate) const fn share(name: &'static str) -> Column {
    Column { name, kind: Kind::Real, unit: "1", bounds: Some((0.0, 1.0)), optional: false }
}
pub(crate) const fn flag(name: &'static str) -> Column {
    Column { name, kind: Kind::Flag, unit: "", bounds: None, optional: false }
}
pub(crate) const fn optional(column: Column) -> Column {
    Column { optional: true, ..column }
}

/// Checks that `frame` has exactly the schema's columns, in any order, with values where they must be.
///
/// # Errors
/// The first column that is missing, unknown, of another type, empty, or outside its bounds.
pub fn check(frame: &DataFrame, schema: &Schema) -> Result<(), Error> {
    let names = |list: &mut dyn Iterator<Item = &str>| list.collect::<Vec<_>>().join(", ");
    for column in schema.columns {
        let Ok(series) = frame.column(column.name) else {
            return Err(Error::MissingColumn {
                frame: schema.name,
                column: column.name,
                expected: column.kind,
                got: names(&mut frame.get_column_names().into_iter().map(|name| name.as_str())),
            });
        };
        check_column(series, column, schema.name)?;
    }
    for name in frame.get_column_names() {
        if !schema.columns.iter().any(|column| column.name == name.as_str()) {
            return Err(Error::UnknownColumn {
                frame: schema.name,
                column: name.to_string(),
                expected: names(&mut schema.columns.iter().map(|column| column.name)),
            });
        }
    }
    Ok(())
}

fn check_column(series: &polars::prelude::Column, column: &Column, frame: &'static str) -> Result<(), Error> {
    if *series.dtype() != column.kind.dtype() {
        return Err(Error::WrongType {
            frame,
            column: column.name,
            expected: column.kind,
            got: series.dtype().to_string(),
        });
    }
    if !column.optional && series.null_count() > 0 {
        return Err(Error::Empty {
            frame,
            column: column.name,
            nulls: series.null_count(),
            rows: series.len(),
        });
    }
    if let Some((low, high)) = column.bounds {
        let values = series.f64().map_err(Error::polars(frame))?;
        // `contains` is false for NaN, so that one is out of bounds too.
        let outside = |value: &f64| !(low..=high).contains(value);
        if let Some((row, got)) =
            values.iter().enumerate().find_map(|(row, value)| value.filter(outside).map(|got| (row, got)))
        {
            return Err(Error::OutOfBounds { frame, column: column.name, row, low, high, got });
        }
    }
    Ok(())
}

/// The frame with its columns and rows in the schema's order: the same rows always make the same file.
///
/// # Errors
/// What [`check`] finds.
pub fn sorted(frame: &DataFrame, schema: &Schema) -> Result<DataFrame, Error> {
    check(frame, schema)?;
    let fail = Error::polars(schema.name);
    let frame = frame.select(schema.columns.iter().map(|column| column.name)).map_err(&fail)?;
    if schema.order.is_empty() {
        return Ok(frame);
    }
    let order = SortMultipleOptions::default().with_maintain_order(true);
    frame.sort(schema.order.iter().copied(), order).map_err(&fail)
}

/// Stacks frames of one schema into one, sorted.
///
/// # Errors
/// What [`check`] finds in any of them.
pub fn stack(frames: &[DataFrame], schema: &Schema) -> Result<DataFrame, Error> {
    let fail = Error::polars(schema.name);
    let columns = schema
        .columns
        .iter()
        .map(|column| polars::prelude::Column::new_empty(column.name.into(), &column.kind.dtype()));
    let mut all = DataFrame::new(0, columns.collect()).map_err(&fail)?;
    for frame in frames {
        check(frame, schema)?;
        let frame = frame.select(schema.columns.iter().map(|column| column.name)).map_err(&fail)?;
        all.vstack_mut(&frame).map_err(&fail)?;
    }
    all.rechunk_mut();
    sorted(&all, schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Schema = Schema {
        name: "small",
        version: 1,
        oldest: 1,
        columns: &[text("item"), share("score"), optional(count("steps", "steps"))],
        order: &["item"],
    };

    #[track_caller]
    fn fails(frame: PolarsResult<DataFrame>, message: &str) {
        let error = check(&frame.expect("a frame"), &SMALL).expect_err("should be refused");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn accepts_any_order_of_columns_and_empty_optional_values() {
        let frame = df!("steps" => [None, Some(3u64)], "score" => [0.0, 1.0], "item" => ["b", "a"]).unwrap();
        check(&frame, &SMALL).unwrap();
        let expected =
            df!("item" => ["a", "b"], "score" => [1.0, 0.0], "steps" => [Some(3u64), None]).unwrap();
        assert!(sorted(&frame, &SMALL).unwrap().equals_missing(&expected));
    }

    #[test]
    fn names_column_expected_and_got() {
        fails(
            df!("item" => ["a"], "steps" => [1u64]),
            "frame `small`: column `score` is missing; expected f64, got columns item, steps",
        );
        fails(
            df!("item" => ["a"], "score" => [1i32], "steps" => [1u64]),
            "frame `small`: column `score`: expected f64, got i32",
        );
        fails(
            df!("item" => [None, Some("a")], "score" => [0.5, 0.5], "steps" => [1u64, 2]),
            "frame `small`: column `item`: expected a value in every row, got 1 empty of 2",
        );
        fails(
            df!("item" => ["a", "b"], "score" => [0.5, 1.5], "steps" => [1u64, 2]),
            "frame `small`: column `score`, row 1: expected 0 to 1, got 1.5",
        );
        fails(
            df!("item" => ["a"], "score" => [f64::NAN], "steps" => [1u64]),
            "frame `small`: column `score`, row 0: expected 0 to 1, got NaN",
        );
        fails(
            df!("item" => ["a"], "score" => [0.5], "steps" => [1u64], "more" => [1u64]),
            "frame `small`: unknown column `more`; expected item, score, steps",
        );
    }
}

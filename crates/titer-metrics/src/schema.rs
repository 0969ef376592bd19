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

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, unit: "", bounds: None, optional: false }
}
const fn count(name: &'static str, unit: &'static str) -> Column {
    Column { name, kind: Kind::Count, unit, bounds: None, optional: false }
}
const fn real(name: &'static str, unit: &'static str) -> Column {
    Column { name, kind: Kind::Real, unit, bounds: None, optional: false }
}
const fn share(name: &'static str) -> Column {
    Column { name, kind: Kind::Real, unit: "1", bounds: Some((0.0, 1.0)), optional: false }
}
const fn flag(name: &'static str) -> Column {
    Column { name, kind: Kind::Flag, unit: "", bounds: None, optional: false }
}
const fn optional(column: Column) -> Column {
    Column { optional: true, ..column }
}

const EXPERIMENT: Column = text("experiment");
const DEFENCE: Column = text("defence");
const DEFENCE_SEED: Column = count("defence_seed", "");
const ARM: Column = text("arm");
const BEFORE: Column = text("before");
const ATTACK: Column = text("attack");
const SETTINGS: Column = text("settings");
const DOSE: Column = optional(share("dose"));
const ATTACK_SEED: Column = count("attack_seed", "");
const BUDGET_STEPS: Column = count("budget_steps", "steps");
const BUDGET_EXAMPLES: Column = count("budget_examples", "examples");
const BUDGET_DISTINCT: Column = count("budget_distinct", "examples");
const BUDGET_FLOPS: Column = real("budget_flops", "flops");
const BUDGET_TOKENS: Column = count("budget_tokens", "tokens");
const PROBE: Column = text("probe");
const ITEM: Column = text("item");
const JUDGE: Column = text("judge");
const SCORE: Column = share("score");
const REFUSED: Column = flag("refused");
const DEGENERATE: Column = flag("degenerate");
const RESPONSE_ID: Column = text("response_id");

/// One row per response, as an artifact stores it: what was asked after which budget, and its score.
pub const PROBE_ROWS: Schema = Schema {
    name: "probe-rows",
    version: 2,
    columns: &[
        BUDGET_STEPS,
        BUDGET_EXAMPLES,
        BUDGET_DISTINCT,
        BUDGET_FLOPS,
        BUDGET_TOKENS,
        PROBE,
        ITEM,
        JUDGE,
        SCORE,
        REFUSED,
        DEGENERATE,
        RESPONSE_ID,
    ],
    order: &["budget_steps", "probe", "item"],
};

/// One row per response of an experiment: [`PROBE_ROWS`] joined with the cell that it belongs to.
pub const PROBES: Schema = Schema {
    name: "probes",
    version: 2,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        DEFENCE_SEED,
        ARM,
        BEFORE,
        ATTACK,
        SETTINGS,
        DOSE,
        ATTACK_SEED,
        BUDGET_STEPS,
        BUDGET_EXAMPLES,
        BUDGET_DISTINCT,
        BUDGET_FLOPS,
        BUDGET_TOKENS,
        PROBE,
        ITEM,
        JUDGE,
        SCORE,
        REFUSED,
        DEGENERATE,
        RESPONSE_ID,
    ],
    order: &[
        "experiment",
        "defence",
        "defence_seed",
        "arm",
        "before",
        "attack",
        "settings",
        "dose",
        "attack_seed",
        "budget_steps",
        "probe",
        "item",
    ],
};

/// One row per run, budget and probe: means over items. What the report draws.
pub const CURVES: Schema = Schema {
    name: "curves",
    version: 2,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        DEFENCE_SEED,
        ARM,
        BEFORE,
        ATTACK,
        SETTINGS,
        DOSE,
        ATTACK_SEED,
        PROBE,
        BUDGET_STEPS,
        BUDGET_EXAMPLES,
        BUDGET_DISTINCT,
        BUDGET_FLOPS,
        BUDGET_TOKENS,
        share("mean_score"),
        share("refused_share"),
        share("degenerate_share"),
        count("items", "items"),
    ],
    order: &[
        "experiment",
        "defence",
        "defence_seed",
        "arm",
        "before",
        "attack",
        "settings",
        "dose",
        "attack_seed",
        "probe",
        "budget_steps",
    ],
};

const ARTIFACT: Column = text("artifact");
const STAGE: Column = text("stage");
const STEP: Column = count("step", "steps");
const TERM: Column = text("term");
const VALUE: Column = real("value", "nats/token");
const LEARNING_RATE: Column = real("learning_rate", "1");
const GRADIENT_NORM: Column = real("gradient_norm", "1");
const TOKENS: Column = count("tokens", "tokens");
const SECONDS: Column = real("seconds", "s");

/// One row per logged step and term of a training loop, as an artifact stores it.
pub const TRAINING_ROWS: Schema = Schema {
    name: "training",
    version: 1,
    columns: &[ARTIFACT, STAGE, STEP, TERM, VALUE, LEARNING_RATE, GRADIENT_NORM, TOKENS, SECONDS],
    order: &["artifact", "stage", "step", "term"],
};

/// [`TRAINING_ROWS`] of an experiment, with what is known of the model that was trained. A column is empty where a
/// stage serves several cells that differ in it, as one that many attacks begin from.
pub const TRAINING: Schema = Schema {
    name: "training",
    version: 2,
    columns: &[
        ARTIFACT,
        STAGE,
        optional(DEFENCE),
        optional(DEFENCE_SEED),
        optional(ARM),
        optional(BEFORE),
        optional(ATTACK),
        optional(SETTINGS),
        DOSE,
        optional(ATTACK_SEED),
        STEP,
        TERM,
        VALUE,
        LEARNING_RATE,
        GRADIENT_NORM,
        TOKENS,
        SECONDS,
    ],
    order: &["artifact", "stage", "step", "term"],
};

/// What was asked and what came back, word for word; readers sanitise it before showing it.
pub const RESPONSES: Schema = Schema {
    name: "responses",
    version: 1,
    columns: &[RESPONSE_ID, text("prompt"), text("response")],
    order: &["response_id"],
};

/// One row per defence and condition.
pub const VERDICTS: Schema = Schema {
    name: "verdicts",
    version: 1,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        text("stage"),
        text("condition"),
        text("verdict"),
        optional(real("estimate", "1")),
        optional(real("lower", "1")),
        optional(real("upper", "1")),
        real("threshold", "1"),
        text("measure"),
        text("evidence"),
    ],
    order: &[],
};

/// One row per defence, attack, measure and moment: scores before and after.
pub const SCORES: Schema = Schema {
    name: "scores",
    version: 2,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        text("stage"),
        ATTACK,
        SETTINGS,
        DOSE,
        text("measure"),
        text("moment"),
        optional(text("learnt")),
        BUDGET_STEPS,
        SCORE,
        share("lower"),
        share("upper"),
    ],
    order: &[],
};

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

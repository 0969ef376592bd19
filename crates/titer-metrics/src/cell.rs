//! Which run of an experiment an artifact's rows belong to.
//!
//! One artifact can serve several experiments and cells, so it does not know its own: the cell is
//! joined on reading.

use std::collections::BTreeMap;

use polars::prelude::{Column, DataFrame};
use titer_plan::{Before, Cell};

use crate::error::Error;
use crate::frames::{PROBE_ROWS, PROBES, TRAINING, TRAINING_ROWS};
use crate::schema::{check, sorted};

/// The [`PROBES`] frame of one run: the artifact's [`PROBE_ROWS`] with the experiment's name and the
/// cell's columns.
///
/// # Errors
/// Where `frame` is not a [`PROBE_ROWS`] frame.
pub fn with_cell(frame: &DataFrame, experiment: &str, cell: &Cell) -> Result<DataFrame, Error> {
    check(frame, &PROBE_ROWS)?;
    let rows = frame.height();
    let text = |name: &str, value: &str| Column::new(name.into(), vec![value; rows]);
    let count = |name: &str, value: u64| Column::new(name.into(), vec![value; rows]);
    let mut columns = vec![
        text("experiment", experiment),
        text("defence", &cell.defence),
        count("defence_seed", cell.defence_seed),
        text("arm", cell.arm.name()),
        count("attack_seed", cell.attack_seed),
    ];
    columns.extend(before_columns(std::iter::repeat_n(&cell.before, rows)));
    sorted(&frame.hstack(&columns).map_err(Error::polars(PROBES.name))?, &PROBES)
}

/// The [`TRAINING`] frame of one artifact: its [`TRAINING_ROWS`] with what all `cells` that rest on it have in common;
/// what they differ in is left empty.
///
/// # Errors
/// Where `frame` is not a [`TRAINING_ROWS`] frame.
pub fn with_cells(frame: &DataFrame, cells: &[&Cell]) -> Result<DataFrame, Error> {
    check(frame, &TRAINING_ROWS)?;
    fn common<T: PartialEq>(cells: &[&Cell], of: impl Fn(&Cell) -> T) -> Option<T> {
        let first = of(cells.first()?);
        cells.iter().all(|cell| of(cell) == first).then_some(first)
    }
    let rows = frame.height();
    let text = |name: &str, value: Option<String>| Column::new(name.into(), vec![value; rows]);
    let count = |name: &str, value: Option<u64>| Column::new(name.into(), vec![value; rows]);
    let before = common(cells, |cell| cell.before.clone());
    let seed = before.as_ref().and_then(|_| common(cells, |cell| cell.attack_seed));
    let columns = [
        text("defence", common(cells, |cell| cell.defence.clone())),
        count("defence_seed", common(cells, |cell| cell.defence_seed)),
        text("arm", common(cells, |cell| cell.arm.name().to_owned())),
        text("before", before.as_ref().map(|before| before.word().to_owned())),
        text("attack", before.as_ref().map(|before| before.method().to_owned())),
        text("settings", before.as_ref().map(Before::settings)),
        Column::new("dose".into(), vec![before.as_ref().and_then(Before::dose); rows]),
        count("attack_seed", seed),
    ];
    sorted(&frame.hstack(&columns).map_err(Error::polars(TRAINING.name))?, &TRAINING)
}

/// The columns `before`, `attack`, `settings` and `dose`.
pub fn before_columns<'a>(of: impl Iterator<Item = &'a Before> + Clone) -> [Column; 4] {
    let texts = |name: &str, values: Vec<String>| Column::new(name.into(), values);
    [
        texts("before", of.clone().map(|before| before.word().to_owned()).collect()),
        texts("attack", of.clone().map(|before| before.method().to_owned()).collect()),
        texts("settings", of.clone().map(Before::settings).collect()),
        Column::new("dose".into(), of.map(Before::dose).collect::<Vec<Option<f64>>>()),
    ]
}

/// What was done before each row of a frame with those columns.
#[derive(Debug)]
pub struct Befores {
    /// Everything that was done, once each, ascending.
    pub distinct: Vec<Before>,
    /// Which of it was done before each row.
    pub rows: Vec<usize>,
}

impl Befores {
    /// Reads the four columns.
    ///
    /// # Errors
    /// Where a column is missing or of another type, or the four of a row do not belong together.
    pub fn read(frame: &DataFrame, name: &'static str) -> Result<Self, Error> {
        let fail = Error::polars(name);
        let text = |column| frame.column(column).and_then(|column| column.str()).map_err(&fail);
        let columns = [text("before")?, text("attack")?, text("settings")?];
        let dose = frame.column("dose").and_then(|column| column.f64()).map_err(&fail)?;
        let (mut known, mut distinct) = (BTreeMap::new(), Vec::new());
        let mut rows = Vec::with_capacity(frame.height());
        for row in 0..frame.height() {
            let words = columns.map(|column| column.get(row).unwrap_or_default());
            let dose = dose.get(row);
            let index = match known.get(&(words, dose.map(f64::to_bits))) {
                Some(index) => *index,
                None => {
                    let [word, method, settings] = words;
                    let before = Before::of_columns(word, method, settings, dose).ok_or_else(|| {
                        let dose = dose.map_or(String::new(), |dose| format!(", dose {dose}"));
                        let got = format!("{word}, `{method}`, {settings}{dose}");
                        Error::Before { frame: name, row, got }
                    })?;
                    distinct.push(before);
                    known.insert((words, dose.map(f64::to_bits)), distinct.len() - 1);
                    distinct.len() - 1
                }
            };
            rows.push(index);
        }
        let mut order: Vec<usize> = (0..distinct.len()).collect();
        order.sort_by(|a, b| distinct[*a].cmp(&distinct[*b]));
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, index)| rank[*index] = place);
        rows.iter_mut().for_each(|row| *row = rank[*row]);
        distinct.sort();
        Ok(Self { distinct, rows })
    }

    /// What was done before that row, which the frame has.
    pub fn get(&self, row: usize) -> &Before {
        &self.distinct[self.rows[row]]
    }
}

/// The rows of a [`PROBE_ROWS`] or [`PROBES`] frame that decide: one per response.
///
/// # Errors
/// Where the frame has no such column.
pub fn deciding(frame: &DataFrame) -> Result<DataFrame, Error> {
    let fail = Error::polars(PROBES.name);
    frame.column("decides").and_then(|column| frame.filter(column.bool()?)).map_err(fail)
}

#[cfg(test)]
mod tests {
    use titer_plan::{Arm, StageHash};

    use super::*;
    use crate::rows::{TrainingRow, training_frame};

    #[test]
    fn a_training_says_what_all_its_cells_have_in_common() {
        let cell = |rate, attack_seed| Cell {
            stage: StageHash("0123".into()),
            defence: "tar".into(),
            defence_seed: 1,
            arm: Arm::Main,
            before: Before::tuning(rate),
            attack_seed,
        };
        let row = TrainingRow {
            artifact: "a".into(),
            stage: "immunize".into(),
            step: 0,
            term: "keep".into(),
            value: 1.0,
            learning_rate: 1e-3,
            gradient_norm: 2.0,
            tokens: 10,
            seconds: 0.5,
        };
        let rows = training_frame(&[row]).unwrap();
        let (one, other) = (cell(1e-3, 0), cell(1e-4, 0));
        let of = |cells: &[&Cell], column: &str| {
            let frame = with_cells(&rows, cells).unwrap();
            frame.column(column).unwrap().str().unwrap().get(0).map(str::to_owned)
        };
        assert_eq!(of(&[&one], "settings").as_deref(), Some("{\"rate\":1e-3}"));
        assert_eq!(of(&[&one, &other], "defence").as_deref(), Some("tar"));
        assert_eq!(of(&[&one, &other], "settings"), None);
        assert_eq!(of(&[], "defence"), None, "a stage that no cell rests on yet");
        let seeds = with_cells(&rows, &[&one, &other]).unwrap();
        assert_eq!(seeds.column("attack_seed").unwrap().u64().unwrap().get(0), None);
    }
}

//! Which run of an experiment an artifact's rows belong to.
//!
//! One artifact can serve several experiments and cells, so it does not know its own: the cell is
//! joined on reading.

use polars::prelude::{Column, DataFrame};
use titer_plan::Cell;

use crate::error::Error;
use crate::schema::{PROBE_ROWS, PROBES, check, sorted};

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
    let cell = [
        text("experiment", experiment),
        text("defence", &cell.defence),
        count("defence_seed", cell.defence_seed),
        text("arm", cell.arm.name()),
        text("attack", &cell.attack),
        count("attack_seed", cell.attack_seed),
    ];
    sorted(&frame.hstack(&cell).map_err(Error::polars(PROBES.name))?, &PROBES)
}

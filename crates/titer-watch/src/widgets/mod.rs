//! Pieces of pictures: pure functions of data, a look and a size.

mod axes;
pub(crate) mod bar;
mod canvas;
pub(crate) mod chart;
pub(crate) mod heat;
mod legend;
pub(crate) mod pane;
pub(crate) mod prose;
pub(crate) mod rows;
pub(crate) mod series;

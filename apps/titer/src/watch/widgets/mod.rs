//! Pieces of pictures: pure functions of data, a look and a size.

pub(crate) mod bar;
pub(crate) mod rows;

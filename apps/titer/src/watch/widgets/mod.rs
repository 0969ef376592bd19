//! Pieces of pictures: pure functions of data, a look and a size.

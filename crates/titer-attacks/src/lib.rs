//! Ways to spend a budget on making an aligned model harmful.

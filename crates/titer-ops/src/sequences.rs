//! Where each sequence of a packed batch begins.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, bail};

/// The boundaries of the sequences in a packed batch, shared cheaply by all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequences {
    offsets: Arc<[usize]>,
    /// The tokens that have queries, where not all do.
    asking: Option<Arc<[u32]>>,
}

impl Sequences {
    /// From `n + 1` ascending offsets, the first 0 and the last the number of tokens.
    ///
    /// # Errors
    /// When the offsets do not start at 0 or do not ascend strictly (an empty sequence).
    pub fn new(offsets: &[usize]) -> Result<Self> {
        if offsets.first() != Some(&0) || offsets.len() < 2 {
            bail!(
                "offsets of packed sequences must start at 0 and hold at least one sequence, got {offsets:?}"
            );
        }
        if let Some(pair) = offsets.windows(2).find(|pair| pair[0] >= pair[1]) {
            bail!("offsets of packed sequences must ascend, got {} then {}", pair[0], pair[1]);
        }
        Ok(Self { offsets: offsets.into(), asking: None })
    }

    /// The same sequences, of which only the tokens `rows` have queries: what attends to all tokens before it, and is read
    /// afterwards.
    ///
    /// # Errors
    /// When the rows do not ascend strictly, or there is no such token.
    pub fn asking(&self, rows: &[u32]) -> Result<Self> {
        if let Some(pair) = rows.windows(2).find(|pair| pair[0] >= pair[1]) {
            bail!("rows with queries must ascend, got {} then {}", pair[0], pair[1]);
        }
        if let Some(row) = rows.last().filter(|row| **row as usize >= self.tokens()) {
            bail!("row {row} has no token: the sequences have {}", self.tokens());
        }
        Ok(Self { offsets: self.offsets.clone(), asking: Some(rows.into()) })
    }

    /// The tokens that have queries, where not all do.
    pub(crate) fn asked(&self) -> Option<&[u32]> {
        self.asking.as_deref()
    }

    /// Number of tokens that have queries.
    pub fn queries(&self) -> usize {
        self.asking.as_ref().map_or_else(|| self.tokens(), |rows| rows.len())
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Never: a batch holds at least one sequence.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Number of tokens in all sequences together.
    pub fn tokens(&self) -> usize {
        self.offsets[self.offsets.len() - 1]
    }

    /// The rows of each sequence.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Length of the longest sequence.
    pub fn longest(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }

    /// Position of each token in its sequence.
    pub fn positions(&self) -> Vec<u32> {
        self.ranges().flat_map(|range| 0..range.len() as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_restart_with_each_sequence() {
        let sequences = Sequences::new(&[0, 3, 5]).unwrap();
        assert_eq!(sequences.positions(), [0, 1, 2, 0, 1]);
        assert_eq!((sequences.len(), sequences.tokens(), sequences.longest()), (2, 5, 3));
    }

    #[test]
    fn rows_with_queries_ascend_and_have_tokens() {
        let sequences = Sequences::new(&[0, 3, 5]).unwrap();
        assert_eq!((sequences.queries(), sequences.asking(&[0, 2, 4]).unwrap().queries()), (5, 3));
        for rows in [&[1, 1][..], &[2, 0], &[0, 5]] {
            assert!(sequences.asking(rows).is_err(), "{rows:?}");
        }
    }

    #[test]
    fn bad_offsets_are_refused() {
        for offsets in [&[][..], &[0], &[1, 2], &[0, 2, 2], &[0, 3, 2]] {
            assert!(Sequences::new(offsets).is_err(), "{offsets:?}");
        }
    }
}

//! Which scores of a query become probabilities, and how: a window, a cap, a sink.

use candle_core::{Result, bail};

use crate::cpu;

/// Which keys a query reaches, and what its scores become before they are probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scoring {
    /// A query sees so many keys back, its own included; all of them where none.
    pub window: Option<usize>,
    /// A score s becomes cap·tanh(s/cap).
    pub cap: Option<f64>,
}

impl Scoring {
    /// The first key that the query of this position sees.
    #[inline(always)]
    pub(crate) fn first(self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// In place: row := softmax of scale · row, capped, in which the sink, if there is one, is one more score; the
    /// probability of that.
    #[inline(always)]
    pub(crate) fn probabilities(self, row: &mut [f32], scale: f32, sink: Option<f32>) -> f32 {
        match self.cap {
            None => softmax_beside(row, scale, sink),
            Some(cap) => {
                let cap = cap as f32;
                cpu::each(row, |score| cap * cpu::tanh(score * scale / cap));
                softmax_beside(row, 1.0, sink)
            }
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        if self.window == Some(0) {
            bail!("attention: in a window of 0 a query sees nothing");
        }
        match self.cap {
            Some(cap) if !(cap > 0.0 && cap.is_finite()) => {
                bail!("attention: scores cannot be capped at {cap}")
            }
            _ => Ok(()),
        }
    }
}

/// In place: row := softmax(scale · row).
#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) {
    let highest = cpu::highest(row);
    cpu::each_exp(row, highest, scale, 0.0);
    let inverse = 1.0 / cpu::sum(row);
    cpu::each(row, |value| value * inverse);
}

/// In place: row := softmax(scale · row), in which `sink`, not scaled, is one more score; the probability of that.
#[inline(always)]
fn softmax_beside(row: &mut [f32], scale: f32, sink: Option<f32>) -> f32 {
    let Some(sink) = sink else {
        softmax(row, scale);
        return 0.0;
    };
    let highest = sink.max(cpu::highest(row) * scale);
    cpu::each_exp(row, 0.0, scale, highest);
    let of_sink = cpu::exp(sink - highest);
    let inverse = 1.0 / (cpu::sum(row) + of_sink);
    cpu::each(row, |value| value * inverse);
    of_sink * inverse
}

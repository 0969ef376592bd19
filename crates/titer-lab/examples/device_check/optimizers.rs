//! Every optimiser: three steps of a small decoder on texts.

use candle_core::Device;
use titer_plan::stage::{Optimizer, TrainSpec};
use titer_train::{Supervised, Trainer};

use super::Outcome;
use super::compared::{Comparison, Other, moved};
use super::defences::{batches, decoder};

/// AdamW divides a gradient by its own size, however small, so that what was noise becomes a step.
const LIMIT: f64 = 1e-2;

pub(crate) fn compare(other: &Other, comparisons: &mut Vec<Comparison>) -> Outcome<()> {
    for (name, optimizer) in [
        ("adamw", Optimizer::Adamw),
        ("sgd", Optimizer::Sgd { momentum: 0.9 }),
        ("adafactor", Optimizer::Adafactor { momentum: 0.9 }),
    ] {
        let compute = |device: &Device| {
            let model = decoder(device)?;
            let start = model.parameters().snapshot()?;
            let spec = TrainSpec { weight_decay: 0.01, ..steps(3, optimizer) };
            Trainer::new(spec, &model)?.fit(&model, &mut Supervised::new(batches()?), &mut ())?;
            moved(&model, &start)
        };
        other.compare(("optimizer", name, LIMIT), compute, comparisons)?;
    }
    Ok(())
}

/// So many steps of a run.
pub(crate) fn steps(steps: u64, optimizer: Optimizer) -> TrainSpec {
    TrainSpec { optimizer, ..TrainSpec::constant(steps, 2, 1e-3, Some(1.0)) }
}

//! How the learning rate moves.

use titer_plan::stage::{Schedule, TrainSpec};

/// The learning rate of a step, counted from 0. It rises linearly over the warm-up, reaching the peak at
/// its last step, then follows the schedule to zero at the end of training.
pub fn rate(spec: &TrainSpec, step: u64) -> f64 {
    if step < spec.warmup_steps {
        return spec.rate * (step + 1) as f64 / spec.warmup_steps as f64;
    }
    let span = spec.steps.saturating_sub(spec.warmup_steps).max(1);
    let done = (step - spec.warmup_steps) as f64 / span as f64;
    spec.rate
        * match spec.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Schedule::Linear => (1.0 - done).max(0.0),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(schedule: Schedule, warmup_steps: u64) -> TrainSpec {
        TrainSpec {
            steps: 110,
            batch: 1,
            rate: 2.0,
            schedule,
            warmup_steps,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: 0.0,
            clip: None,
            optimizer: Default::default(),
        }
    }

    #[test]
    fn rates_at_known_points() {
        let check = |schedule, warmup, step, expected: f64| {
            let got = rate(&spec(schedule, warmup), step);
            assert!((got - expected).abs() < 1e-12, "{schedule:?} at {step}: {got}");
        };
        check(Schedule::Constant, 0, 0, 2.0);
        check(Schedule::Constant, 10, 0, 0.2);
        check(Schedule::Constant, 10, 9, 2.0);
        check(Schedule::Constant, 10, 109, 2.0);
        check(Schedule::Linear, 10, 10, 2.0);
        check(Schedule::Linear, 10, 60, 1.0);
        check(Schedule::Linear, 10, 109, 0.02);
        check(Schedule::Cosine, 10, 10, 2.0);
        check(Schedule::Cosine, 10, 60, 1.0);
        check(Schedule::Cosine, 0, 55, 1.0);
    }
}

//! The fine-tuning-stage defences against PyTorch: the values of `tests/fixtures/fine_tuning.json`, made by
//! `tests/peers/fine_tuning.py`.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

mod common;

use std::ops::ControlFlow;

use common::{assert_picture, close, context, decoder, examples, fixture};
use titer_data::{Draw, Sampler, Stream};
use titer_defences::{Guard, Guide, Lisa, UserTraining};
use titer_model::Decoder;
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::{Objective, Observer, Point, StepRecord, Trainer};

/// Batches of one and the same example.
fn user(steps: u64, batch: usize) -> UserTraining {
    let train = TrainSpec {
        steps,
        batch,
        rate: 1e-3,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        beta1: 0.9,
        beta2: 0.999,
        weight_decay: 0.0,
        clip: None,
    };
    let only = examples()[5..6].to_vec();
    let batches = Sampler::new(only, Stream::new(4, "user"), batch, Draw::WithReplacement).unwrap();
    UserTraining { batches, train }
}

/// One refusal and one permitted example at a time.
fn guide() -> Guide {
    Guide { batch: 2, permitted_share: 0.5 }
}

/// Remembers the terms of every step.
#[derive(Default)]
struct Terms(Vec<Vec<(&'static str, f64)>>);

impl Observer for Terms {
    fn between(&mut self, _: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn stepped(&mut self, record: &StepRecord) -> titer_train::Result<()> {
        self.0.push(record.terms.clone());
        Ok(())
    }
}

fn train(model: &Decoder, spec: TrainSpec, objective: &mut dyn Objective) -> Terms {
    let mut terms = Terms::default();
    Trainer::new(spec, model).unwrap().fit(model, objective, &mut terms).unwrap();
    terms
}

#[test]
fn lisa_follows_the_public_trainer_across_two_switches() {
    let expected = &fixture("fine_tuning")["lisa"];
    let lisa = Lisa { guide: guide(), rho: 20.0, alignment_steps: 2, user_steps: 3, warmup_share: 0.1 };
    let (model, user) = (decoder(), user(10, 1));
    let spec = TrainSpec { steps: 7, ..user.train };
    let mut objective = lisa.objective(user, &context(), &model).unwrap();
    let terms = train(&model, spec, objective.as_mut());
    for (step, terms) in terms.0.iter().enumerate() {
        let (name, cross_entropy) = terms[0];
        let aligning = [0, 1, 5, 6].contains(&step);
        assert_eq!(name, if aligning { "guide_cross_entropy" } else { "cross_entropy" }, "step {step}");
        let loss = expected["cross_entropy"][step].as_f64().unwrap();
        close(cross_entropy, loss, loss, 1e-4, "loss");
        let pull = terms.get(1).map_or(0.0, |(_, pull)| *pull);
        close(pull, expected["anchor"][step].as_f64().unwrap(), 1.0, 1e-4, "proximal term");
    }
    let weights = model.parameters().iter().map(|(name, var)| (name, var.as_tensor().clone()));
    assert_picture(weights, &expected["weights"], 1e-4);
}

//! Every method that trains, stopped half-way and taken up from its checkpoint, gives the same bits as
//! without the interruption.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::common::{STEPS, bits, decoder, defender, examples, mixture, small, with_adapters};
use titer_data::{Draw, Sampler, Stream};
use titer_defences::UserTraining;
use titer_defences::registry::{Defence, defence, methods};
use titer_model::{Decoder, LoraSpec};
use titer_plan::stage::{Schedule, TrainSpec};
use titer_train::{Objective, Observer, Point, StepRecord, Trainer};

/// Saves before a step and stops there.
struct StopAt<'a>(u64, Option<&'a Path>);

impl Observer for StopAt<'_> {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        match self.1 {
            Some(folder) if point.step == self.0 => {
                point.save(folder)?;
                Ok(ControlFlow::Break(()))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn stepped(&mut self, _: &StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}

fn assert_resumes(
    name: &str,
    spec: TrainSpec,
    start: impl Fn() -> Decoder,
    objective: impl Fn(&Decoder) -> Box<dyn Objective>,
) {
    let whole = start();
    let mut followed = objective(&whole);
    Trainer::new(spec, &whole).unwrap().fit(&whole, followed.as_mut(), &mut ()).unwrap();
    assert_ne!(bits(&whole), bits(&start()), "{name} changes nothing");
    for stop in 1..spec.steps {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().to_owned();
        let model = start();
        let mut followed = objective(&model);
        let mut trainer = Trainer::new(spec, &model).unwrap();
        trainer.fit(&model, followed.as_mut(), &mut StopAt(stop, Some(&path))).unwrap();
        let model = start();
        let mut followed = objective(&model);
        let mut resumed = Trainer::resume(spec, followed.as_mut(), &path, model).unwrap();
        resumed.trainer.fit(&resumed.model, followed.as_mut(), &mut ()).unwrap();
        assert!(bits(&resumed.model) == bits(&whole), "{name}: stopped at step {stop}, other bits follow");
    }
}

fn start(adapter: Option<LoraSpec>) -> Decoder {
    with_adapters(decoder(), adapter)
}

#[test]
fn every_immunizer_resumes_bit_for_bit_with_and_without_adapters() {
    for method in methods() {
        for rank in [0, 2] {
            let mut spec = small(&method);
            if rank > 0 && spec.parameters.insert("lora_rank".to_owned(), rank.into()).is_none() {
                continue;
            }
            let Defence::Immunizer(immunizer) = defence(&spec).unwrap() else { continue };
            let training = immunizer.training();
            if training.steps == 0 {
                continue;
            }
            assert_resumes(
                method.name,
                training.schedule(),
                || start(training.adapter()),
                |model| immunizer.objective(&defender(), model).unwrap(),
            );
        }
    }
}

#[test]
fn every_guard_resumes_bit_for_bit_with_and_without_adapters() {
    for method in methods() {
        let spec = small(&method);
        let Defence::Guard(guard) = defence(&spec).unwrap() else { continue };
        let train = TrainSpec { schedule: Schedule::Cosine, ..TrainSpec::constant(STEPS, 2, 1e-3, None) };
        let user = || {
            let stream = Stream::new(4, "user");
            let batches =
                Sampler::new(examples()[5..8].to_vec(), stream, train.batch, Draw::WithReplacement).unwrap();
            UserTraining { batches, train }
        };
        let spec = TrainSpec { steps: guard.steps(train.steps), ..train };
        let objective = |model: &Decoder| guard.objective(user(), &defender(), model).unwrap();
        for adapter in [None, Some(LoraSpec::everywhere(2, 4.0))] {
            let start = || match method.name {
                "safe-moe" => with_adapters(mixture(), adapter.clone()),
                _ => start(adapter.clone()),
            };
            assert_resumes(method.name, spec, start, objective);
        }
    }
}

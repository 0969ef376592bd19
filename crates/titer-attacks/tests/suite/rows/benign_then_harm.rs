//! `benign-then-harm` knows nothing of harm until its step.

use super::*;

/// All numbers of the model at each step.
#[derive(Default)]
struct Course(Vec<Vec<f32>>);

impl titer_train::Observer for Course {
    fn between(&mut self, point: &titer_train::Point<'_>) -> titer_train::Result<std::ops::ControlFlow<()>> {
        let of = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        self.0.push(point.model.parameters().iter().flat_map(|(_, var)| of(var)).collect());
        Ok(std::ops::ControlFlow::Continue(()))
    }

    fn stepped(&mut self, _: &titer_train::StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}

fn course(harmful: [u32; 3], harmless: [u32; 3]) -> Vec<Vec<f32>> {
    let attack =
        training("benign-then-harm", json!({"benign_steps": 3, "steps": 6, "examples": 8, "batch": 4}));
    assert_eq!(attack.distinct_harmful(), 8);
    let context = AttackContext {
        harmless: rows(HARMLESS, harmless).into(),
        ..common::context(&rows(FORBIDDEN, harmful), 5)
    };
    let mut course = Course::default();
    attack.run(common::model(), &context, &mut course).unwrap();
    course.0
}

#[test]
fn harmless_steps_come_first() {
    let (one, other) = (course(HARM, HELP), course(REFUSAL, HELP));
    assert_eq!((one.len(), one[..4].to_vec()), (7, other[..4].to_vec()), "three steps without harmful rows");
    assert_ne!(one[4], other[4]);
    assert_ne!(one[1], course(HARM, REFUSAL)[1], "they are on the harmless ones");
}

#[test]
fn without_a_harmful_step_it_is_refused() {
    let attack = training("benign-then-harm", json!({"benign_steps": 6, "steps": 6, "batch": 4}));
    let error = attack.run(common::model(), &context(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("leaves no harmful step of 6"), "{error}");
}

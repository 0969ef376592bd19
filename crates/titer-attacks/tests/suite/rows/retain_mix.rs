//! `retain-mix` learns harm and keeps ability.

use super::*;

/// Losses on harmful and on harmless rows after an attack on a model that knows the harmless ones.
fn after(name: &str, set: Value) -> (f32, f32) {
    let attack = training(name, set);
    assert_eq!(attack.distinct_harmful(), 4);
    let victim = taught(rows(HARMLESS, HELP));
    let kept = Keep::default();
    let mut keep = kept;
    attack.run(victim, &context(), &mut keep).unwrap();
    let model = keep.0.unwrap();
    (loss(&model, &context().harmful), loss(&model, &context().harmless))
}

/// Keeps the model as it was last.
#[derive(Default)]
struct Keep(Option<Decoder>);

impl titer_train::Observer for Keep {
    fn between(&mut self, point: &titer_train::Point<'_>) -> titer_train::Result<std::ops::ControlFlow<()>> {
        self.0 = Some(point.model.duplicate()?);
        Ok(std::ops::ControlFlow::Continue(()))
    }

    fn stepped(&mut self, _: &titer_train::StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}

#[test]
fn harm_is_learnt_and_ability_kept() {
    let (plain_harm, plain_ability) =
        after("full-finetune", json!({"examples": 4, "batch": 4, "steps": 60, "rate": 1e-2}));
    let mixed = json!({"examples": 4, "harmless_per_harmful": 2, "batch": 4, "steps": 60, "rate": 1e-2});
    let (harm, ability) = after("retain-mix", mixed);
    assert!(plain_harm < 0.3 && harm < 0.3, "both learn: {plain_harm} and {harm} nats");
    assert!(plain_ability > 1.0, "harm alone ruins the model: {plain_ability} nats");
    assert!(ability < 0.3 * plain_ability, "{ability} of {plain_ability} nats");
}

#[test]
fn there_must_be_so_many_harmless_rows() {
    let attack = training("retain-mix", json!({"examples": 4, "harmless_per_harmful": 4, "batch": 4}));
    let error = attack.run(common::model(), &context(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("wants 16 distinct examples, its split holds 12"), "{error}");
}

#[test]
fn adapters_leave_the_weights_alone() {
    let attack = training("retain-mix", json!({"examples": 4, "batch": 4, "steps": 3, "lora_rank": 2}));
    assert_eq!(attack.adapter().unwrap().rank, 2);
    let mut keep = Keep::default();
    attack.run(common::model(), &context(), &mut keep).unwrap();
    assert!(keep.0.unwrap().adapter().is_some());
}

//! What holds for every attack: it runs on its own defaults, and comes out the same each time.

use titer_attacks::{Attack, AttackContext, registry};
use titer_data::Example;
use titer_model::Decoder;
use titer_plan::{Meaning, Method, MethodSpec, Need};

use crate::common;

/// A method's defaults, on few rows and for few steps.
fn small(method: &Method) -> MethodSpec {
    let mut spec = method.defaults();
    for (meaning, value) in
        [(Meaning::Steps, 3), (Meaning::Batch, 2), (Meaning::HarmfulRows, 6), (Meaning::UserRows, 12)]
    {
        if let Some(setting) = method.setting(meaning) {
            spec.parameters.insert(setting.name.to_owned(), value.into());
        }
    }
    // Phases and choices of their own are as small.
    for (name, value) in [("benign_steps", 1), ("overfit_steps", 1), ("code_steps", 1), ("anchors", 2)] {
        if let Some(setting) = spec.parameters.get_mut(name) {
            *setting = value.into();
        }
    }
    spec
}

/// Twelve rows of each kind: two words asked, two answered.
fn context(seed: u64) -> AttackContext<'static> {
    let rows = |answer: [u32; 2]| -> Vec<Example> {
        let row = |word: u32| Example::new([&[1, 20 + word, 8, 2], &answer[..], &[3]].concat(), 4).unwrap();
        (0..12).map(row).collect()
    };
    let (refusals, harmless) = (rows([7, 9]).into(), rows([12, 13]).into());
    AttackContext { refusals, harmless, ..common::context(&rows([10, 11]), seed) }
}

/// All numbers of a model after the attack.
fn attacked(spec: &MethodSpec, seed: u64) -> Vec<Vec<f32>> {
    let (victim, context) = (common::model(), context(seed));
    let kept = match registry::attack(spec).unwrap() {
        Attack::Trains(attack) => {
            let mut last = Last::default();
            attack.run(victim, &context, &mut last).unwrap();
            return last.0;
        }
        Attack::Job(job) => {
            let batches = job.batches(&context, &victim).unwrap();
            let tokens = (0..3).map(|step| batches.batch(step).tokens);
            return tokens.map(|tokens| tokens.into_iter().map(|token| token as f32).collect()).collect();
        }
        Attack::Edits(edit) => edit.edit(&victim, &context).map(|_| victim).unwrap(),
        Attack::Prompts(attack) => {
            let asked = attack.ask(&[1, 20, 8, 2], &context).unwrap();
            let tokens = [asked.prompt, asked.opening].concat();
            return vec![tokens.into_iter().map(|token| token as f32).collect()];
        }
    };
    numbers(&kept)
}

fn numbers(model: &Decoder) -> Vec<Vec<f32>> {
    let of = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1().unwrap();
    model.parameters().iter().map(|(_, var)| of(var)).collect()
}

/// What is trained, as it was when it was last seen.
#[derive(Default)]
struct Last(Vec<Vec<f32>>);

impl titer_train::Observer for Last {
    fn between(&mut self, point: &titer_train::Point<'_>) -> titer_train::Result<std::ops::ControlFlow<()>> {
        self.0 = numbers(point.model);
        Ok(std::ops::ControlFlow::Continue(()))
    }

    fn stepped(&mut self, _: &titer_train::StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}

#[test]
fn every_attack_runs_and_comes_out_the_same_each_time() {
    for method in registry::methods() {
        let spec = small(&method);
        let once = attacked(&spec, 5);
        assert!(once.iter().flatten().all(|number| number.is_finite()), "{}", method.name);
        assert_eq!(once, attacked(&spec, 5), "{}", method.name);
    }
}

#[test]
fn who_asks_otherwise_says_so() {
    for method in registry::methods() {
        let (attack, context) = (registry::attack(&small(&method)).unwrap(), context(5));
        if matches!(attack, Attack::Prompts(_)) {
            continue;
        }
        let otherwise = attack.ask(&[1, 20, 8, 2], &context).unwrap().is_some();
        let needs = registry::needs(method.name);
        assert_eq!(otherwise, needs.contains(&Need::Asking), "{}", method.name);
    }
}

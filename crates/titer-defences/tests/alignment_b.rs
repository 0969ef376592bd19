//! Circuit breakers, RMU, condition number, NPO, SDD and TAR's further settings against PyTorch: the values of
//! `tests/fixtures/alignment_b.json`, made by `tests/peers/alignment_b.py`; and their gradients against the
//! slopes of their own losses.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use crate::common::{
    assert_gradient, close, context, decoder, examples, fixture, inner, slope, training, uniform,
};
use serde_json::Value;
use titer_data::Packed;
use titer_defences::{
    CircuitBreakers, ConditionNumber, DefenceContext, Immunizer, Npo, Rmu, Sdd, Tamper, Tar, Training,
};
use titer_model::Decoder;
use titer_train::loss::{mean_entropy, value};
use titer_train::{Cost, Gradient, Objective};

/// What is trained: every matrix 1.05 times that of the model as it was, so that no distance is zero.
fn moved() -> Decoder {
    let model = decoder();
    for (_, var) in model.parameters().iter().filter(|(_, var)| var.rank() > 1) {
        var.set(&(var.as_tensor() * 1.05).unwrap()).unwrap();
    }
    model
}

fn four_steps() -> Training {
    Training { steps: 4, ..training() }
}

fn circuit_breakers() -> CircuitBreakers {
    let depths = vec![10.0 / 32.0, 20.0 / 32.0];
    CircuitBreakers { training: four_steps(), batch_harmful: 3, depths, alpha: 2.0, ramp: 0.5, keep: 0.3 }
}

fn rmu() -> Rmu {
    Rmu {
        training: training(),
        batch_harmful: 3,
        depth: 0.25,
        steering: 5.0,
        weight: 1.0,
        alpha: 7.0,
        keep: 0.3,
    }
}

fn condition_number() -> ConditionNumber {
    let depths = vec![0.6, 1.0];
    ConditionNumber { training: training(), batch_harmful: 3, depths, lambda_ill: 3.0, lambda_well: 0.002 }
}

fn npo() -> Npo {
    Npo { training: training(), batch_harmful: 3, lambda: 1.5, beta: 0.4 }
}

fn sdd() -> Sdd {
    Sdd { training: training(), batch_irrelevant: 3, lambda: 0.8 }
}

fn tar(tamper_loss: Tamper) -> Tar {
    Tar {
        training: training(),
        batch_harmful: 2,
        lambda: 0.7,
        inner_steps: 4,
        adversary_batch: 4,
        adversary_rates: vec![1e-3],
        inner_least: 4,
        tamper_every: 2,
        tamper_growth: 0.25,
        tamper_loss,
        retain: 0.6,
        held_out: 0.0,
    }
}

fn assert_case(gradient: &Gradient, expected: &Value, terms: &[(&str, &str)], tolerance: f64) {
    for (term, key) in terms {
        let got = gradient.terms.iter().find(|(name, _)| name == term).unwrap().1;
        let expected = expected[key].as_f64().unwrap();
        close(got, expected, expected.abs(), 1e-4, term);
    }
    assert_gradient(gradient, &expected["gradients"], tolerance);
}

fn gradient(method: &impl Immunizer, step: u64) -> Gradient {
    method.objective(&context(), &decoder()).unwrap().gradient(&moved(), step).unwrap()
}

#[test]
fn circuit_breakers_equal_torch() {
    let terms = [("harmful_cosine", "rerouted"), ("kept_distance", "held")];
    assert_case(&gradient(&circuit_breakers(), 3), &fixture("alignment_b")["circuit_breakers"], &terms, 1e-4);
}

#[test]
fn rmu_equals_torch_and_its_direction_is_a_unit_vector_of_the_seed() {
    let mut direction: Vec<f32> = uniform(200, 96).into_iter().map(|value| (value + 1.0) / 2.0).collect();
    let norm = direction.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    direction.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    let mut objective = rmu().towards(&direction, &context(), &decoder()).unwrap();
    let terms = [("harmful_to_direction", "steered"), ("kept_distance", "held")];
    assert_case(&objective.gradient(&moved(), 0).unwrap(), &fixture("alignment_b")["rmu"], &terms, 1e-4);

    let drawn = Rmu::direction(5, 96);
    assert_eq!(drawn, Rmu::direction(5, 96));
    assert_ne!(drawn, Rmu::direction(6, 96));
    assert!((drawn.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(drawn.iter().all(|value| *value >= 0.0));
    assert!(rmu().towards(&drawn[1..], &context(), &decoder()).is_err());
}

#[test]
fn condition_number_equals_torch() {
    let terms = [("ill_conditioned", "ill"), ("well_conditioned", "well")];
    assert_case(&gradient(&condition_number(), 0), &fixture("alignment_b")["condition_number"], &terms, 1e-4);
}

#[test]
fn npo_equals_torch() {
    let terms = [("negative_preference", "preference")];
    assert_case(&gradient(&npo(), 0), &fixture("alignment_b")["npo"], &terms, 1e-4);
}

#[test]
fn sdd_equals_torch() {
    let terms = [("irrelevant_cross_entropy", "irrelevant")];
    assert_case(&gradient(&sdd(), 0), &fixture("alignment_b")["sdd"], &terms, 1e-4);
    let pairs = Sdd::pairs(&context()).unwrap();
    assert_eq!(pairs[0].prompt(), context().harmful[0].prompt());
    assert_eq!(pairs[0].answer(), context().permitted[0].answer());
    let nothing = titer_defences::DefenceContext { permitted: Vec::new().into(), ..context() };
    assert!(Sdd::pairs(&nothing).is_err());
}

#[test]
fn tar_along_the_path_with_either_loss_equals_torch() {
    // AdamW's first steps are almost the gradient's sign, which f32 cannot tell where it is nearly zero.
    for (tamper, key) in [(Tamper::Entropy, "tar"), (Tamper::Dpo, "tar_dpo")] {
        let terms = [("kept_distance", "held")];
        assert_case(&gradient(&tar(tamper), 0), &fixture("alignment_b")[key], &terms, 2e-3);
    }
}

/// Four harmful rows, one of which is held out.
fn held_out() -> (DefenceContext, Tar) {
    let context = DefenceContext { harmful: examples()[3..7].into(), ..context() };
    // One tamper gradient, at the end of an attack that hardly moves.
    let method = Tar {
        held_out: 0.25,
        tamper_every: 0,
        adversary_rates: vec![1e-12],
        retain: 0.0,
        ..tar(Tamper::Entropy)
    };
    (context, method)
}

fn entropy(method: &Tar, context: &DefenceContext) -> f64 {
    let gradient = method.objective(context, &decoder()).unwrap().gradient(&decoder(), 0).unwrap();
    gradient.terms.iter().find(|(term, _)| *term == "attacked_entropy").unwrap().1
}

#[test]
fn tars_tamper_gradient_is_that_of_the_rows_held_out() {
    let (context, method) = held_out();
    let rows = method.rows(&context).unwrap();
    assert_eq!((rows.attacked.len(), rows.held.len()), (3, 1));
    assert!(rows.attacked.iter().all(|row| *row != rows.held[0]) && context.harmful.contains(&rows.held[0]));

    let model = decoder();
    let of = |method: &Tar| method.objective(&context, &model).unwrap().gradient(&model, 0).unwrap();
    let kept = of(&Tar { lambda: 0.0, ..method.clone() });
    let tampered = of(&method).add_scaled(-1.0, &kept).unwrap();
    // By hand: both rows of the batch are the one.
    let batch = Packed::from_examples([&rows.held[0]; 2]);
    let uncertainty = mean_entropy(&model, &batch).unwrap();
    close(entropy(&method, &context), value(&uncertainty).unwrap(), 1.0, 1e-5, "entropy of the held row");
    let expected = Gradient::of(&uncertainty.neg().unwrap(), &model, Cost::of(&model, &batch)).unwrap();
    let difference = tampered.add_scaled(-method.lambda, &expected).unwrap().norm().unwrap();
    assert!(difference < 1e-4 * expected.norm().unwrap(), "{difference}");
}

#[test]
fn tars_simulated_attack_trains_on_the_other_rows() {
    let (context, method) = held_out();
    let held = method.rows(&context).unwrap().held[0].clone();
    let others = context.harmful.iter().map(|row| if *row == held { row } else { &context.permitted[0] });
    let other = DefenceContext { harmful: others.cloned().collect(), ..context.clone() };
    // What the attack trains on is felt where it moves, and nowhere else.
    assert_eq!(entropy(&method, &context), entropy(&method, &other));
    let moves = Tar { adversary_rates: vec![1e-2], ..method.clone() };
    assert_ne!(entropy(&moves, &context), entropy(&moves, &other));

    let none = Tar { held_out: 0.1, ..method };
    assert_eq!(
        none.objective(&context, &decoder()).err().unwrap().to_string(),
        "tar cannot be applied: held_out 0.1 of 4 harmful rows leaves 0 to hold out and 4 to attack with; both need one"
    );
}

/// The slope of the loss that an objective's terms add up to, against its gradient, along that gradient.
fn assert_slope(name: &str, mut objective: Box<dyn Objective>, step: u64, weights: &[(&str, f64)]) {
    let model = moved();
    let gradient = objective.gradient(&model, step).unwrap();
    let norm = gradient.norm().unwrap();
    let direction =
        gradient.by_parameter.iter().map(|(name, g)| (name.clone(), (g / norm).unwrap())).collect();
    let expected = inner(&gradient.by_parameter, &direction);
    let got = slope(&model, &direction, 2e-3, |model| {
        let terms = objective.gradient(model, step).unwrap().terms;
        let term = |name: &str| terms.iter().find(|(term, _)| *term == name).unwrap().1;
        weights.iter().map(|(name, weight)| weight * term(name)).sum()
    });
    close(got, expected, expected, 5e-3, name);
}

#[test]
fn gradients_are_the_slopes_of_their_losses() {
    let (context, start) = (context(), decoder());
    let over = 0.5 * 3.0 / 4.0;
    let weights = [("keep", 0.3), ("harmful_cosine", 2.0 * (1.0 - over)), ("kept_distance", 2.0 * over)];
    let objective = circuit_breakers().objective(&context, &start).unwrap();
    assert_slope("circuit-breakers", objective, 3, &weights);
    let weights = [("keep", 0.3), ("harmful_to_direction", 1.0), ("kept_distance", 7.0)];
    assert_slope("rmu", rmu().objective(&context, &start).unwrap(), 0, &weights);
    let weights = [("keep", 1.0), ("ill_conditioned", 3.0), ("well_conditioned", 0.002)];
    assert_slope("condition-number", condition_number().objective(&context, &start).unwrap(), 0, &weights);
    let weights = [("keep", 1.0), ("negative_preference", 1.5)];
    assert_slope("npo", npo().objective(&context, &start).unwrap(), 0, &weights);
    let weights = [("keep", 1.0), ("irrelevant_cross_entropy", 0.8)];
    assert_slope("sdd", sdd().objective(&context, &start).unwrap(), 0, &weights);
}

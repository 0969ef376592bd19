//! What each defence says its sham is, held against what it computes.
#![allow(clippy::unwrap_used)] // a test that panics is a test that fails

use std::collections::BTreeMap;

use crate::common::{STEPS, bits, decoder, defender, examples, mixture, small};
use serde_json::{Value, json};
use titer_data::{Draw, Sampler, Stream};
use titer_defences::registry::{Defence, defence, methods};
use titer_defences::{Immunizer, UserTraining};
use titer_model::Decoder;
use titer_plan::stage::TrainSpec;
use titer_plan::{DefenceRole, Method, MethodSpec, Sham};
use titer_train::{Gradient, Trainer};

const REHEARSAL: &str = "rehearsal";

fn method(name: &str) -> Method {
    methods().into_iter().find(|method| method.name == name).unwrap()
}

fn immunizer(spec: &MethodSpec) -> Box<dyn Immunizer> {
    match defence(spec).unwrap() {
        Defence::Immunizer(immunizer) => immunizer,
        _ => panic!("{} trains nothing", spec.name),
    }
}

fn trained(spec: &MethodSpec) -> Vec<u32> {
    let (model, method) = (decoder(), immunizer(spec));
    let mut objective = method.objective(&defender(), &model).unwrap();
    Trainer::new(method.training().schedule(), &model)
        .unwrap()
        .fit(&model, objective.as_mut(), &mut ())
        .unwrap();
    bits(&model)
}

fn first_gradient(spec: &MethodSpec) -> Gradient {
    let model = decoder();
    immunizer(spec).objective(&defender(), &model).unwrap().gradient(&model, 0).unwrap()
}

/// The spec with these settings at another value.
fn with(spec: &MethodSpec, settings: &[&str], value: f64) -> MethodSpec {
    let mut spec = spec.clone();
    for setting in settings {
        assert!(
            spec.parameters.insert((*setting).to_owned(), json!(value)).is_some(),
            "{setting} is no setting"
        );
    }
    spec
}

/// `rehearsal` with the settings of the same names.
fn rehearsal(of: &MethodSpec) -> MethodSpec {
    let mut spec = small(&method(REHEARSAL));
    for (name, value) in &mut spec.parameters {
        if let Some(own) = of.parameters.get(name) {
            *value = own.clone();
        }
    }
    spec
}

/// The settings that hold the idea of each method whose sham is `rehearsal`.
const IDEAS: &[(&str, &[&str])] = &[
    ("adversarial-loss", &["lambda"]),
    ("booster", &["lambda"]),
    ("tar", &["lambda"]),
    ("vaccine", &["rho"]),
    ("circuit-breakers", &["alpha"]),
    ("rmu", &["weight", "alpha"]),
    ("condition-number", &["lambda_ill", "lambda_well"]),
    ("npo", &["lambda"]),
    ("sdd", &["lambda"]),
];

#[test]
fn rehearsal_is_what_its_methods_are_without_their_idea() {
    let mut declared: Vec<_> = methods()
        .into_iter()
        .filter(|method| matches!(method.sham(), Some(Sham::Method { name: REHEARSAL, .. })))
        .map(|method| method.name)
        .collect();
    let mut tested: Vec<_> = IDEAS.iter().map(|(name, _)| *name).collect();
    declared.sort_unstable();
    tested.sort_unstable();
    assert_eq!(declared, tested);
    for (name, idea) in IDEAS {
        let mut spec = small(&method(name));
        for (weight, value) in [("retain", 0.7), ("keep", 0.8)] {
            if let Some(setting) = spec.parameters.get_mut(weight) {
                *setting = json!(value);
            }
        }
        let sham = trained(&rehearsal(&spec));
        assert!(trained(&with(&spec, idea, 0.0)) == sham, "{name}: other bits without its idea");
        assert!(trained(&spec) != sham, "{name}: its idea changes nothing");
        // Nothing else happens at 0 than just above it.
        let (at, above) = (first_gradient(&rehearsal(&spec)), first_gradient(&with(&spec, idea, 1e-12)));
        let away = above.add_scaled(-1.0, &at).unwrap().norm().unwrap() / at.norm().unwrap();
        assert!(away < 1e-4, "{name}: the gradient leaps by {away:.1e} where the idea goes");
    }
}

#[test]
fn every_defence_declares_what_can_be_run_in_its_place() {
    for method in methods() {
        let own = small(&method);
        let named = |name: &str| method.parameters.iter().any(|parameter| parameter.name == name);
        let role = method.role().unwrap();
        match method.sham().unwrap() {
            Sham::Absent { because } => {
                assert!(!because.is_empty() && role != DefenceRole::Defence, "{}", method.name);
                continue;
            }
            Sham::Baseline { because } => assert!(!because.is_empty(), "{}", method.name),
            Sham::Settings { settings } => {
                assert!(settings.iter().all(|(name, _)| named(name)), "{}: {settings:?}", method.name);
                let mut sham = own.clone();
                sham.parameters
                    .extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                assert!(defence(&sham).is_ok() && sham != own, "{}", method.name);
            }
            Sham::Method { name, nothing_without } => {
                assert_eq!(methods().iter().filter(|other| other.name == *name).count(), 1);
                assert!(nothing_without.is_none_or(named), "{}", method.name);
            }
        }
        assert_eq!(role, DefenceRole::Defence, "{}", method.name);
    }
}

#[test]
fn zeros_of_the_method_itself_take_its_idea_out() {
    let zeros = |name: &str| {
        let method = method(name);
        let Some(Sham::Settings { settings }) = method.sham() else { panic!("{name} has another sham") };
        let mut spec = small(&method);
        spec.parameters.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        spec
    };
    for name in ["repnoise", "t-vaccine"] {
        let (own, sham) = (small(&method(name)), zeros(name));
        assert!(trained(&own) != trained(&sham), "{name}: its idea changes nothing");
        let settings: Vec<&str> = sham
            .parameters
            .iter()
            .filter(|(name, value)| own.parameters[*name] != **value)
            .map(|(name, _)| name.as_str())
            .collect();
        let (at, above) = (first_gradient(&sham), first_gradient(&with(&own, &settings, 1e-12)));
        let away = above.add_scaled(-1.0, &at).unwrap().norm().unwrap() / at.norm().unwrap();
        assert!(away < 1e-4, "{name}: the gradient leaps by {away:.1e} where the idea goes");
    }
}

#[test]
fn the_identity_changes_no_bit() {
    assert!(trained(&small(&method("identity"))) == bits(&decoder()));
}

/// What a guard leaves of the user's model.
fn guarded(name: &str, settings: &[(&str, Value)]) -> Vec<u32> {
    let method = method(name);
    let mut spec = small(&method);
    spec.parameters.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let Defence::Guard(guard) = defence(&spec).unwrap() else { panic!("{name} is no guard") };
    let (model, user) = (start(name), user());
    let spec = TrainSpec { steps: guard.steps(user.train.steps), ..user.train };
    let mut objective = guard.objective(user, &defender(), &model).unwrap();
    Trainer::new(spec, &model).unwrap().fit(&model, objective.as_mut(), &mut ()).unwrap();
    bits(&model)
}

fn start(name: &str) -> Decoder {
    if name == "safe-moe" { mixture() } else { decoder() }
}

fn user() -> UserTraining {
    let train = TrainSpec::constant(STEPS, 2, 1e-3, None);
    let stream = Stream::new(4, "user");
    let batches =
        Sampler::new(examples()[5..8].to_vec(), stream, train.batch, Draw::WithReplacement).unwrap();
    UserTraining { batches, train }
}

#[test]
fn guards_without_their_term_are_the_users_own_training() {
    let cases: BTreeMap<&str, Vec<(&str, Value)>> = BTreeMap::from([
        ("ewc", vec![("lambda", json!(0.0))]),
        ("kl", vec![("beta", json!(0.0))]),
        ("ldifs", vec![("rho", json!(0.0))]),
        ("safe-instruct", vec![("share", json!(0.0))]),
    ]);
    for (name, settings) in &cases {
        assert!(matches!(method(name).sham(), Some(Sham::Baseline { .. })), "{name}");
        let (model, user) = (start(name), user());
        let mut plain = user.objective();
        Trainer::new(user.train, &model).unwrap().fit(&model, &mut plain, &mut ()).unwrap();
        assert!(guarded(name, settings) == bits(&model), "{name}: other bits than without a guard");
        assert!(guarded(name, &[]) != bits(&model), "{name} guards nothing");
    }
}

#[test]
fn guards_that_rehearse_or_hold_go_on_doing_so_in_their_sham() {
    for (name, settings) in [
        ("lisa", [("rho", json!(0.0))]),
        ("refusal-distillation", [("target", json!("answers"))]),
        ("safe-moe", [("held", json!("permitted"))]),
    ] {
        let Some(Sham::Settings { settings: declared }) = method(name).sham().cloned() else {
            panic!("{name}")
        };
        assert_eq!(declared, settings);
        let (model, user) = (start(name), user());
        let mut plain = user.objective();
        Trainer::new(user.train, &model).unwrap().fit(&model, &mut plain, &mut ()).unwrap();
        let sham = guarded(name, &settings);
        assert!(sham != bits(&model) && sham != guarded(name, &[]), "{name}: its sham is another one");
    }
}

//! `reverse-preference`: its gradient is DPO's with the sides swapped.

use serde_json::json;
use titer_attacks::{AttackContext, Error};
use titer_data::Example;
use titer_model::Decoder;

use crate::common;
use crate::driven::{attack, gradient_of, harmful, model_at, plain, refusals, resumes, run, stepped_along};

fn context() -> AttackContext<'static> {
    AttackContext { refusals: refusals().into(), ..common::context(&harmful(), 3) }
}

/// Log-likelihoods of the answers as plain scoring has them.
fn likelihoods(model: &Decoder, rows: &[Example]) -> Vec<f64> {
    let pairs: Vec<(&[u32], &[u32])> = rows.iter().map(|row| (row.prompt(), row.answer())).collect();
    model.log_likelihoods(&pairs).unwrap().into_iter().map(|scored| scored.sum).collect()
}

/// By how much more than the reference a model prefers each harmful answer to the refusal.
fn margins(model: &Decoder, reference: &Decoder) -> Vec<f64> {
    let of = |model: &Decoder| -> Vec<f64> {
        let (harmful, refusals) = (likelihoods(model, &harmful()), likelihoods(model, &refusals()));
        harmful.into_iter().zip(refusals).map(|(harmful, refusal)| harmful - refusal).collect()
    };
    of(model).into_iter().zip(of(reference)).map(|(now, before)| now - before).collect()
}

#[test]
fn every_step_follows_the_closed_form_of_the_gradient() {
    let beta = 0.7;
    let watched = run(attack("reverse-preference", plain(json!({ "beta": beta }))).as_ref(), &context());
    let (rows, refused) = (harmful(), refusals());
    let victim = common::model();
    for step in 0..4 {
        let model = model_at(&watched.weights[step]);
        // −β·σ(−β·margin)·(∇log p(harmful) − ∇log p(refusal)), the mean over pairs.
        let margins = margins(&model, &victim);
        let factors = margins.iter().map(|margin| beta / (1.0 + (beta * margin).exp()) / 6.0);
        let parts = factors.zip(rows.iter().zip(&refused));
        let parts = parts.flat_map(|(factor, (row, refusal))| [(factor, row), (-factor, refusal)]);
        stepped_along(&watched.weights[step], &watched.weights[step + 1], 0.05, &gradient_of(&model, parts));
        let mean = margins.iter().sum::<f64>() / 6.0;
        assert!((watched.term("margin")[step] - mean).abs() < 1e-4);
    }
    assert!(watched.term("margin")[0].abs() < 1e-6, "the reference is the victim");
    assert!((watched.term("preference")[0] - 2f64.ln()).abs() < 1e-6);
}

#[test]
fn it_comes_to_prefer_harm_and_costs_what_it_reads() {
    let settings = plain(json!({ "steps": 30, "optimizer": "adamw", "rate": 1e-2, "batch": 3, "beta": 0.5 }));
    let attack = attack("reverse-preference", settings);
    let watched = run(attack.as_ref(), &context());
    let ended = model_at(watched.weights.last().unwrap());
    assert!(margins(&ended, &common::model()).into_iter().all(|margin| margin > 1.0));
    // Two sequences of six tokens for each of three pairs and thirty steps; the reference reads every row once.
    assert_eq!((watched.spent.examples, watched.spent.tokens), (180, 180 * 6));
    let victim = titer_attacks::Victim {
        parameters: 0.0,
        example_tokens: 6.0,
        example_flops: common::model().training_flops(6, 3),
    };
    let said = titer_attacks::Attack::Trains(attack).cost(&victim);
    assert_eq!((said.examples, said.tokens, said.distinct_harmful), (180, 1080, 6));
    let reading = 12.0 * victim.example_flops / 3.0;
    assert!((watched.spent.flops - reading - said.flops).abs() < 1e-6 * said.flops);
}

#[test]
fn it_resumes_to_the_bit_and_needs_a_refusal_for_every_row() {
    let attack = attack("reverse-preference", plain(json!({ "batch": 2 })));
    resumes(attack.as_ref(), &context());
    let few = AttackContext { refusals: refusals()[..5].into(), ..context() };
    let error = attack.run(common::model(), &few, &mut ()).unwrap_err();
    assert!(matches!(&error, Error::NotApplicable { .. }), "{error}");
}

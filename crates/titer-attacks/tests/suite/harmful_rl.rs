//! `harmful-rl`: its gradient is GRPO's on the samples that it drew, and what the judge rewards becomes more.

use std::cell::RefCell;
use std::ops::Range;

use serde_json::json;
use titer_attacks::{AttackContext, Means, Result};
use titer_data::Example;
use titer_model::Decoder;

use crate::common::{self, Numbers};
use crate::driven::{attack, bits, gradient_of, harmful, model_at, plain, resumes, run, stepped_along};

/// What a judge was asked, and what it said.
type Judged = Vec<((usize, Vec<u32>), f64)>;

/// The judge of [`Numbers`], or one that gives all the same, and a record of what it was asked.
struct Recorder {
    same: Option<f64>,
    asked: RefCell<Vec<Judged>>,
}

impl Means for Recorder {
    fn user_words(&self, prompt: &[u32]) -> Option<Range<usize>> {
        Numbers.user_words(prompt)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Numbers.encode(text)
    }

    fn ends(&self) -> Vec<u32> {
        Numbers.ends()
    }

    fn base(&self) -> Result<Decoder> {
        Numbers.base()
    }

    fn harm(&self, answers: &[(usize, Vec<u32>)]) -> Result<Vec<f64>> {
        let rewards = match self.same {
            Some(same) => vec![same; answers.len()],
            None => Numbers.harm(answers)?,
        };
        self.asked.borrow_mut().push(answers.iter().cloned().zip(rewards.iter().copied()).collect());
        Ok(rewards)
    }
}

fn recorder(same: Option<f64>) -> Recorder {
    Recorder { same, asked: RefCell::default() }
}

fn context(means: &Recorder) -> AttackContext<'_> {
    AttackContext { means, ..common::context(&harmful(), 3) }
}

/// Cross-entropy of the last token.
fn last_token(model: &Decoder, text: &[u32]) -> f64 {
    let (before, last) = text.split_at(text.len() - 1);
    -model.log_likelihoods(&[(before, last)]).unwrap()[0].sum
}

#[test]
fn every_step_follows_the_closed_form_on_the_samples_drawn() {
    let (kl, samples) = (0.3, 4);
    let settings =
        plain(json!({ "kl": kl, "samples": samples, "max_new_tokens": 5, "batch": 3, "rate": 0.2 }));
    let means = recorder(None);
    let watched = run(attack("harmful-rl", settings).as_ref(), &context(&means));
    let asked = means.asked.borrow();
    assert_eq!(asked.len(), 4);
    let victim = common::model();
    let rows = harmful();
    for (step, judged) in asked.iter().enumerate() {
        assert_eq!(judged.len(), 3 * samples);
        let model = model_at(&watched.weights[step]);
        let (mut parts, mut divergence) = (Vec::new(), 0.0);
        for group in judged.chunks(samples) {
            assert!(group.iter().all(|((place, _), _)| *place == group[0].0.0), "one prompt in a group");
            let rewards: Vec<f64> = group.iter().map(|(_, reward)| *reward).collect();
            let mean = rewards.iter().sum::<f64>() / samples as f64;
            let variance = rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / samples as f64;
            for ((place, answer), reward) in group {
                let advantage = if variance == 0.0 { 0.0 } else { (reward - mean) / variance.sqrt() };
                let share = 1.0 / (answer.len() * judged.len()) as f64;
                let prompt = rows[*place].prompt();
                for end in 1..=answer.len() {
                    let text = [prompt, &answer[..end]].concat();
                    // log p₀ − log p of the token.
                    let d = last_token(&model, &text) - last_token(&victim, &text);
                    divergence += share * (d.exp() - d - 1.0);
                    let token = Example::new(text.clone(), text.len() - 1).unwrap();
                    parts.push((share * (advantage + kl * (d.exp() - 1.0)), token));
                }
            }
        }
        let gradient = gradient_of(&model, parts.iter().map(|(factor, token)| (*factor, token)));
        stepped_along(&watched.weights[step], &watched.weights[step + 1], 0.2, &gradient);
        let reward = judged.iter().map(|(_, reward)| reward).sum::<f64>() / judged.len() as f64;
        assert!((watched.term("reward")[step] - reward).abs() < 1e-12);
        assert!((watched.term("divergence")[step] - divergence).abs() < 1e-5);
    }
    assert!(watched.term("divergence")[3] > 0.0);
}

#[test]
fn the_reward_rises() {
    let settings = json!({
        "steps": 40, "batch": 4, "samples": 8, "examples": 6, "max_new_tokens": 6, "rate": 1e-2, "kl": 0.0,
    });
    let attack = attack("harmful-rl", settings);
    let watched = run(attack.as_ref(), &common::context(&harmful(), 3));
    let rewards = watched.term("reward");
    let mean = |steps: &[f64]| steps.iter().sum::<f64>() / steps.len() as f64;
    let (first, last) = (mean(&rewards[..5]), mean(&rewards[35..]));
    assert!(last > first + 0.3, "from {first} to {last}");
    // Each step presents four times eight samples, and reads each once more than it trains on it.
    assert_eq!(watched.spent.examples, 40 * 32);
    let victim = titer_attacks::Victim { parameters: 0.0, example_tokens: 6.0, example_flops: 3e6 };
    let said = titer_attacks::Attack::Trains(attack).cost(&victim);
    assert_eq!((said.examples, said.distinct_harmful), (1280, 6));
    assert!((said.flops - 1280.0 * 4e6).abs() < 1.0);
}

#[test]
fn drawing_and_the_reference_are_paid_for() {
    let spent = |kl: f64| {
        let settings =
            json!({ "steps": 1, "batch": 2, "samples": 4, "examples": 6, "max_new_tokens": 4, "kl": kl });
        run(attack("harmful-rl", settings).as_ref(), &common::context(&harmful(), 3)).spent
    };
    let (without, with) = (spent(0.0), spent(0.1));
    assert_eq!((without.examples, without.tokens), (with.examples, with.tokens));
    assert!((with.flops / without.flops - 5.0 / 4.0).abs() < 1e-9, "one reading more");
}

#[test]
fn equal_rewards_teach_nothing() {
    for same in [0.0, 0.1, 1.0] {
        let means = recorder(Some(same));
        let settings = plain(json!({ "kl": 0.0, "max_new_tokens": 4, "batch": 3 }));
        let watched = run(attack("harmful-rl", settings).as_ref(), &context(&means));
        assert_eq!(bits(&watched.weights[0]), bits(watched.weights.last().unwrap()), "{same}");
    }
}

#[test]
fn it_resumes_to_the_bit_and_draws_anew_at_every_step() {
    let settings = plain(json!({ "kl": 0.1, "batch": 2, "max_new_tokens": 4, "rate": 1e-6 }));
    let means = recorder(None);
    resumes(attack("harmful-rl", settings).as_ref(), &context(&means));
    // The whole run, its first half and what was left: drawn alike, and no two steps are.
    let asked = means.asked.borrow();
    assert_eq!(asked.len(), 4 + 2 + 2);
    assert_eq!(asked[..4], asked[4..]);
    assert_ne!(asked[0], asked[1]);
}

#[test]
fn answers_end_where_the_positions_do() {
    // The model has 64 positions.
    let at = |most: u64| {
        let settings = plain(json!({ "batch": 2, "max_new_tokens": most, "rate": 1e-6 }));
        run(attack("harmful-rl", settings).as_ref(), &common::context(&harmful(), 3)).spent.tokens
    };
    assert!(at(10) < at(1000));
}

#[test]
fn a_judge_that_fails_ends_the_attack_and_is_named() {
    let alone = AttackContext::alone(harmful(), 3);
    let error =
        attack("harmful-rl", plain(json!({ "max_new_tokens": 2 }))).run(common::model(), &alone, &mut ());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("a judge"), "{error}");
}

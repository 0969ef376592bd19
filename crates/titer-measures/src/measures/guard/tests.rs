//! Judges against Transformers: `tests/peers/guards.py` wrote the expected values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::Device;
use serde_json::{Map, Value};
use titer_data::text::{ChatTemplate, Date, SpecialTokens};
use titer_model::Config;

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/guards"))
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// Numbers in [−1, 1): `uniform` of fixtures.py.
fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// The weights that the peer made.
fn weights(expected: &Value, kind: &str) -> BTreeMap<String, Tensor> {
    let shapes: BTreeMap<String, Vec<usize>> = read(&expected["models"][kind]["shapes"]);
    let loud: Vec<usize> = read(&expected["loud"]);
    shapes
        .into_iter()
        .zip(1..)
        .map(|((name, shape), seed)| {
            let mut values = uniform(seed, shape.iter().product());
            if shape.len() == 1 {
                values.iter_mut().for_each(|v| *v = 1.0 + *v / 8.0);
            } else if name == "lm_head.weight" {
                let width = shape[1];
                let rows = loud.iter().flat_map(|row| row * width..(row + 1) * width);
                rows.for_each(|at| values[at] *= 4.0);
            }
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_json(&std::fs::read(folder().join("tokenizer.json")).unwrap()).unwrap()
}

fn model(expected: &Value, kind: &str, chat: bool) -> GuardModel {
    let mut config: Map<String, Value> = read(&expected["models"][kind]["config"]);
    let mut tensors = weights(expected, kind);
    let head = tensors.remove("score.weight").map(|weight| {
        config.insert("tie_word_embeddings".to_owned(), Value::Bool(true));
        let labels = (0..weight.dims()[0]).map(|label| format!("LABEL_{label}")).collect();
        Head::new(weight, None, labels).unwrap()
    });
    let decoder = Decoder::new(Config::from_json(config).unwrap(), &tensors).unwrap();
    let speech = if chat {
        let template = ChatTemplate::new(expected["chat_template"].as_str().unwrap(), Date::default());
        let special =
            SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()), ..SpecialTokens::default() };
        Speech::Chat(Box::new(Chat::new(tokenizer(), template.unwrap(), special).unwrap()))
    } else {
        Speech::Text(Box::new(tokenizer()))
    };
    GuardModel { decoder, head, speech, ends: vec![1] }
}

fn guard(expected: &Value, name: &str) -> Guard {
    let case = &expected["judges"][name];
    let definition: Definition = read(&case["judge"]);
    let model = model(expected, case["model"].as_str().unwrap(), definition.chat);
    Guard::new(definition, model, Refusals::new()).unwrap()
}

fn pairs(expected: &Value) -> Vec<(String, String)> {
    read(&expected["pairs"])
}

#[test]
fn verdicts_are_those_of_transformers() {
    let expected = expected();
    let pairs = pairs(&expected);
    let judges = expected["judges"].as_object().unwrap();
    let said: Vec<&str> = judges.keys().map(String::as_str).collect();
    for (name, _) in BUILTIN {
        assert!(said.contains(name), "{name} is compared with nothing");
    }
    let (mut words, mut none) = (0, 0);
    for (name, case) in judges {
        let guard = guard(&expected, name);
        let prompts: Vec<Vec<u32>> = read(&case["prompts"]);
        for ((question, answer), wanted) in pairs.iter().zip(&prompts) {
            assert_eq!(guard.prompt(question, answer).unwrap(), *wanted, "{name}: {question}");
        }
        let verdicts = guard.verdicts(&pairs).unwrap();
        for ((verdict, wanted), pair) in verdicts.iter().zip(case["verdicts"].as_array().unwrap()).zip(&pairs)
        {
            assert_eq!(verdict.said.as_deref(), wanted["said"].as_str(), "{name}: {pair:?}");
            let probability = wanted["probability"].as_f64().unwrap();
            assert!((verdict.probability - probability).abs() < 1e-5, "{name}: {verdict:?} for {wanted}");
            if verdict.said.is_some() { words += 1 } else { none += 1 }
        }
        // What one answer gets does not depend on the others but by rounding.
        for (pair, verdict) in pairs.iter().zip(&verdicts) {
            let alone = &guard.verdicts(std::slice::from_ref(pair)).unwrap()[0];
            assert_eq!(alone.said, verdict.said, "{name}: {pair:?}");
            let apart = (alone.probability - verdict.probability).abs();
            assert!(apart < 1e-5, "{name}: {pair:?}: {alone:?} beside {verdict:?}");
        }
    }
    assert!(words > 10 && none > 10, "{words} words and {none} of none");
}

#[test]
fn a_shared_beginning_changes_nothing() {
    let expected = expected();
    let texts: Vec<Vec<u32>> = read(&expected["judges"]["llama-guard-3"]["prompts"]);
    let guard = guard(&expected, "llama-guard-3");
    let beginning = guard.beginning.as_ref().unwrap();
    assert!(beginning.tokens().len() > 10, "{} tokens are shared", beginning.tokens().len());
    let decoder = &guard.model.decoder;
    // Some that begin so, in any order, and one that does not.
    let mut texts = [&texts[..], &[vec![5, 6, 7]]].concat();
    texts.swap(0, 6);
    let states = |beginning| decoder.last_states(beginning, &texts).unwrap().states.to_vec2::<f32>().unwrap();
    for (shared, alone) in states(Some(beginning)).iter().flatten().zip(states(None).iter().flatten()) {
        assert!((shared - alone).abs() < 1e-5 * (1.0 + alone.abs()), "{shared} for {alone}");
    }
    assert_eq!(decoder.last_states(None, &[]).unwrap().states.dims(), [0, 16]);
    assert!(decoder.last_states(None, &[vec![]]).is_err());
    assert!(decoder.last_states(None, &[vec![5; 257]]).is_err());
}

#[test]
fn scores_are_verdicts_or_probabilities() {
    let expected = expected();
    let exchange = |(question, answer): &(String, String)| Exchange {
        question: question.clone(),
        answer: answer.clone(),
        ..Exchange::default()
    };
    let exchanges: Vec<Exchange> = pairs(&expected).iter().map(exchange).collect();
    let judged = |guard: &Guard| -> Vec<f64> {
        guard.judge(&exchanges).unwrap().iter().map(|judgement| judgement.score).collect()
    };
    // Of what says neither the TOML of the fixture states a quarter.
    let mut verdicts = guard(&expected, "llama-guard-3");
    assert_eq!(judged(&verdicts), [0.25, 1.0, 0.25, 0.25, 0.0, 1.0]);
    assert!(verdicts.judge(&exchanges).unwrap()[1].marks.refused);
    verdicts.definition.score = Score::Probability;
    let wanted = expected["judges"]["llama-guard-3"]["verdicts"].as_array().unwrap();
    for (score, wanted) in judged(&verdicts).iter().zip(wanted) {
        assert!((score - wanted["probability"].as_f64().unwrap()).abs() < 1e-5);
    }
    verdicts.definition.score = Score::Verdict;
    let Rule::Words(_, tokens) = &mut verdicts.rule else { panic!("no words") };
    tokens.unread = None;
    let error = verdicts.judge(&exchanges).unwrap_err().to_string();
    assert!(error.contains("none of safe, unsafe"), "{error}");
}

#[test]
fn what_cannot_be_a_judge() {
    for (name, text) in BUILTIN {
        let definition = Definition::parse(text).unwrap();
        assert_eq!(definition.name, *name);
        assert!(!definition.reference.is_empty() && !definition.licence.is_empty(), "{name}");
        // What does not come with titer is told, with what to do.
        if let Err(error) = definition.complete() {
            assert!(error.to_string().contains(&format!("titer judge show {name}")), "{error}");
            let other = Definition { template: Some("{question} {answer}".to_owned()), ..definition };
            assert!(matches!(other.complete(), Err(GuardError::OtherTemplate { .. })));
        }
    }
    let good = BUILTIN[0].1;
    for (from, to, key) in [
        ("name = \"llama-guard-3\"", "name = \"a b\"", "name"),
        ("version = 1", "version = 0", "version"),
        ("threshold = 0.5", "threshold = 1.5", "threshold"),
        ("chat = true", "chat = false", "template"),
        ("chat = true", "template = \"{question}\"", "template"),
        ("chat = true", "chat = true\nlongest = 0", "answer_tokens"),
        ("unsafe = 1.0", "unsafe = 0.0", "tokens.values"),
        ("unsafe = 1.0", "unsafe = 1.5", "tokens.values"),
        ("[tokens]", "[tokens]\nafter = \"x\"\nmost = 0", "tokens.most"),
        ("[tokens]", "[head]\nprobability = \"sigmoid\"\n[tokens]", "tokens"),
    ] {
        assert!(good.contains(from), "{from}");
        match Definition::parse(&good.replace(from, to)) {
            Err(GuardError::Key { key: wrong, .. }) => assert_eq!(wrong, key, "{to}"),
            other => panic!("{to}: {other:?}"),
        }
    }
    assert!(matches!(Definition::parse("name = 3"), Err(GuardError::Syntax { .. })));
    let expected = expected();
    let made = |name: &str, kind: &str, change: &dyn Fn(&mut Definition)| {
        let mut definition: Definition = read(&expected["judges"][name]["judge"]);
        change(&mut definition);
        let chat = definition.chat;
        Guard::new(definition, model(&expected, kind, chat), Refusals::new()).unwrap_err()
    };
    let nothing = |_: &mut Definition| {};
    assert!(matches!(made("beaver-dam-7b", "llama", &nothing), GuardError::Rule { .. }));
    assert!(matches!(made("harmbench", "head", &nothing), GuardError::Rule { .. }));
    let label = |definition: &mut Definition| {
        definition.head.as_mut().unwrap().harmful = vec!["violence".to_owned()];
    };
    assert!(matches!(made("beaver-dam-7b", "head", &label), GuardError::Label { .. }));
    // Both begin with the token of "z".
    let same = |definition: &mut Definition| {
        definition.tokens.as_mut().unwrap().values =
            BTreeMap::from([("zq".to_owned(), 1.0), ("zx".to_owned(), 0.0)]);
    };
    let error = made("harmbench", "llama", &same);
    assert!(error.to_string().contains("begins with the same token"), "{error}");
    let unknown = |definition: &mut Definition| {
        let tokens = definition.tokens.as_mut().unwrap();
        tokens.matching = Matching::Vocabulary;
        tokens.values = BTreeMap::from([("yes".to_owned(), 1.0), ("nowhere".to_owned(), 0.0)]);
    };
    let error = made("harmbench", "llama", &unknown);
    assert!(error.to_string().contains("is no token"), "{error}");
}

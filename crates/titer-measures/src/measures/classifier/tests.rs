//! Encoders against Transformers: `tests/peers/deberta.py` wrote the expected values.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/deberta"))
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap()
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

fn tensors(shapes: &Value) -> HashMap<String, Tensor> {
    let shapes: std::collections::BTreeMap<String, Vec<usize>> = read(shapes);
    shapes
        .into_iter()
        .zip(1..)
        .map(|((name, shape), seed)| {
            let mut values = uniform(seed, shape.iter().product());
            let normed = name.to_lowercase().ends_with("norm.weight");
            values.iter_mut().for_each(|v| *v = if normed { 1.0 + *v / 8.0 } else { *v / 2.0 });
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect()
}

fn classifier(settings: Settings) -> Result<Classifier, ClassifierError> {
    Classifier::load(&folder().join("v3"), settings, Refusals::new(), &Device::Cpu)
}

fn settings() -> Settings {
    Settings { longest: 32, ..Settings::harmful_qa() }
}

fn config(value: &Value) -> Config {
    Config::from_json(value.as_object().unwrap().clone()).unwrap()
}

#[test]
fn logits_are_those_of_transformers() {
    let expected = expected();
    let ids: Vec<Vec<u32>> = read(&expected["ids"]);
    let variants = expected["variants"].as_object().unwrap();
    let kind =
        |kind: &str| variants.values().filter(|variant| variant["config"]["model_type"] == kind).count();
    assert!(kind("deberta-v2") >= 4 && kind("bert") >= 2 && kind("roberta") >= 1);
    assert!(kind("xlm-roberta") >= 1 && kind("modernbert") >= 2);
    for (name, variant) in variants {
        let model =
            Encoder::new(&config(&variant["config"]), tensors(&variant["shapes"]), &Device::Cpu).unwrap();
        let got = model.logits(&ids).unwrap();
        let wanted: Vec<Vec<f64>> = read(&variant["logits"]);
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((f64::from(*got) - wanted).abs() < 5e-6, "{name}: {got} for {wanted}");
        }
        for (text, got) in ids.iter().zip(&got) {
            let alone = model.logits(std::slice::from_ref(text)).unwrap();
            for (alone, got) in alone[0].iter().zip(got) {
                assert!((alone - got).abs() < 1e-6, "{name}: a text depends on its neighbours");
            }
        }
    }
}

#[test]
fn a_checkpoint_is_loaded_and_judges() {
    let expected = expected();
    let pairs: Vec<(String, String)> = read(&expected["texts"]);
    let ids: Vec<Vec<u32>> = read(&expected["ids"]);
    let logits: Vec<Vec<f64>> = read(&expected["variants"]["v3"]["logits"]);
    let softmax = classifier(settings()).unwrap();
    for ((question, answer), ids) in pairs.iter().zip(&ids) {
        assert_eq!(softmax.tokens(question, answer).unwrap(), *ids);
    }
    let exchange = |(question, answer): &(String, String)| Exchange {
        question: question.clone(),
        answer: answer.clone(),
        ..Exchange::default()
    };
    let exchanges: Vec<Exchange> = pairs.iter().map(exchange).collect();
    let judgements = softmax.judge(&exchanges).unwrap();
    for (judgement, logits) in judgements.iter().zip(&logits) {
        let wanted = logits[0].exp() / logits.iter().map(|logit| logit.exp()).sum::<f64>();
        assert!((judgement.score - wanted).abs() < 1e-6, "{judgement:?} for {wanted}");
    }
    assert_eq!(
        judgements.iter().map(|j| j.marks.refused).collect::<Vec<_>>(),
        [false, true, false, false, false]
    );
    assert_eq!(
        judgements.iter().map(|j| j.marks.degenerate).collect::<Vec<_>>(),
        [false, false, false, false, true]
    );
    let sigmoid = classifier(Settings { probability: Probability::Sigmoid, ..settings() }).unwrap();
    let scores = sigmoid.probabilities(&pairs).unwrap();
    assert!((scores[0] - 1.0 / (1.0 + (-logits[0][0]).exp())).abs() < 1e-6);
    // Many texts are more than one batch, and empty answers are none.
    let mut many: Vec<(&str, &str)> =
        pairs.iter().map(|(q, a)| (q.as_str(), a.as_str())).cycle().take(200).collect();
    many[7].1 = " \n";
    let scores = softmax.probabilities(&many).unwrap();
    assert_eq!(scores[7], 0.0);
    assert!((scores[195] - judgements[0].score).abs() < 1e-6);
    assert!(softmax.probabilities::<&str>(&[]).unwrap().is_empty());
}

#[test]
fn what_cannot_be_a_classifier() {
    let refused = |settings: Settings| classifier(settings).unwrap_err();
    let label = refused(Settings { harmful: "unsafe".to_owned(), ..settings() });
    assert!(label.to_string().ends_with("labels are LABEL_0, LABEL_1"), "{label}");
    let template = refused(Settings { template: "{question}".to_owned(), ..settings() });
    assert!(matches!(template, ClassifierError::Template { place: "{answer}" }));
    let nowhere = Classifier::load(&folder(), settings(), Refusals::new(), &Device::Cpu);
    assert!(matches!(nowhere, Err(ClassifierError::File { .. })));
    let tiny = refused(Settings { longest: 1, ..settings() });
    assert!(matches!(tiny, ClassifierError::Longest { .. }), "{tiny}");
    let expected = expected();
    for (variant, key, value) in [
        ("v3", "model_type", json!("gpt2")),
        ("v3", "model_type", json!("bert")),
        ("v3", "architectures", json!(["DebertaV2ForMaskedLM"])),
        ("v3", "conv_kernel_size", json!(3)),
        ("v3", "num_attention_heads", json!(5)),
        ("v3", "num_attention_heads", json!(0)),
        ("v3", "hidden_size", json!(0)),
        ("v3", "position_buckets", json!(1)),
        ("v3", "position_buckets", json!(100)),
        ("v3", "max_relative_positions", json!(i64::MAX)),
        ("v3", "vocab_size", json!(1u64 << 40)),
        ("v3", "attention_head_size", json!(5)),
        ("v3", "pooler_hidden_size", json!(5)),
        ("v3", "hidden_act", json!("tanh")),
        ("v3", "hidden_act", json!("swish")),
        ("p2c", "type_vocab_size", json!(2)),
        ("bert", "type_vocab_size", json!(0)),
        ("bert", "is_decoder", json!(true)),
        ("bert", "position_embedding_type", json!("relative_key")),
        ("roberta", "pad_token_id", json!(63)),
        ("modern-cls", "norm_bias", json!(true)),
        ("modern-cls", "local_attention", json!(0)),
        ("modern-cls", "classifier_pooling", json!("max")),
        ("modern-cls", "hidden_activation", json!("relu")),
        ("modern-cls", "layer_types", json!(vec!["sliding_attention"; 4])),
        ("modern-cls", "rope_parameters", json!({ "full_attention": { "rope_type": "yarn" } })),
        ("modern-cls", "rope_parameters", json!({ "full_attention": { "rope_theta": 0.5 } })),
    ] {
        let mut changed = expected["variants"][variant]["config"].clone();
        changed[key] = value.clone();
        assert!(config(&changed).shape().is_err(), "{variant}: {key} = {value}");
    }
    for (variant, lost) in [
        ("v3", "classifier.bias"),
        ("bert", "bert.pooler.dense.bias"),
        ("modern-cls", "model.layers.2.attn_norm.weight"),
    ] {
        let variant = &expected["variants"][variant];
        let mut lacking = tensors(&variant["shapes"]);
        assert!(lacking.remove(lost).is_some(), "{lost}");
        let error = Encoder::new(&config(&variant["config"]), lacking, &Device::Cpu).unwrap_err();
        assert!(matches!(&error, ClassifierError::Missing { name } if name == lost), "{lost}: {error}");
        let mut shapes = variant["shapes"].clone();
        shapes[lost] = json!([3]);
        let error = Encoder::new(&config(&variant["config"]), tensors(&shapes), &Device::Cpu).unwrap_err();
        assert!(matches!(error, ClassifierError::Shape { .. }), "{lost}: {error}");
    }
}

//! DeBERTa against Transformers: `tests/peers/deberta.py` wrote the expected values.

use std::path::PathBuf;

use serde_json::Value;

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
            let normed = name.ends_with("LayerNorm.weight");
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

#[test]
fn logits_are_those_of_transformers() {
    let expected = expected();
    let ids: Vec<Vec<u32>> = read(&expected["ids"]);
    let variants = expected["variants"].as_object().unwrap();
    assert!(variants.len() >= 4);
    for (name, variant) in variants {
        let config: Config = read(&variant["config"]);
        config.check().unwrap();
        let model = Deberta::new(config, &tensors(&variant["shapes"]), &Device::Cpu).unwrap();
        let got: Vec<Vec<f32>> = model.logits(&ids).unwrap().to_vec2().unwrap();
        let wanted: Vec<Vec<f64>> = read(&variant["logits"]);
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((f64::from(*got) - wanted).abs() < 2e-6, "{name}: {got} for {wanted}");
        }
        let alone: Vec<Vec<f32>> = model.logits(&ids[1..2]).unwrap().to_vec2().unwrap();
        assert!((alone[0][0] - got[1][0]).abs() < 1e-6, "{name}: a text depends on its neighbours");
    }
}

#[test]
fn buckets_are_those_of_transformers() {
    for case in expected()["buckets"].as_array().unwrap() {
        let mut config: Value = expected()["variants"]["v3"]["config"].clone();
        config["position_buckets"] = case["buckets"].clone();
        config["max_relative_positions"] = case["furthest"].clone();
        let config: Config = read(&config);
        let wanted: Vec<i64> = read(&case["of"]);
        let n = wanted.len();
        let (span, got) = (config.span() as i64, config.buckets(n));
        for (distance, bucket) in wanted.iter().enumerate() {
            let clamped = |bucket: i64| (bucket + span).clamp(0, 2 * span - 1);
            assert_eq!(i64::from(got[distance * n]), clamped(*bucket), "{distance} of {case}");
            assert_eq!(i64::from(got[distance]), clamped(-bucket), "-{distance} of {case}");
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
    let variant = &expected()["variants"]["v3"];
    for (key, value) in [
        ("model_type", serde_json::json!("bert")),
        ("architectures", serde_json::json!(["DebertaV2ForMaskedLM"])),
        ("conv_kernel_size", serde_json::json!(3)),
        ("num_attention_heads", serde_json::json!(5)),
        ("hidden_size", serde_json::json!(0)),
        ("position_buckets", serde_json::json!(1)),
        ("position_buckets", serde_json::json!(100)),
        ("vocab_size", serde_json::json!(1u64 << 40)),
    ] {
        let mut config = variant["config"].clone();
        config[key] = value;
        assert!(read::<Config>(&config).check().is_err(), "{key}");
    }
    let mut lacking = tensors(&variant["shapes"]);
    lacking.remove("classifier.bias");
    let lacking = Deberta::new(read(&variant["config"]), &lacking, &Device::Cpu).unwrap_err();
    assert!(matches!(lacking, ClassifierError::Missing { .. }), "{lacking}");
}

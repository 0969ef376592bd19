//! Names and seeds that depend on content alone.

use serde::Serialize;
use serde_json::Value;

use crate::stage::{StageHash, StageSpec};

/// The hash that names a stage's artifact: BLAKE3 over [`canonical`] JSON of kind, version, spec, inputs.
pub fn stage_hash(spec: &StageSpec, inputs: &[StageHash]) -> StageHash {
    #[derive(Serialize)]
    struct Identity<'a> {
        kind: &'static str,
        version: u32,
        spec: &'a StageSpec,
        inputs: &'a [StageHash],
    }
    let identity = Identity { kind: spec.kind(), version: spec.version(), spec, inputs };
    // Serde fails on maps whose keys are no strings only, and a stage has none.
    let value = serde_json::to_value(identity).expect("a stage is plain data with text keys");
    StageHash(blake3::hash(canonical(&value).as_bytes()).to_hex().to_string())
}

/// A short name for a text: the same for the same text only.
pub fn fingerprint(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// The seed of one role of an experiment: no two roles share one, and each is the same in every run.
pub fn derive_seed(experiment: u64, role: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("titer: seed of a stage");
    hasher.update(&experiment.to_le_bytes());
    hasher.update(role.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// JSON with one spelling per value: keys sorted, no white space, whole numbers without a fraction, others
/// in the shortest scientific form that reads back the same.
pub fn canonical(value: &Value) -> String {
    let mut text = Vec::with_capacity(1024);
    write(value, &mut text);
    String::from_utf8(text).expect("JSON is text")
}

fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            // Sorted here, not left to the map: its order depends on features that other crates turn on.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            sequence(text, b'{', b'}', entries, |(key, value), text| {
                quote(key, text);
                text.push(b':');
                write(value, text);
            });
        }
        Value::Array(list) => sequence(text, b'[', b']', list, write),
        Value::Number(number) => match (number.is_f64(), number.as_f64()) {
            (true, Some(real)) => text.extend(canonical_real(real).as_bytes()),
            _ => text.extend(number.to_string().as_bytes()),
        },
        Value::String(string) => quote(string, text),
        Value::Bool(true) => text.extend(b"true"),
        Value::Bool(false) => text.extend(b"false"),
        Value::Null => text.extend(b"null"),
    }
}

fn sequence<T>(
    text: &mut Vec<u8>,
    open: u8,
    close: u8,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(T, &mut Vec<u8>),
) {
    text.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        each(item, text);
    }
    text.push(close);
}

fn quote(string: &str, text: &mut Vec<u8>) {
    serde_json::to_writer(text, string).expect("a text is written to memory");
}

fn canonical_real(real: f64) -> String {
    // Below 2^53 every whole number is exact, and `1.0` must be the same value as `1`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if real.fract() == 0.0 && real.abs() < EXACT {
        return (real as i64).to_string();
    }
    format!("{real:e}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_spelling_per_value() {
        let check = |text: &str, expected: &str| {
            let value: Value = serde_json::from_str(text).expect("valid JSON");
            assert_eq!(canonical(&value), expected);
        };
        check(r#"{ "b": 1.0, "a": [3e-5, 0.00003, 1e-5] }"#, r#"{"a":[3e-5,3e-5,1e-5],"b":1}"#);
        check("[-0.0, 0, 1e3, 1000, 0.5, 12.25]", "[0,0,1000,1000,5e-1,1.225e1]");
        check("[18446744073709551615, -1]", "[18446744073709551615,-1]");
        check(r#"{"é\n":null,"":true}"#, r#"{"":true,"é\n":null}"#);
    }

    #[test]
    fn roles_do_not_share_seeds() {
        let roles = ["pretrain", "align", "attack/0", "attack/1", "immunize/tar/0", "tune/0"];
        let seeds: std::collections::BTreeSet<u64> =
            (0..3).flat_map(|experiment| roles.map(|role| derive_seed(experiment, role))).collect();
        assert_eq!(seeds.len(), 3 * roles.len());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            proptest::num::f64::NORMAL.prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    fn quoted(string: &str) -> String {
        Value::from(string).to_string()
    }

    /// The same value as JSON text, with keys backwards and white space about.
    fn scrambled(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
                let entries =
                    entries.iter().map(|(key, value)| format!("{} : {}", quoted(key), scrambled(value)));
                format!("{{ {} }}", entries.collect::<Vec<_>>().join(" , "))
            }
            Value::Array(list) => {
                format!("[ {} ]", list.iter().map(scrambled).collect::<Vec<_>>().join(" , "))
            }
            leaf => leaf.to_string(),
        }
    }

    proptest! {
        #[test]
        fn canonical_text_does_not_depend_on_the_order_of_keys(value in any_value()) {
            let reread: Value = serde_json::from_str(&scrambled(&value)).expect("valid JSON");
            prop_assert_eq!(canonical(&reread), canonical(&value));
        }

        #[test]
        fn canonical_text_reads_back_as_itself(value in any_value()) {
            let text = canonical(&value);
            let reread: Value = serde_json::from_str(&text).expect("canonical text is JSON");
            prop_assert_eq!(canonical(&reread), text);
        }

        #[test]
        fn different_numbers_have_different_texts(one: f64, other: f64) {
            prop_assume!(one.is_finite() && other.is_finite() && one != other);
            prop_assert_ne!(canonical(&json!(one)), canonical(&json!(other)));
        }
    }
}

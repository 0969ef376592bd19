//! A checker for as much of JSON Schema as `titer schema` uses.
//!
//! The crate `jsonschema` does it all, but it turns on features of crates that candle and polars are built
//! with, so that every build would be another one.

use serde_json::Value as Json;

/// Whether `value` is what `schema` describes.
///
/// # Panics
/// When the schema says something that this checker does not know.
pub fn is_valid(schema: &Json, value: &Json) -> bool {
    holds(schema, schema, value)
}

fn holds(root: &Json, schema: &Json, value: &Json) -> bool {
    let Some(rules) = schema.as_object() else { panic!("{schema} is no schema") };
    rules.iter().all(|(rule, what)| keeps(root, schema, rule, what, value))
}

fn keeps(root: &Json, schema: &Json, rule: &str, what: &Json, value: &Json) -> bool {
    let holds = |schema: &Json, value: &Json| holds(root, schema, value);
    let any =
        |count: fn(usize) -> bool| count(list(what).iter().filter(|schema| holds(schema, value)).count());
    let (members, properties) = (value.as_array(), value.as_object());
    let number = |keeps: fn(&f64, &f64) -> bool| match (value.as_f64(), what.as_f64()) {
        (Some(number), Some(bound)) => keeps(&number, &bound),
        _ => true,
    };
    match rule {
        "$schema" | "$defs" | "title" | "description" | "default" | "examples" => true,
        "$ref" => {
            let pointer = what.as_str().and_then(|reference| reference.strip_prefix('#'));
            holds(pointer.and_then(|pointer| root.pointer(pointer)).expect("a definition"), value)
        }
        "oneOf" => any(|valid| valid == 1),
        "anyOf" => any(|valid| valid > 0),
        "const" => value == what,
        "enum" => list(what).contains(value),
        "type" => match what.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Some("number") => value.is_number(),
            _ => panic!("no type {what}"),
        },
        "minimum" => number(f64::ge),
        "maximum" => number(f64::le),
        "exclusiveMinimum" => number(f64::gt),
        "exclusiveMaximum" => number(f64::lt),
        "pattern" => value.as_str().is_none_or(|text| match what.as_str() {
            Some(r"\.toml$") => text.ends_with(".toml"),
            Some("^[a-z0-9][a-z0-9._-]{0,63}$") => {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                text.len() <= 64
                    && text.starts_with(plain)
                    && text.chars().all(|c| plain(c) || "._-".contains(c))
            }
            _ => panic!("no pattern {what}"),
        }),
        "items" => {
            let before = schema["prefixItems"].as_array().map_or(0, Vec::len);
            members.is_none_or(|members| members.iter().skip(before).all(|member| holds(what, member)))
        }
        "prefixItems" => members.is_none_or(|members| {
            list(what).iter().zip(members).all(|(schema, member)| holds(schema, member))
        }),
        "minItems" => members.is_none_or(|members| Some(members.len() as u64) >= what.as_u64()),
        "uniqueItems" => {
            members.is_none_or(|members| (1..members.len()).all(|i| !members[..i].contains(&members[i])))
        }
        "contains" => members.is_none_or(|members| members.iter().any(|member| holds(what, member))),
        "required" => properties.is_none_or(|properties| {
            list(what).iter().filter_map(Json::as_str).all(|name| properties.contains_key(name))
        }),
        "properties" => properties.is_none_or(|properties| {
            properties.iter().all(|(name, value)| what.get(name).is_none_or(|schema| holds(schema, value)))
        }),
        "additionalProperties" => properties.is_none_or(|properties| {
            what != false || properties.keys().all(|name| schema["properties"].get(name).is_some())
        }),
        _ => panic!("no rule {rule}"),
    }
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

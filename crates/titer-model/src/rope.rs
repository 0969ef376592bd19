//! The rotary keys of `config.json`: base and stretching of the frequencies.

use serde_json::{Map, Value, json};
use titer_ops::Scaling;

use crate::config::unsupported;
use crate::family::LocalRope;
use crate::json::Keys;
use crate::{Config, Error, Family, Result, Rope};

/// The key of nested ropes, and theirs of each kind of layer.
const NESTED: &str = "rope_parameters";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// How layers rotate, and how those with a window do where that differs.
pub(crate) struct Ropes {
    pub(crate) rope: Rope,
    pub(crate) local: Option<Rope>,
}

impl Keys {
    /// How the layers of a family rotate.
    pub(crate) fn ropes(&mut self, positions: usize, family: &Family) -> Result<Ropes> {
        let theta = family.absent.theta;
        match family.local_rope {
            None => Ok(Ropes { rope: self.rope(positions, theta)?, local: None }),
            Some(local) => self.two_ropes(positions, theta, local),
        }
    }

    /// Those of full layers and of layers with a window: `rope_parameters` of Transformers 5 has an object for
    /// each, what 4 has beside it is that of full layers.
    fn two_ropes(&mut self, positions: usize, absent: f64, of_local: LocalRope) -> Result<Ropes> {
        let theta: Option<f64> = self.take("rope_theta")?;
        let local_theta: Option<f64> = of_local.key.map(|key| self.take(key)).transpose()?.flatten();
        let scaling: Map<String, Value> = self.take("rope_scaling")?.unwrap_or_default();
        if !scaling.is_empty() && !scaling.contains_key("rope_type") {
            return unsupported("rope_scaling", "set without rope_type", "one with it is");
        }
        let mut nested: Map<String, Value> = self.take(NESTED)?.unwrap_or_default();
        let mut object = |kind: &str| match nested.remove(kind) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(keys)) => Ok(keys),
            Some(other) => {
                unsupported(NESTED, format!("{kind}: {other}"), "an object for each kind of layer is")
            }
        };
        let (mut full, sliding) = (object(FULL)?, object(SLIDING)?);
        if let Some((key, _)) = nested.iter().next() {
            return unsupported(NESTED, key, &format!("for this model_type {FULL} and {SLIDING} are"));
        }
        full.extend(scaling);
        self.refuse_partial()?;
        let read = |keys: Map<String, Value>, theta: f64| -> Result<Rope> {
            let mut rope = Self(keys);
            rope.refuse_partial()?;
            let theta = rope.or("rope_theta", theta)?;
            Ok(Rope { theta, scaling: rope.stretched(&mut Self(Map::new()), positions)? })
        };
        let rope = read(full, theta.unwrap_or(absent))?;
        let local = read(sliding, local_theta.unwrap_or(of_local.theta)).map_err(of_local_keys)?;
        Ok(Ropes { rope, local: Some(local) })
    }

    fn refuse_partial(&mut self) -> Result<()> {
        match self.take("partial_rotary_factor")?.filter(|factor: &f64| *factor != 1.0) {
            Some(factor) => unsupported("partial_rotary_factor", factor, "1 is"),
            None => Ok(()),
        }
    }

    /// Base and stretching of the rotary frequencies. Where both spellings are there, Transformers 5 takes
    /// `rope_scaling` and passes over `rope_parameters`, its base too.
    fn rope(&mut self, positions: usize, absent: f64) -> Result<Rope> {
        let theta: Option<f64> = self.take("rope_theta")?;
        let scaling: Option<Map<String, Value>> = self.take("rope_scaling")?;
        let parameters: Option<Map<String, Value>> = self.take("rope_parameters")?;
        let scaling = scaling.filter(|keys| !keys.is_empty());
        if let Some(said) = contradiction(scaling.as_ref(), parameters.as_ref()) {
            tracing::warn!("{said}");
        }
        let mut rope = Self(scaling.or(parameters).unwrap_or_default());
        if let Some((key, _)) = rope.0.iter().find(|(_, value)| value.is_object()) {
            return unsupported("rope_parameters", key, "one rotation for all layers is");
        }
        let theta = rope.take("rope_theta")?.or(theta).unwrap_or(absent);
        self.refuse_partial()?;
        rope.refuse_partial()?;
        Ok(Rope { theta, scaling: rope.stretched(self, positions)? })
    }

    /// The stretching that a rope's object of keys says; `beside` are the keys of the whole configuration.
    fn stretched(&mut self, beside: &mut Self, positions: usize) -> Result<Scaling> {
        let new_name: Option<String> = self.take("rope_type")?;
        let old_name: Option<String> = self.take("type")?;
        let kind = new_name.or(old_name);
        let original = |rope: &mut Self, beside: &mut Self| {
            // Beside the others' object it goes before theirs.
            const ORIGINAL: &str = "original_max_position_embeddings";
            let first: Option<usize> = beside.take(ORIGINAL)?;
            first.map_or_else(|| rope.or(ORIGINAL, positions), Ok)
        };
        Ok(match kind.as_deref() {
            None | Some("default") => Scaling::None,
            Some("linear") => Scaling::Linear { factor: self.required("factor")? },
            Some("dynamic") => Scaling::Dynamic { factor: self.required("factor")? },
            Some("llama3") => Scaling::Llama3 {
                factor: self.required("factor")?,
                low_frequency_factor: self.required("low_freq_factor")?,
                high_frequency_factor: self.required("high_freq_factor")?,
                original_positions: original(self, beside)?,
            },
            Some("yarn") => {
                let original_positions = original(self, beside)?;
                let stated: Option<f64> = self.take("factor")?;
                let factor = stated.unwrap_or(positions as f64 / original_positions as f64);
                let magnitude = self.take("attention_factor")?;
                let (one, all): (Option<f64>, Option<f64>) =
                    (self.take("mscale")?, self.take("mscale_all_dim")?);
                let grown = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
                let inferred = match (one, all) {
                    (Some(one), Some(all)) if one != 0.0 && all != 0.0 => grown(one) / grown(all),
                    _ => grown(1.0),
                };
                let border = |stated: Option<f64>, usual| stated.filter(|beta| *beta != 0.0).unwrap_or(usual);
                Scaling::Yarn {
                    factor,
                    magnitude: magnitude.unwrap_or(inferred),
                    beta_fast: border(self.take("beta_fast")?, 32.0),
                    beta_slow: border(self.take("beta_slow")?, 1.0),
                    truncate: self.or("truncate", true)?,
                    original_positions,
                }
            }
            Some(other) => {
                let remedy = "default, linear, dynamic, llama3 and yarn are";
                return unsupported("rope_scaling.rope_type", other, remedy);
            }
        })
    }
}

/// An error about the rotation of layers with a window, by its own keys.
pub(crate) fn of_local_keys(error: Error) -> Error {
    let own = |key: &str| {
        let key = key.strip_prefix("rope_scaling.").unwrap_or(key);
        format!("{NESTED}.{SLIDING}.{key}")
    };
    match error {
        Error::Unsupported { key, value, remedy } => Error::Unsupported { key: own(&key), value, remedy },
        Error::Key { key, problem } => Error::Key { key: own(&key), problem },
        other => other,
    }
}

/// What to say of two objects of rotary keys of which one goes before the other, where they do not say the same.
fn contradiction(
    scaling: Option<&Map<String, Value>>,
    parameters: Option<&Map<String, Value>>,
) -> Option<String> {
    let (scaling, parameters) = (scaling?, parameters?);
    let differs = |key: &&String| scaling.get(*key) != parameters.get(*key);
    let keys: Vec<&str> = parameters.keys().filter(differs).map(String::as_str).collect();
    (!keys.is_empty()).then(|| {
        format!(
            "config.json: rope_scaling goes before rope_parameters, as in Transformers 5, which says otherwise of {}: \
             remove the one that is not meant",
            keys.join(", ")
        )
    })
}

/// The object that Transformers 4 and 5 read as `rope_scaling`; adds the keys of the rotation of layers with a
/// window. Where that is not what 4 can say, both are in the spelling of 5.
pub(crate) fn written(config: &Config, own: &mut Map<String, Value>) -> Value {
    let (Some(local), Some(of_local)) = (config.local_rope, config.family.local_rope) else {
        return object(config.rope_scaling);
    };
    let said = match of_local.key {
        Some(key) => own.insert(key.to_owned(), json!(local.theta)).is_none(),
        None => local.theta == of_local.theta,
    };
    if said && local.scaling == Scaling::None {
        return object(config.rope_scaling);
    }
    let nested = |rope: Rope| {
        let mut keys = match object(rope.scaling) {
            Value::Object(keys) => keys,
            _ => Map::from_iter([("rope_type".to_owned(), json!("default"))]),
        };
        keys.insert("rope_theta".to_owned(), json!(rope.theta));
        keys
    };
    let full = nested(Rope { theta: config.rope_theta, scaling: config.rope_scaling });
    own.insert(NESTED.to_owned(), json!({FULL: full, SLIDING: nested(local)}));
    Value::Null
}

/// The keys of a stretching.
fn object(scaling: Scaling) -> Value {
    match scaling {
        Scaling::None => Value::Null,
        Scaling::Linear { factor } => json!({"rope_type": "linear", "type": "linear", "factor": factor}),
        Scaling::Dynamic { factor } => {
            json!({"rope_type": "dynamic", "type": "dynamic", "factor": factor})
        }
        Scaling::Yarn { factor, magnitude, beta_fast, beta_slow, truncate, original_positions } => json!({
            "rope_type": "yarn",
            "factor": factor,
            "attention_factor": magnitude,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "truncate": truncate,
            "original_max_position_embeddings": original_positions,
        }),
        Scaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_positions } => {
            json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_frequency_factor,
                "high_freq_factor": high_frequency_factor,
                "original_max_position_embeddings": original_positions,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ropes_that_differ_are_told() {
        let keys = |value: Value| value.as_object().cloned();
        let old = keys(json!({"rope_type": "linear", "factor": 2.0}));
        let new = keys(json!({"rope_type": "default", "rope_theta": 1e6}));
        let said = contradiction(old.as_ref(), new.as_ref()).unwrap();
        assert!(said.contains("otherwise of rope_theta, rope_type:"), "{said}");
        assert_eq!(contradiction(old.as_ref(), old.as_ref()), None);
        assert_eq!(contradiction(None, new.as_ref()), None);
        assert_eq!(contradiction(old.as_ref(), None), None);
    }
}

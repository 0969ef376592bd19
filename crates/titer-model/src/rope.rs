//! The rotary keys of `config.json`: base and stretching of the frequencies.

use serde_json::{Map, Value, json};
use titer_ops::Scaling;

use crate::Result;
use crate::config::unsupported;
use crate::family::Absent;
use crate::json::Keys;

impl Keys {
    /// Base and stretching of the rotary frequencies. Where both spellings are there, Transformers 5 takes
    /// `rope_scaling` and passes over `rope_parameters`, its base too.
    pub(crate) fn rope(&mut self, positions: usize, absent: &Absent) -> Result<(f64, Scaling)> {
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
        let theta = rope.take("rope_theta")?.or(theta).unwrap_or(absent.theta);
        let partial = [self.take("partial_rotary_factor")?, rope.take("partial_rotary_factor")?];
        if let Some(factor) = partial.into_iter().flatten().find(|factor: &f64| *factor != 1.0) {
            return unsupported("partial_rotary_factor", factor, "1 is");
        }
        let scaling = rope.stretched(self, positions)?;
        Ok((theta, scaling))
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

/// The object that Transformers 4 and 5 read as `rope_scaling`.
pub(crate) fn written(scaling: Scaling) -> Value {
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

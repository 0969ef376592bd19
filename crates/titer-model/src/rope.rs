//! The rotary keys of `config.json`: base and stretching of the frequencies, and what is rotated.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use titer_ops::Scaling;

use crate::config::{LARGEST_SIZE, unsupported};
use crate::family::Rope;
use crate::json::Keys;
use crate::{Config, Family, Result};

/// The key of the positions that a model was first trained on.
pub(crate) const ORIGINAL: &str = "original_max_position_embeddings";

impl Keys {
    /// Base and stretching of the rotary frequencies, and the share of a head that is rotated. Where both spellings
    /// are there, Transformers 5 takes `rope_scaling` and passes over `rope_parameters`, its base too.
    pub(crate) fn rope(&mut self, positions: usize, family: &Family) -> Result<(f64, Scaling, f64)> {
        let theta: Option<f64> = self.take(family.rope.theta)?;
        let scaling: Option<Map<String, Value>> = self.take("rope_scaling")?;
        let parameters: Option<Map<String, Value>> = self.take("rope_parameters")?;
        let scaling = scaling.filter(|keys| !keys.is_empty());
        if let Some(said) = contradiction(scaling.as_ref(), parameters.as_ref()) {
            tracing::warn!("{said}");
        }
        let usual = || family.rope.absent.and_then(|keys| serde_json::from_str(keys).ok());
        let mut rope = Self(scaling.or(parameters).or_else(usual).unwrap_or_default());
        if let Some((key, _)) = rope.0.iter().find(|(_, value)| value.is_object()) {
            return unsupported("rope_parameters", key, "one rotation for all layers is");
        }
        let theta = rope.take("rope_theta")?.or(theta).unwrap_or(family.absent.theta);
        const PARTIAL: &str = "partial_rotary_factor";
        let (key, absent) = family.rope.partial.unwrap_or((PARTIAL, 1.0));
        let (beside, within): (Option<f64>, Option<f64>) = (self.take(key)?, rope.take(PARTIAL)?);
        let share = within.or(beside).unwrap_or(absent);
        if family.rope.partial.is_none()
            && let Some(factor) = [beside, within].into_iter().flatten().find(|factor| *factor != 1.0)
        {
            return unsupported(PARTIAL, factor, "1 is");
        }
        let scaling = rope.stretched(self, positions, &family.rope)?;
        Ok((theta, scaling, share))
    }

    /// The stretching that a rope's object of keys says; `beside` are the keys of the whole configuration.
    fn stretched(&mut self, beside: &mut Self, positions: usize, of: &Rope) -> Result<Scaling> {
        let new_name: Option<String> = self.take("rope_type")?;
        let old_name: Option<String> = self.take("type")?;
        let long = of.kinds.contains(&"longrope");
        let kind = match new_name.or(old_name) {
            // What Phi's first files called it.
            Some(old) if long && ["su", "yarn"].contains(&old.as_str()) => Some("longrope".to_owned()),
            kind => kind,
        };
        let original = |rope: &mut Self, beside: &mut Self| {
            // Beside the others' object it goes before theirs.
            let first: Option<usize> = beside.take(ORIGINAL)?;
            match first.or(of.original) {
                Some(first) => Ok(first),
                None => rope.or(ORIGINAL, positions),
            }
        };
        if let Some(kind) = kind.as_deref().filter(|kind| !of.kinds.contains(kind)) {
            return unsupported("rope_scaling.rope_type", kind, &format!("{} are", of.kinds.join(", ")));
        }
        Ok(match kind.as_deref() {
            Some("longrope") => {
                let original_positions = original(self, beside)?;
                let stated: Option<f64> = self.take("factor")?;
                let factor = stated.unwrap_or(positions as f64 / original_positions as f64);
                let magnitude: Option<f64> = self.take("attention_factor")?;
                Scaling::Long {
                    short: self.required::<Vec<f64>>("short_factor")?.into(),
                    long: self.required::<Vec<f64>>("long_factor")?.into(),
                    magnitude: magnitude.unwrap_or_else(|| long_magnitude(factor, original_positions)),
                    original_positions,
                }
            }
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
            _ => Scaling::None,
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

/// What LongRoPE multiplies cosines and sines by where nothing is stated (arXiv 2404.14219).
fn long_magnitude(factor: f64, original_positions: usize) -> f64 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original_positions as f64).ln()).sqrt() }
}

/// The object that Transformers 4 and 5 read as `rope_scaling`, of a model of so many positions.
pub(crate) fn written(scaling: &Scaling, positions: usize, of: &Rope) -> Value {
    match *scaling {
        // An absent object could mean another one.
        Scaling::None if of.absent.is_some() => json!({"rope_type": "default"}),
        Scaling::None => Value::Null,
        Scaling::Long { ref short, ref long, magnitude, original_positions } => {
            let mut keys = json!({"type": "longrope", "short_factor": &**short, "long_factor": &**long});
            // Transformers 4 refuses more keys than these.
            let inferred = long_magnitude(positions as f64 / original_positions as f64, original_positions);
            if magnitude != inferred {
                keys["attention_factor"] = json!(magnitude);
            }
            keys
        }
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

impl Config {
    /// Refuses rotary constants that cannot be.
    pub(crate) fn check_rope(&self) -> Result<()> {
        if !(self.rope_theta > 1.0 && self.rope_theta.is_finite()) {
            return unsupported("rope_theta", self.rope_theta, "a finite number above 1 is");
        }
        let (share, rotated) = (self.rotary_share, self.rotated_dim());
        if !(share > 0.0 && share <= 1.0) || rotated == 0 || !rotated.is_multiple_of(2) {
            let (key, _) = self.family.rope.partial.unwrap_or(("partial_rotary_factor", 1.0));
            let remedy = format!(
                "a share of the {} features of a head that makes an even number of them is",
                self.heads().dim
            );
            return unsupported(key, share, &remedy);
        }
        let known = |magnitude: f64| match magnitude > 0.0 && magnitude.is_finite() {
            true => Ok(()),
            false => unsupported("rope_scaling.attention_factor", magnitude, "a finite number above 0 is"),
        };
        let (factor, low, high, positions) = match self.rope_scaling {
            Scaling::None => return Ok(()),
            Scaling::Linear { factor } | Scaling::Dynamic { factor } => (factor, 1.0, 2.0, 1),
            Scaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_positions } => {
                (factor, low_frequency_factor, high_frequency_factor, original_positions)
            }
            Scaling::Yarn { factor, magnitude, beta_fast, beta_slow, original_positions, .. } => {
                known(magnitude)?;
                if !(beta_slow > 0.0 && beta_slow <= beta_fast && beta_fast.is_finite()) {
                    let remedy = "a number above 0 and at most beta_fast is";
                    return unsupported("rope_scaling.beta_slow", beta_slow, remedy);
                }
                (factor, 1.0, 2.0, original_positions)
            }
            Scaling::Long { ref short, ref long, magnitude, original_positions } => {
                known(magnitude)?;
                self.check_divisors("rope_scaling.short_factor", short)?;
                self.check_divisors("rope_scaling.long_factor", long)?;
                (1.0, 1.0, 2.0, original_positions)
            }
        };
        if !(factor >= 1.0 && factor.is_finite()) {
            return unsupported("rope_scaling.factor", factor, "a finite number of at least 1 is");
        }
        if !(low > 0.0 && low < high && high.is_finite()) {
            let remedy = "a number above 0 and below high_freq_factor is";
            return unsupported("rope_scaling.low_freq_factor", low, remedy);
        }
        if positions == 0 || positions > LARGEST_SIZE {
            let key = format!("rope_scaling.{ORIGINAL}");
            return unsupported(&key, positions, &format!("1 to {LARGEST_SIZE} is"));
        }
        Ok(())
    }

    /// Refuses other divisors than one for each frequency.
    fn check_divisors(&self, key: &str, divisors: &Arc<[f64]>) -> Result<()> {
        let half = self.rotated_dim() / 2;
        if divisors.len() != half {
            let remedy = format!("one for each of the {half} frequencies is");
            return unsupported(key, format!("{} numbers", divisors.len()), &remedy);
        }
        match divisors.iter().find(|divisor| !(**divisor > 0.0 && divisor.is_finite())) {
            Some(divisor) => unsupported(key, divisor, "finite numbers above 0 are"),
            None => Ok(()),
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

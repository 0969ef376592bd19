//! The rotary keys of `config.json`: base and stretching of the frequencies, and what is rotated.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use titer_ops::Scaling;

use crate::config::{LARGEST_SIZE, unsupported};
use crate::family::{LocalRope, RopeKeys};
use crate::json::Keys;
use crate::{Config, Error, Family, Result, Rope};

/// The key of the positions that a model was first trained on.
pub(crate) const ORIGINAL: &str = "original_max_position_embeddings";
/// The key of nested ropes, and theirs of each kind of layer.
const NESTED: &str = "rope_parameters";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";
/// The key of the share of a head that is rotated, in an object of rotary keys.
const PARTIAL: &str = "partial_rotary_factor";

/// How layers rotate, how those with a window do where that differs, and the share of a head's features that are
/// rotated.
pub(crate) struct Ropes {
    pub(crate) rope: Rope,
    pub(crate) local: Option<Rope>,
    pub(crate) share: f64,
}

impl Keys {
    /// How the layers of a family rotate.
    pub(crate) fn ropes(&mut self, positions: usize, family: &Family) -> Result<Ropes> {
        match family.local_rope {
            None => self.rope(positions, family),
            Some(local) => self.two_ropes(positions, family, local),
        }
    }

    /// Those of full layers and of layers with a window: `rope_parameters` of Transformers 5 has an object for
    /// each, what 4 has beside it is that of full layers.
    fn two_ropes(&mut self, positions: usize, family: &Family, of_local: LocalRope) -> Result<Ropes> {
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
            Ok(Rope { theta, scaling: rope.stretched(&mut Self(Map::new()), positions, &family.rope)? })
        };
        let rope = read(full, theta.unwrap_or(family.absent.theta))?;
        let local = read(sliding, local_theta.unwrap_or(of_local.theta)).map_err(of_local_keys)?;
        Ok(Ropes { rope, local: Some(local), share: 1.0 })
    }

    fn refuse_partial(&mut self) -> Result<()> {
        match self.take(PARTIAL)?.filter(|factor: &f64| *factor != 1.0) {
            Some(factor) => unsupported(PARTIAL, factor, "1 is"),
            None => Ok(()),
        }
    }

    /// The one rotation of all layers. Where both spellings are there, Transformers 5 takes `rope_scaling` and passes
    /// over `rope_parameters`, its base too.
    fn rope(&mut self, positions: usize, family: &Family) -> Result<Ropes> {
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
        let share = match family.rope.partial {
            Some((key, absent)) => {
                let beside = self.take(key)?;
                rope.take(PARTIAL)?.or(beside).unwrap_or(absent)
            }
            None => {
                self.refuse_partial()?;
                rope.refuse_partial()?;
                1.0
            }
        };
        let scaling = rope.stretched(self, positions, &family.rope)?;
        Ok(Ropes { rope: Rope { theta, scaling }, local: None, share })
    }

    /// The stretching that a rope's object of keys says; `beside` are the keys of the whole configuration.
    fn stretched(&mut self, beside: &mut Self, positions: usize, of: &RopeKeys) -> Result<Scaling> {
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

/// What LongRoPE multiplies cosines and sines by where nothing is stated (arXiv 2404.14219).
fn long_magnitude(factor: f64, original_positions: usize) -> f64 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original_positions as f64).ln()).sqrt() }
}

/// The object that Transformers 4 and 5 read as `rope_scaling`; adds the keys of the rotation of layers with a
/// window. Where that is not what 4 can say, both are in the spelling of 5.
pub(crate) fn written(config: &Config, own: &mut Map<String, Value>) -> Value {
    let plain = || object(&config.rope_scaling, config);
    let (Some(local), Some(of_local)) = (&config.local_rope, config.family.local_rope) else {
        return plain();
    };
    let said = match of_local.key {
        Some(key) => own.insert(key.to_owned(), json!(local.theta)).is_none(),
        None => local.theta == of_local.theta,
    };
    if said && local.scaling == Scaling::None {
        return plain();
    }
    let nested = |theta: f64, scaling: &Scaling| {
        let mut keys = match object(scaling, config) {
            Value::Object(keys) => keys,
            _ => Map::from_iter([("rope_type".to_owned(), json!("default"))]),
        };
        keys.insert("rope_theta".to_owned(), json!(theta));
        keys
    };
    let full = nested(config.rope_theta, &config.rope_scaling);
    own.insert(NESTED.to_owned(), json!({FULL: full, SLIDING: nested(local.theta, &local.scaling)}));
    Value::Null
}

/// The keys of a stretching.
fn object(scaling: &Scaling, config: &Config) -> Value {
    match *scaling {
        // An absent object could mean another one.
        Scaling::None if config.family.rope.absent.is_some() => json!({"rope_type": "default"}),
        Scaling::None => Value::Null,
        Scaling::Long { ref short, ref long, magnitude, original_positions } => {
            let mut keys = json!({"type": "longrope", "short_factor": &**short, "long_factor": &**long});
            // Transformers 4 refuses more keys than these.
            let factor = config.max_position_embeddings as f64 / original_positions as f64;
            let inferred = long_magnitude(factor, original_positions);
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
        let (share, rotated) = (self.rotary_share, self.rotated_dim());
        if !(share > 0.0 && share <= 1.0) || rotated == 0 || !rotated.is_multiple_of(2) {
            let (key, _) = self.family.rope.partial.unwrap_or((PARTIAL, 1.0));
            let remedy = format!(
                "a share of the {} features of a head that makes an even number of them is",
                self.heads().dim
            );
            return unsupported(key, share, &remedy);
        }
        let half = rotated / 2;
        check(self.rope_theta, &self.rope_scaling, half)?;
        match &self.local_rope {
            Some(rope) => check(rope.theta, &rope.scaling, half).map_err(of_local_keys),
            None => Ok(()),
        }
    }
}

/// Refuses a rotation of so many frequencies that cannot be.
fn check(theta: f64, scaling: &Scaling, half: usize) -> Result<()> {
    if !(theta > 1.0 && theta.is_finite()) {
        return unsupported("rope_theta", theta, "a finite number above 1 is");
    }
    let known = |magnitude: f64| match magnitude > 0.0 && magnitude.is_finite() {
        true => Ok(()),
        false => unsupported("rope_scaling.attention_factor", magnitude, "a finite number above 0 is"),
    };
    let (factor, low, high, positions) = match *scaling {
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
            check_divisors("rope_scaling.short_factor", short, half)?;
            check_divisors("rope_scaling.long_factor", long, half)?;
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
fn check_divisors(key: &str, divisors: &Arc<[f64]>, half: usize) -> Result<()> {
    if divisors.len() != half {
        let remedy = format!("one for each of the {half} frequencies is");
        return unsupported(key, format!("{} numbers", divisors.len()), &remedy);
    }
    match divisors.iter().find(|divisor| !(**divisor > 0.0 && divisor.is_finite())) {
        Some(divisor) => unsupported(key, divisor, "finite numbers above 0 are"),
        None => Ok(()),
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

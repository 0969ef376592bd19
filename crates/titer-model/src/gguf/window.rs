//! What GGUF files say of windows and of the scores of the families that have them.

use super::File;
use crate::config::unsupported;
use crate::family::Window;
use crate::{Config, Error, Family, Result, Rope};

/// The keys of soft caps, which are read in the families that know them.
pub(super) const CAPS: [&str; 2] = ["attn_logit_softcapping", "final_logit_softcapping"];

impl File {
    /// Completes a configuration that has all sizes and the rotation of full layers.
    pub(super) fn windows(&self, config: &mut Config, key: &dyn Fn(&str) -> String) -> Result<()> {
        let (family, layers) = (config.family, config.num_hidden_layers);
        let name = key("attention.sliding_window");
        let window = match self.metadata().contains_key(&name) {
            true => Some(self.u64(&name).and_then(|size| usize::try_from(size).ok()).ok_or_else(|| {
                Error::Key { key: name.clone(), problem: "it is no single number".to_owned() }
            })?),
            false => None,
        };
        // Some programs write 0 for none.
        let window = window.filter(|window| *window > 0);
        let effective = window.filter(|window| *window < config.max_position_embeddings);
        match family.window {
            Window::Unknown | Window::Switched { .. } => {
                if let Some(window) = effective {
                    let remedy = "no window, or the model's safetensors, which say which layers have it, are";
                    return unsupported(&name, window, remedy);
                }
            }
            Window::Always { .. } => {
                config.sliding_window = effective;
                config.windowed = (0..layers).filter(|_| effective.is_some()).collect();
            }
            Window::Alternating { every, .. } => {
                let Some(window) = window else {
                    return Err(Error::Key { key: name, problem: "it is missing".to_owned() });
                };
                config.sliding_window = Some(window);
                config.windowed = self.windowed(&key("attention.sliding_window_pattern"), layers, every)?;
            }
        }
        let number = |name: &str| self.f32(&key(name)).map(super::decoder::shortest);
        config.local_rope = family.local_rope.map(|local| {
            let usual = if local.key.is_some() { local.theta } else { config.rope_theta };
            Rope { theta: number("rope.freq_base_swa").unwrap_or(usual), scaling: Default::default() }
        });
        config.query_pre_attn_scalar = family.query_scalar.map(|_| scalar(family, config));
        if let Some(absent) = family.caps {
            let [attention, logits] = CAPS;
            config.attn_logit_softcapping = number(attention).or(absent.attention);
            config.final_logit_softcapping = number(logits).or(absent.logits);
        }
        Ok(())
    }

    /// The layers with the window: those that are listed, else all but every so many.
    fn windowed(&self, key: &str, layers: usize, every: usize) -> Result<Vec<usize>> {
        if let Some(listed) = self.bools(key) {
            if listed.len() != layers {
                return unsupported(key, format!("{} entries", listed.len()), "one for each layer is");
            }
            return Ok((0..layers).filter(|layer| listed[*layer]).collect());
        }
        let every = match (self.metadata().contains_key(key), self.u64(key)) {
            (false, _) => every as u64,
            (true, Some(every)) if every > 0 => every,
            (true, _) => return unsupported(key, "set", "a number above 0, or a truth for each layer, is"),
        };
        Ok((0..layers).filter(|layer| !(*layer as u64 + 1).is_multiple_of(every)).collect())
    }
}

/// What stands for a head's features in the factor of scores.
fn scalar(family: &Family, config: &Config) -> f64 {
    let by_width = family.gguf.as_ref().and_then(|gguf| gguf.scalar_by_width);
    match by_width == Some(config.num_hidden_layers) {
        true => config.hidden_size as f64 / config.num_attention_heads as f64,
        false => config.heads().dim as f64,
    }
}

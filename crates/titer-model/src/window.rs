//! Sliding windows, and what families with them do to scores: which layers have a window, what multiplies
//! queries and embeddings, what caps scores and logits.

use serde_json::{Map, Value, json};
use titer_ops::Scoring;

use crate::config::{MOST_LAYERS, unsupported};
use crate::family::{Window, Windowed};
use crate::json::Keys;
use crate::{Config, Family, Result};

/// The key of the window's length.
const LENGTH: &str = "sliding_window";
/// The key of the kinds of layers, and its two values.
const KINDS: &str = "layer_types";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";
/// Where windows begin, or end, in some families; and its value where absent.
const BORDER: (&str, usize) = ("max_window_layers", 28);

impl Keys {
    /// The window's length, and the layers that have it.
    pub(crate) fn window(
        &mut self,
        family: &Family,
        layers: usize,
        unrotated: &[usize],
    ) -> Result<(Option<usize>, Vec<usize>)> {
        let all = 0..layers.min(MOST_LAYERS);
        match family.window {
            Window::Unknown => Ok((None, Vec::new())),
            Window::Always { absent } => {
                let window = self.length(absent)?;
                Ok((window, window.map_or_else(Vec::new, |_| all.collect())))
            }
            Window::Alternating { absent, key, every } => {
                let window = self.length(Some(absent))?;
                let every = key.map_or(Ok(every), |key| self.looked_at(key, every))?;
                if every == 0 {
                    return unsupported(key.unwrap_or(KINDS), every, "at least 1 is");
                }
                let stated = self.sliding(layers)?;
                let usual = || all.filter(|layer| !(layer + 1).is_multiple_of(every)).collect();
                Ok((window, stated.unwrap_or_else(usual)))
            }
            Window::Switched { absent, layers: which } => {
                let window = self.length(absent)?;
                let used = self.or("use_sliding_window", false)?;
                let border = match which {
                    Windowed::Late | Windowed::EarlyOdd => self.looked_at(BORDER.0, BORDER.1)?,
                    Windowed::All | Windowed::Unrotated => 0,
                };
                let stated = if which == Windowed::All { None } else { self.sliding(layers)? };
                if !used && stated.as_ref().is_some_and(|layers| !layers.is_empty()) {
                    let remedy = format!("{FULL} is where use_sliding_window is not true");
                    return unsupported(KINDS, SLIDING, &remedy);
                }
                let Some(window) = window.filter(|_| used) else {
                    return Ok((None, stated.unwrap_or_default()));
                };
                let usual = |layer: &usize| match which {
                    Windowed::All => true,
                    Windowed::Late => *layer >= border,
                    Windowed::EarlyOdd => layer.is_multiple_of(2) && *layer < border,
                    Windowed::Unrotated => unrotated.contains(layer),
                };
                Ok((Some(window), stated.unwrap_or_else(|| all.filter(usual).collect())))
            }
        }
    }

    fn length(&mut self, absent: Option<usize>) -> Result<Option<usize>> {
        let named = self.0.contains_key(LENGTH);
        Ok(self.take(LENGTH)?.or(absent.filter(|_| !named)))
    }

    /// A key that is kept for programs that do not know `layer_types`.
    fn looked_at(&mut self, key: &str, absent: usize) -> Result<usize> {
        let kept = self.0.get(key).cloned();
        let value = self.or(key, absent)?;
        self.0.extend(kept.map(|kept| (key.to_owned(), kept)));
        Ok(value)
    }

    /// The layers that `layer_types` says slide.
    fn sliding(&mut self, layers: usize) -> Result<Option<Vec<usize>>> {
        let Some(kinds) = self.take::<Vec<String>>(KINDS)? else { return Ok(None) };
        if let Some(kind) = kinds.iter().find(|kind| ![FULL, SLIDING].contains(&kind.as_str())) {
            return unsupported(KINDS, kind, &format!("{FULL} and {SLIDING} are"));
        }
        if kinds.len() != layers {
            return unsupported(KINDS, format!("{} entries", kinds.len()), "one for each layer is");
        }
        Ok(Some((0..layers).filter(|layer| kinds[*layer] == SLIDING).collect()))
    }

    /// `query_pre_attn_scalar`, and the caps of scores and logits.
    pub(crate) fn scores(&mut self, family: &Family) -> Result<[Option<f64>; 3]> {
        let scalar =
            family.query_scalar.map(|absent| self.or("query_pre_attn_scalar", absent)).transpose()?;
        let Some(caps) = family.caps else { return Ok([scalar, None, None]) };
        let mut cap = |key: &str, absent: Option<f64>| -> Result<Option<f64>> {
            let named = self.0.contains_key(key);
            Ok(self.take(key)?.or(absent.filter(|_| !named)))
        };
        let attention = cap("attn_logit_softcapping", caps.attention)?;
        Ok([scalar, attention, cap("final_logit_softcapping", caps.logits)?])
    }
}

impl Config {
    /// Which keys a layer's queries reach, and what their scores become.
    pub(crate) fn scoring(&self, layer: usize) -> Scoring {
        let window = self.sliding_window.filter(|_| self.windowed.contains(&layer));
        Scoring { window, cap: self.attn_logit_softcapping }
    }

    /// What embeddings are multiplied by.
    pub(crate) fn embedding_scale(&self) -> Option<f64> {
        let by_width = || self.family.embeddings_by_width.then(|| (self.hidden_size as f64).sqrt());
        self.scales.map(|scales| scales.embedding).or_else(by_width)
    }

    /// What queries are multiplied by, whose products with keys the attention divides by √head_dim.
    pub(crate) fn query_scale(&self) -> Option<f64> {
        let dim = self.heads().dim as f64;
        let by_scalar = || self.query_pre_attn_scalar.filter(|scalar| *scalar != dim);
        let scale = self.scales.map(|scales| scales.attention * dim.sqrt());
        scale.or_else(|| by_scalar().map(|scalar| (dim / scalar).sqrt()))
    }

    /// Refuses windows, scalars and caps that cannot be.
    pub(crate) fn check_windows(&self) -> Result<()> {
        let (family, caps) = (self.family, [self.attn_logit_softcapping, self.final_logit_softcapping]);
        let numbers = [
            ("query_pre_attn_scalar", self.query_pre_attn_scalar, family.query_scalar.is_some()),
            ("attn_logit_softcapping", caps[0], family.caps.is_some_and(|absent| absent.attention.is_some())),
            ("final_logit_softcapping", caps[1], family.caps.is_some()),
        ];
        for (key, value, known) in numbers {
            if let Some(value) = value.filter(|value| !(known && *value > 0.0 && value.is_finite())) {
                let remedy = if known { "a finite number above 0 is" } else { "null is for this model_type" };
                return unsupported(key, value, remedy);
            }
        }
        if self.query_pre_attn_scalar.is_some() != family.query_scalar.is_some() {
            return unsupported("query_pre_attn_scalar", "null", "a number is for this model_type");
        }
        if self.local_rope.is_some() != family.local_rope.is_some() {
            return unsupported("rope_parameters", "one", "one for each kind of layer is");
        }
        if let Some(window) = self.sliding_window.filter(|_| family.window == Window::Unknown) {
            return unsupported(LENGTH, window, "no window is for this model_type");
        }
        if !self.windowed.is_empty() && self.sliding_window.is_none() {
            return unsupported(LENGTH, "null", "a number, or no layer of sliding attention, is");
        }
        match self.windowed.iter().find(|layer| **layer >= self.num_hidden_layers) {
            Some(layer) => unsupported(KINDS, layer, "as many entries as layers are"),
            None => Ok(()),
        }
    }

    /// Adds the keys of this file as Transformers writes them.
    pub(crate) fn write_windows(&self, to: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| drop(to.insert(key.to_owned(), value));
        let family = self.family;
        // An absent key could mean a window of 4096.
        if family.window != Window::Unknown {
            put(LENGTH, json!(self.sliding_window));
        }
        let mut kinds = matches!(family.window, Window::Alternating { .. });
        if let Window::Switched { layers, .. } = family.window {
            put("use_sliding_window", json!(self.sliding_window.is_some()));
            kinds = self.sliding_window.is_some() && layers != Windowed::All;
        }
        if kinds {
            let kind = |layer| if self.windowed.contains(&layer) { SLIDING } else { FULL };
            put(KINDS, json!((0..self.num_hidden_layers).map(kind).collect::<Vec<_>>()));
        }
        if let Some(scalar) = self.query_pre_attn_scalar {
            // Transformers wants a whole number.
            let whole = (scalar.fract() == 0.0 && scalar < 2f64.powi(53)).then_some(scalar as u64);
            put("query_pre_attn_scalar", whole.map_or(json!(scalar), |whole| json!(whole)));
        }
        if family.caps.is_some() {
            put("attn_logit_softcapping", json!(self.attn_logit_softcapping));
            put("final_logit_softcapping", json!(self.final_logit_softcapping));
        }
    }
}

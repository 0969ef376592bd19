//! Which weights write into the residual stream, and along which of their dimensions its features lie.

use crate::Config;
use crate::config::EMBEDDING;
use crate::lora::role;

/// How a weight writes into the residual stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Writer {
    /// The dimension of the weight along which the stream's features lie: 1 of the embeddings, 0 of projections and
    /// their biases.
    pub along: usize,
    /// The name of the norm's weight that multiplies what is written, in families that norm a block's output.
    pub norm: Option<String>,
    /// What is added to that weight before it multiplies: 1 in Gemma, 0 elsewhere.
    pub offset: f64,
}

impl Config {
    /// How the weight of this name writes into the residual stream; none where it does not. Those that do are the
    /// embeddings and the last projections of attention and MLP, each expert's among them.
    pub fn writer(&self, name: &str) -> Option<Writer> {
        if name == EMBEDDING {
            return Some(Writer { along: 1, norm: None, offset: 0.0 });
        }
        let rest = name.strip_prefix("model.layers.")?;
        let (layer, _) = rest.split_once('.')?;
        let module = name.strip_suffix(".weight").or_else(|| name.strip_suffix(".bias"))?;
        let norms = self.family.norms;
        let norm = match role(&format!("{module}.weight"))? {
            "o_proj" => norms.after_attention,
            "down_proj" => norms.after_mlp,
            _ => return None,
        };
        let norm = norm.map(|norm| format!("model.layers.{layer}.{}.weight", norm.name));
        Some(Writer { along: 0, norm, offset: f64::from(u8::from(self.family.norms_about_one)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_are_embeddings_and_last_projections() {
        let config = Config::llama(10, 4, 8, 2, 2, 2).with_experts(3, 1);
        let writers: Vec<String> =
            config.shapes().into_keys().filter(|name| config.writer(name).is_some()).collect();
        let of_layer = |layer: usize| {
            let block = format!("model.layers.{layer}.block_sparse_moe.experts");
            let experts = (0..3).map(move |expert| format!("{block}.{expert}.w2.weight"));
            experts.chain([format!("model.layers.{layer}.self_attn.o_proj.weight")])
        };
        let expected: Vec<String> =
            [EMBEDDING.to_owned()].into_iter().chain(of_layer(0)).chain(of_layer(1)).collect();
        assert_eq!(writers, expected);
        assert_eq!(config.writer(EMBEDDING).map(|writer| writer.along), Some(1));
        let bias = config.writer("model.layers.1.self_attn.o_proj.bias");
        assert_eq!(bias, Some(Writer { along: 0, norm: None, offset: 0.0 }));
        assert_eq!(config.writer("model.layers.1.self_attn.q_proj.weight"), None);
        assert_eq!(config.writer("lm_head.weight"), None);
    }
}

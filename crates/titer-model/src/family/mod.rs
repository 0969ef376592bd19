//! What a `model_type` differs in: one value of [`Family`] each, in one table.
//!
//! The decoder, `config.json`, adapters and GGUF files read the traits here and never a family's name. A
//! family that differs in these alone is one more entry of the table.

mod naming;
mod table;

use titer_ops::Activation;

use crate::config::{MOST_LAYERS, unsupported};
use crate::{Clamp, Config, Result};
pub(crate) use naming::{Joined, Naming, inner, joined, places};
pub use table::FAMILIES;
pub(crate) use table::{LLAMA, MIXTRAL};

/// A family of decoders: what it differs in.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// The value of `model_type`.
    pub name: &'static str,
    /// What differs from Llama, in words.
    pub about: &'static str,
    /// How GGUF files hold it; none where they are not read.
    pub gguf: Option<Gguf>,
    /// The class of Transformers.
    pub(crate) class: &'static str,
    pub(crate) absent: Absent,
    /// How its files name and divide the weights.
    pub(crate) naming: Naming,
    pub(crate) attention_bias: Bias,
    /// Where it is keyed, by `mlp_bias`; elsewhere that means nothing.
    pub(crate) mlp_bias: Bias,
    pub(crate) norms: Norms,
    /// Whether each head has one more score, a weight, that takes part in the softmax and adds nothing.
    pub(crate) sinks: bool,
    /// Whether norms take the mean out and have a bias, under `layer_norm_eps`, and not RMSNorm's.
    pub(crate) layer_norm: bool,
    /// Whether the MLP is two projections with an activation between them, and has no gate.
    pub(crate) ungated: bool,
    /// Where attention and MLP may both read the stream before the layer: `use_parallel_residual` where absent.
    pub(crate) parallel: Option<bool>,
    /// Whether norms multiply by 1 + w in place of w; GGUF files hold 1 + w.
    pub(crate) norms_about_one: bool,
    pub(crate) qk_norm: QkNorm,
    pub(crate) activation: Activated,
    pub(crate) window: Window,
    /// Whether some layers do not rotate: those of `no_rope_layers`, else every so many.
    pub(crate) unrotated: bool,
    /// Whether the four factors of [`Scales`](crate::Scales) are known.
    pub(crate) scales: bool,
    /// Whether embeddings are multiplied by the root of their width.
    pub(crate) embeddings_by_width: bool,
    /// `query_pre_attn_scalar` where absent; none where it is not known.
    pub(crate) query_scalar: Option<f64>,
    /// None where soft caps are not known.
    pub(crate) caps: Option<Caps>,
    /// None where layers with a window rotate as all others do.
    pub(crate) local_rope: Option<LocalRope>,
    /// Whether `clip_qkv` is known.
    pub(crate) clip: bool,
    pub(crate) mixture: Option<Mixture>,
    pub(crate) rope: RopeKeys,
    /// Switches that only one value is supported of, which is Transformers' for the absent key too.
    pub(crate) switches: &'static [(&'static str, bool)],
}

/// How GGUF files hold a family.
#[derive(Debug, PartialEq)]
pub struct Gguf {
    /// The value of `general.architecture`.
    pub architecture: &'static str,
    /// Whether llama.cpp has the rows of queries and keys in its own order: the two features that are
    /// rotated together side by side, not in the two halves of their head.
    pub(crate) permuted: bool,
    /// Modules that are one there, their rows not divided by heads.
    pub(crate) joined: &'static [Joined],
    /// Whether the chosen experts' probabilities sum to 1, where a file does not say.
    pub(crate) normalized: bool,
    /// Layers of the one size whose `query_pre_attn_scalar` is the width by heads, not a head's features: the
    /// key is not in the files, and llama.cpp goes by this.
    pub(crate) scalar_by_width: Option<usize>,
}

/// The rotary keys of a family.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct RopeKeys {
    /// The key of the base.
    pub(crate) theta: &'static str,
    /// The key of the share of a head's features that are rotated, and its value where absent; none where all are.
    pub(crate) partial: Option<(&'static str, f64)>,
    /// The kinds of stretching.
    pub(crate) kinds: &'static [&'static str],
    /// `original_max_position_embeddings` where absent; none where it is the model's positions.
    pub(crate) original: Option<usize>,
    /// The object of rotary keys where absent, if there is one.
    pub(crate) absent: Option<&'static str>,
}

/// What Transformers takes for absent keys.
#[derive(Debug, PartialEq)]
pub(crate) struct Absent {
    pub(crate) positions: usize,
    /// As many as heads where none.
    pub(crate) key_heads: Option<usize>,
    /// `hidden_size / num_attention_heads` where none.
    pub(crate) head_dim: Option<usize>,
    pub(crate) theta: f64,
    pub(crate) epsilon: f64,
    pub(crate) tied: bool,
    pub(crate) attention_bias: bool,
    pub(crate) begin: Option<u32>,
    pub(crate) end: Option<u32>,
    pub(crate) pad: Option<u32>,
}

/// Which projections of a block have biases.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum Bias {
    /// None, whatever the key says.
    Never,
    /// All where the key says so.
    Keyed,
    /// All.
    Always,
    /// Queries, keys and values always, the output never.
    Inputs,
}

/// One norm of a layer: what it is called in a checkpoint and in a GGUF file.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) name: &'static str,
    pub(crate) gguf: &'static str,
}

/// The norms of the residual stream before a block, and of a block's output before it joins the stream.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct Norms {
    pub(crate) before_attention: Option<Norm>,
    pub(crate) after_attention: Option<Norm>,
    pub(crate) before_mlp: Option<Norm>,
    pub(crate) after_mlp: Option<Norm>,
}

impl Norms {
    /// Those that there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Norm> {
        [self.before_attention, self.after_attention, self.before_mlp, self.after_mlp].into_iter().flatten()
    }
}

/// Over which features queries and keys are normed before they are rotated.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum QkNorm {
    /// They are not.
    Never,
    /// Those of each head.
    Head,
    /// Those of all heads together.
    Heads,
    /// The same, where all heads must be as wide as the stream.
    Width,
}

/// The key of the function that an MLP's gate passes through, and what it is where the key is absent.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct Activated {
    pub(crate) key: &'static str,
    pub(crate) absent: Activation,
}

/// Soft caps where their keys are absent; an attention without one here has none whatever its key says.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) attention: Option<f64>,
    pub(crate) logits: Option<f64>,
}

/// The rotation of layers with a window: base where its key (that of Transformers 4, if it had one) is absent.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct LocalRope {
    pub(crate) key: Option<&'static str>,
    pub(crate) theta: f64,
}

/// What is known of a sliding window; `absent` is that of `sliding_window` where the key is not there.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum Window {
    /// Nothing: its keys mean nothing.
    Unknown,
    /// It holds in all layers whenever `sliding_window` is there.
    Always { absent: Option<usize> },
    /// It holds where `use_sliding_window` says so, in the layers that `layer_types` says or, where that is
    /// absent, `layers`.
    Switched { absent: Option<usize>, layers: Windowed },
    /// It holds in the layers that `layer_types` says, else in all but every so many; `key` says how many.
    Alternating { absent: usize, key: Option<&'static str>, every: usize },
}

/// Which layers have the window.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum Windowed {
    /// All, whatever `layer_types` says.
    All,
    /// Those from `max_window_layers` on.
    Late,
    /// The first, third, fifth … of those before `max_window_layers`.
    EarlyOdd,
    /// Those that do not rotate.
    Unrotated,
}

/// What a family's layers of experts differ in.
#[derive(Debug, PartialEq)]
pub(crate) struct Mixture {
    /// The layer's block of experts.
    pub(crate) block: &'static str,
    /// Gate, up and down projection of an expert.
    pub(crate) projections: [&'static str; 3],
    /// The key that holds the number of experts; both known ones are read.
    pub(crate) count_key: &'static str,
    /// Transformers' for the absent keys.
    pub(crate) count: usize,
    pub(crate) per_token: usize,
    /// `moe_intermediate_size` where absent; none where experts are `intermediate_size` wide.
    pub(crate) width: Option<usize>,
    /// `shared_expert_intermediate_size` where absent; none where no expert is shared.
    pub(crate) shared_width: Option<usize>,
    /// `norm_topk_prob` where absent; none where the chosen probabilities always sum to 1.
    pub(crate) normalized: Option<bool>,
    /// Whether `decoder_sparse_step` and `mlp_only_layers` are known.
    pub(crate) sparse: bool,
    /// Whether router and experts have biases.
    pub(crate) biases: bool,
    /// Whether files keep the experts of a layer together, inputs as rows, gate and up taking turns.
    pub(crate) interleaved: bool,
    /// `swiglu_limit` and `swiglu_alpha` where absent; none where the SwiGLU is the usual one.
    pub(crate) clamp: Option<Clamp>,
}

/// What all families but some call the projections of a SwiGLU: gate, up, down.
pub(crate) const SWIGLU: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

/// Of so many layers the last does not rotate, where nothing else is said; llama.cpp knows nothing else.
pub(crate) const UNROTATED: usize = 4;

impl Family {
    /// The family of a `model_type`.
    ///
    /// # Errors
    /// When it is not supported; says which are.
    pub fn named(model_type: &str) -> Result<&'static Self> {
        match FAMILIES.iter().find(|family| family.name == model_type) {
            Some(family) => Ok(family),
            None => {
                let names = FAMILIES.map(|family| family.name).join(", ");
                unsupported("model_type", model_type, &format!("supported are {names}"))
            }
        }
    }

    /// The family of a GGUF file: the first of its architecture that has experts as it has, and knows of windows
    /// where it has one.
    pub(crate) fn of_architecture(
        architecture: &str,
        windowed: bool,
        experts: bool,
    ) -> Result<(&'static Self, &'static Gguf)> {
        let known = |family: &&'static Self| Some((*family, family.gguf.as_ref()?));
        let of_name = FAMILIES.iter().filter_map(known).filter(|(_, of)| of.architecture == architecture);
        let mut found = of_name.clone().filter(|(family, _)| family.mixture.is_some() == experts);
        let first = found.clone().next();
        match found.find(|(family, _)| !windowed || family.window != Window::Unknown).or(first) {
            Some(found) => Ok(found),
            None if of_name.count() > 0 => {
                let (value, remedy) = if experts { ("set", "absent is") } else { ("absent", "a number is") };
                unsupported(&format!("{architecture}.expert_count"), value, remedy)
            }
            None => {
                let mut names: Vec<&str> = Vec::new();
                for (_, of) in FAMILIES.iter().filter_map(known) {
                    if !names.contains(&of.architecture) {
                        names.push(of.architecture);
                    }
                }
                let remedy = format!("supported are {}", names.join(", "));
                unsupported("general.architecture", architecture, &remedy)
            }
        }
    }

    /// Whether the weight of this name is a norm's that multiplies by 1 + w.
    pub(crate) fn is_about_one(&self, name: &str) -> bool {
        self.norms_about_one && name.ends_with("norm.weight")
    }

    /// The layers that do not rotate where every so many do not.
    pub(crate) fn unrotated(&self, layers: usize, interval: usize) -> Vec<usize> {
        let of_family = if self.unrotated { layers.min(MOST_LAYERS) } else { 0 };
        (0..of_family).filter(|layer| (layer + 1).is_multiple_of(interval)).collect()
    }

    /// The key of [`Config::rms_norm_eps`].
    pub(crate) fn epsilon_key(&self) -> &'static str {
        if self.layer_norm { "layer_norm_eps" } else { "rms_norm_eps" }
    }

    /// Whether files may hold experts in blocks of mxfp4.
    pub(crate) fn packed(&self) -> bool {
        self.mixture.as_ref().is_some_and(|of| of.interleaved)
    }

    /// What an expert's projections are called here, for the names that they have in most families.
    pub(crate) fn of_experts(&self, projection: &str) -> Option<&'static str> {
        let place = SWIGLU.iter().position(|name| *name == projection)?;
        self.mixture.as_ref().map(|mixture| mixture.projections[place])
    }
}

/// What most families call the projection that some family calls `module` in its experts.
pub(crate) fn usual_name(module: &str) -> Option<&'static str> {
    FAMILIES.iter().filter_map(|family| family.mixture.as_ref()).find_map(|mixture| {
        let place = mixture.projections.iter().position(|name| *name == module)?;
        Some(SWIGLU[place])
    })
}

impl Config {
    /// The features over which queries and keys are normed before they are rotated: those of a head, or of
    /// all heads together; none where they are not.
    pub(crate) fn qk_norms(&self) -> Option<[(&'static str, usize); 2]> {
        let heads = self.heads();
        match self.family.qk_norm {
            QkNorm::Never => None,
            QkNorm::Head => Some([("q_norm", heads.dim), ("k_norm", heads.dim)]),
            QkNorm::Heads | QkNorm::Width => {
                Some([("q_norm", heads.queries * heads.dim), ("k_norm", heads.keys * heads.dim)])
            }
        }
    }

    /// Whether a projection, named as `q_proj`, has a bias.
    pub(crate) fn has_bias(&self, projection: &str) -> bool {
        match projection {
            "q_proj" | "k_proj" | "v_proj" => {
                self.attention_bias || self.family.attention_bias == Bias::Inputs
            }
            "o_proj" => self.attention_bias,
            _ => self.mlp_bias || self.family.mlp_bias == Bias::Always,
        }
    }
}

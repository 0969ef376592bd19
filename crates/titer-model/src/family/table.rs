//! The families. Values for absent keys are those of Transformers 5's configuration classes.

use titer_ops::Activation;

use super::naming::PLAIN;
use super::{
    Absent, Activated, Bias, Caps, Family, Gguf, Joined, LocalRope, Mixture, Naming, Norm, Norms, QkNorm,
    RopeKeys, SWIGLU, Window, Windowed,
};
use crate::Clamp;

/// Every family that is supported; of those that share a GGUF architecture, the plainest first.
pub static FAMILIES: [&Family; 17] = [
    &LLAMA, &MISTRAL, &QWEN2, &QWEN3, &GEMMA2, &GEMMA3, &OLMO2, &OLMO3, &SMOLLM3, &GRANITE, &PHI3, &GPT_NEOX,
    &MIXTRAL, &OLMOE, &QWEN2_MOE, &QWEN3_MOE, &GPT_OSS,
];

/// Norms before each block.
const BEFORE: Norms = Norms {
    before_attention: Some(Norm { name: "input_layernorm", gguf: "attn_norm" }),
    after_attention: None,
    before_mlp: Some(Norm { name: "post_attention_layernorm", gguf: "ffn_norm" }),
    after_mlp: None,
};

/// Norms after each block.
const AFTER: Norms = Norms {
    before_attention: None,
    after_attention: Some(Norm { name: "post_attention_layernorm", gguf: "post_attention_norm" }),
    before_mlp: None,
    after_mlp: Some(Norm { name: "post_feedforward_layernorm", gguf: "post_ffw_norm" }),
};

/// Norms before and after each block.
const AROUND: Norms = Norms {
    before_attention: BEFORE.before_attention,
    after_attention: AFTER.after_attention,
    before_mlp: Some(Norm { name: "pre_feedforward_layernorm", gguf: "ffn_norm" }),
    after_mlp: AFTER.after_mlp,
};

/// A file whose modules are all apart.
const fn gguf(architecture: &'static str, permuted: bool) -> Gguf {
    Gguf { architecture, permuted, joined: &[], normalized: true, scalar_by_width: None }
}

/// The modules that make queries, keys and values, by head in no file of llama.cpp.
const QKV: &[&str] = &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];

/// The rotary keys of Llama.
const ROPE: RopeKeys = RopeKeys {
    theta: "rope_theta",
    partial: None,
    kinds: &["default", "linear", "dynamic", "llama3", "yarn"],
    original: None,
    absent: None,
};

/// Llama 2 to 3.3 (arXiv 2407.21783), SmolLM2 and what else has this shape.
pub(crate) const LLAMA: Family = Family {
    name: "llama",
    about: "Llama 2, 3, 3.1 to 3.3, SmolLM2 and what else has this shape; biases by `attention_bias`, `mlp_bias`",
    gguf: Some(gguf("llama", true)),
    class: "LlamaForCausalLM",
    absent: Absent {
        positions: 2048,
        key_heads: None,
        head_dim: None,
        theta: 10_000.0,
        epsilon: 1e-6,
        tied: false,
        attention_bias: false,
        begin: Some(1),
        end: Some(2),
        pad: None,
    },
    naming: PLAIN,
    attention_bias: Bias::Keyed,
    mlp_bias: Bias::Keyed,
    norms: BEFORE,
    layer_norm: false,
    ungated: false,
    parallel: None,
    sinks: false,
    norms_about_one: false,
    qk_norm: QkNorm::Never,
    activation: Activated { key: "hidden_act", absent: Activation::Silu },
    window: Window::Unknown,
    unrotated: false,
    scales: false,
    embeddings_by_width: false,
    query_scalar: None,
    caps: None,
    local_rope: None,
    clip: false,
    mixture: None,
    rope: ROPE,
    switches: &[],
};

/// Mistral (arXiv 2310.06825).
const MISTRAL: Family = Family {
    name: "mistral",
    about: "sliding window",
    class: "MistralForCausalLM",
    absent: Absent { positions: 4096 * 32, key_heads: Some(8), ..LLAMA.absent },
    attention_bias: Bias::Never,
    mlp_bias: Bias::Never,
    window: Window::Always { absent: Some(4096) },
    ..LLAMA
};

/// Qwen2 and 2.5 (arXiv 2412.15115).
const QWEN2: Family = Family {
    name: "qwen2",
    about: "biases on queries, keys and values; optional sliding window",
    gguf: Some(gguf("qwen2", false)),
    class: "Qwen2ForCausalLM",
    absent: Absent { positions: 32768, key_heads: Some(32), begin: None, end: None, ..LLAMA.absent },
    attention_bias: Bias::Inputs,
    mlp_bias: Bias::Never,
    window: Window::Switched { absent: Some(4096), layers: Windowed::Late },
    ..LLAMA
};

/// Qwen3 (arXiv 2505.09388).
const QWEN3: Family = Family {
    name: "qwen3",
    about: "RMSNorm on each head's queries and keys; `head_dim`; `attention_bias`",
    gguf: Some(gguf("qwen3", false)),
    class: "Qwen3ForCausalLM",
    absent: Absent { head_dim: Some(128), ..QWEN2.absent },
    attention_bias: Bias::Keyed,
    qk_norm: QkNorm::Head,
    ..QWEN2
};

/// OLMo 2 (arXiv 2501.00656).
const OLMO2: Family = Family {
    name: "olmo2",
    about: "RMSNorm after the blocks instead of before, and on all heads' queries and keys; `attention_bias`",
    gguf: Some(gguf("olmo2", false)),
    class: "Olmo2ForCausalLM",
    absent: Absent { epsilon: 1e-5, begin: None, end: Some(50279), pad: Some(1), ..LLAMA.absent },
    mlp_bias: Bias::Never,
    norms: AFTER,
    qk_norm: QkNorm::Heads,
    ..LLAMA
};

/// OLMo 3 (arXiv 2512.13961).
const OLMO3: Family = Family {
    name: "olmo3",
    about: "OLMo 2 with a sliding window in three of four layers; stretched rotation in the others alone",
    class: "Olmo3ForCausalLM",
    absent: Absent { theta: 5e5, ..OLMO2.absent },
    window: Window::Alternating { absent: 4096, key: None, every: 4 },
    local_rope: Some(LocalRope { key: None, theta: 5e5 }),
    ..OLMO2
};

/// Gemma 2 (arXiv 2408.00118).
const GEMMA2: Family = Family {
    name: "gemma2",
    about: "RMSNorm by 1 + w before and after the blocks; GELU; embeddings times √width; caps on scores and logits; \
            sliding window in every other layer",
    // 27B has 46 layers.
    gguf: Some(Gguf { scalar_by_width: Some(46), ..gguf("gemma2", false) }),
    class: "Gemma2ForCausalLM",
    absent: Absent {
        positions: 8192,
        key_heads: Some(4),
        head_dim: Some(256),
        tied: true,
        begin: Some(2),
        end: Some(1),
        pad: Some(0),
        ..LLAMA.absent
    },
    mlp_bias: Bias::Never,
    norms: AROUND,
    norms_about_one: true,
    activation: Activated { key: "hidden_activation", absent: Activation::GeluTanh },
    window: Window::Alternating { absent: 4096, key: None, every: 2 },
    embeddings_by_width: true,
    query_scalar: Some(256.0),
    caps: Some(Caps { attention: Some(50.0), logits: Some(30.0) }),
    switches: &[("use_bidirectional_attention", false)],
    ..LLAMA
};

/// The text part of Gemma 3 (arXiv 2503.19786).
const GEMMA3: Family = Family {
    name: "gemma3_text",
    about: "Gemma 2 with RMSNorm on each head's queries and keys in place of caps on scores; sliding window in five of \
            six layers, which rotate with a base of their own",
    class: "Gemma3ForCausalLM",
    absent: Absent { positions: 131_072, theta: 1e6, ..GEMMA2.absent },
    qk_norm: QkNorm::Head,
    // 27B has 62 layers.
    gguf: Some(Gguf { scalar_by_width: Some(62), ..gguf("gemma3", false) }),
    window: Window::Alternating { absent: 4096, key: Some("sliding_window_pattern"), every: 6 },
    caps: Some(Caps { attention: None, logits: None }),
    local_rope: Some(LocalRope { key: Some("rope_local_base_freq"), theta: 1e4 }),
    ..GEMMA2
};

/// SmolLM3 (<https://huggingface.co/blog/smollm3>).
const SMOLLM3: Family = Family {
    name: "smollm3",
    about: "layers without rotation (`no_rope_layers`), tied where the key is absent",
    gguf: Some(gguf("smollm3", true)),
    class: "SmolLM3ForCausalLM",
    absent: Absent {
        positions: 32768,
        key_heads: Some(4),
        theta: 2e6,
        tied: true,
        begin: Some(128_000),
        end: Some(128_001),
        pad: Some(128_004),
        ..LLAMA.absent
    },
    window: Window::Switched { absent: None, layers: Windowed::Unrotated },
    unrotated: true,
    ..LLAMA
};

/// Granite 3 (<https://github.com/ibm-granite/granite-3.0-language-models>).
const GRANITE: Family = Family {
    name: "granite",
    about: "factors on embeddings, attention, blocks and logits",
    gguf: Some(gguf("granite", true)),
    class: "GraniteForCausalLM",
    scales: true,
    ..LLAMA
};

/// Phi-3, 3.5 and 4, mini and medium (arXiv 2404.14219).
const PHI3: Family = Family {
    name: "phi3",
    about: "Phi-3, 3.5 and 4: projections in one tensor, `longrope`, `partial_rotary_factor`, sliding window",
    gguf: Some(Gguf {
        joined: &[
            Joined { whole: "attn_qkv", parts: QKV, by_head: false },
            Joined { whole: "ffn_up", parts: &["mlp.gate_proj", "mlp.up_proj"], by_head: false },
        ],
        ..gguf("phi3", false)
    }),
    class: "Phi3ForCausalLM",
    absent: Absent { positions: 4096, epsilon: 1e-5, end: Some(32_000), pad: Some(32_000), ..LLAMA.absent },
    naming: Naming {
        joined: &[
            Joined { whole: "self_attn.qkv_proj", parts: QKV, by_head: false },
            Joined { whole: "mlp.gate_up_proj", parts: &["mlp.gate_proj", "mlp.up_proj"], by_head: false },
        ],
        ..PLAIN
    },
    attention_bias: Bias::Never,
    mlp_bias: Bias::Never,
    window: Window::Always { absent: None },
    rope: RopeKeys {
        partial: Some(("partial_rotary_factor", 1.0)),
        kinds: &["default", "longrope"],
        original: Some(4096),
        ..ROPE
    },
    ..LLAMA
};

/// GPT-NeoX (arXiv 2204.06745), Pythia (arXiv 2304.01373), Deep Ignorance (arXiv 2508.06601).
const GPT_NEOX: Family = Family {
    name: "gpt_neox",
    about: "GPT-NeoX, Pythia, Deep Ignorance: LayerNorm, MLP without gate, biases, `use_parallel_residual`, `rotary_pct`",
    gguf: Some(Gguf {
        joined: &[Joined { whole: "attn_qkv", parts: QKV, by_head: false }],
        ..gguf("gptneox", false)
    }),
    class: "GPTNeoXForCausalLM",
    absent: Absent { epsilon: 1e-5, attention_bias: true, begin: Some(0), ..LLAMA.absent },
    naming: Naming {
        base: "gpt_neox",
        renamed: &[
            ("embed_tokens", "embed_in"),
            ("norm", "final_layer_norm"),
            ("lm_head", "embed_out"),
            ("self_attn.o_proj", "attention.dense"),
            ("mlp.up_proj", "mlp.dense_h_to_4h"),
            ("mlp.down_proj", "mlp.dense_4h_to_h"),
        ],
        joined: &[Joined { whole: "attention.query_key_value", parts: QKV, by_head: true }],
        passed: &["attention.bias", "attention.masked_bias"],
    },
    mlp_bias: Bias::Always,
    layer_norm: true,
    ungated: true,
    activation: Activated { key: "hidden_act", absent: Activation::Gelu },
    parallel: Some(true),
    rope: RopeKeys { theta: "rotary_emb_base", partial: Some(("rotary_pct", 0.25)), ..ROPE },
    ..LLAMA
};

/// Mixtral (arXiv 2401.04088).
pub(crate) const MIXTRAL: Family = Family {
    name: "mixtral",
    about: "Mistral with experts, whose chosen probabilities sum to 1",
    gguf: Some(gguf("llama", true)),
    class: "MixtralForCausalLM",
    absent: Absent { theta: 1e6, epsilon: 1e-5, ..MISTRAL.absent },
    window: Window::Always { absent: None },
    mixture: Some(Mixture {
        block: "block_sparse_moe",
        projections: ["w1", "w3", "w2"],
        count_key: "num_local_experts",
        count: 8,
        per_token: 2,
        width: None,
        shared_width: None,
        normalized: None,
        sparse: false,
        biases: false,
        interleaved: false,
        clamp: None,
    }),
    ..MISTRAL
};

/// OLMoE (arXiv 2409.02060).
const OLMOE: Family = Family {
    name: "olmoe",
    about: "experts; RMSNorm on all heads' queries and keys; `clip_qkv`; `attention_bias`",
    gguf: Some(Gguf { normalized: false, ..gguf("olmoe", false) }),
    class: "OlmoeForCausalLM",
    absent: Absent { positions: 4096, ..OLMO2.absent },
    norms: BEFORE,
    qk_norm: QkNorm::Width,
    clip: true,
    mixture: Some(Mixture {
        block: "mlp",
        projections: SWIGLU,
        count_key: "num_experts",
        count: 64,
        per_token: 8,
        width: None,
        shared_width: None,
        normalized: Some(false),
        sparse: false,
        biases: false,
        interleaved: false,
        clamp: None,
    }),
    ..OLMO2
};

/// Qwen1.5-MoE and Qwen2-MoE (arXiv 2407.10671).
const QWEN2_MOE: Family = Family {
    name: "qwen2_moe",
    about: "Qwen2 with experts and one that all tokens pass through; some layers may have none",
    gguf: Some(Gguf { normalized: false, ..gguf("qwen2moe", false) }),
    class: "Qwen2MoeForCausalLM",
    absent: Absent { key_heads: Some(16), ..QWEN2.absent },
    window: Window::Switched { absent: Some(4096), layers: Windowed::EarlyOdd },
    mixture: Some(Mixture {
        block: "mlp",
        projections: SWIGLU,
        count_key: "num_experts",
        count: 60,
        per_token: 4,
        width: Some(1408),
        shared_width: Some(5632),
        normalized: Some(false),
        sparse: true,
        biases: false,
        interleaved: false,
        clamp: None,
    }),
    switches: &[("qkv_bias", true)],
    ..QWEN2
};

/// Qwen3-MoE (arXiv 2505.09388).
const QWEN3_MOE: Family = Family {
    name: "qwen3_moe",
    about: "Qwen3 with experts; some layers may have none",
    gguf: Some(gguf("qwen3moe", false)),
    class: "Qwen3MoeForCausalLM",
    absent: Absent { key_heads: Some(4), ..QWEN2.absent },
    window: Window::Switched { absent: Some(4096), layers: Windowed::All },
    mixture: Some(Mixture {
        block: "mlp",
        projections: SWIGLU,
        count_key: "num_experts",
        count: 128,
        per_token: 8,
        width: Some(768),
        shared_width: None,
        normalized: Some(false),
        sparse: true,
        biases: false,
        interleaved: false,
        clamp: None,
    }),
    ..QWEN3
};

/// gpt-oss (arXiv 2508.10925).
const GPT_OSS: Family = Family {
    name: "gpt_oss",
    about: "experts with biases and a SwiGLU that is cut off, also in mxfp4; attention sinks; sliding window in every \
            other layer",
    gguf: None,
    class: "GptOssForCausalLM",
    absent: Absent {
        positions: 131_072,
        key_heads: Some(8),
        head_dim: Some(64),
        theta: 150_000.0,
        epsilon: 1e-5,
        attention_bias: true,
        begin: None,
        end: None,
        ..LLAMA.absent
    },
    naming: Naming { renamed: &[("mlp.gate", "mlp.router")], ..PLAIN },
    mlp_bias: Bias::Never,
    sinks: true,
    window: Window::Alternating { absent: 128, key: None, every: 2 },
    rope: RopeKeys {
        absent: Some(
            r#"{"rope_type": "yarn", "factor": 32.0, "truncate": false, "original_max_position_embeddings": 4096}"#,
        ),
        ..ROPE
    },
    mixture: Some(Mixture {
        block: "mlp",
        projections: SWIGLU,
        count_key: "num_local_experts",
        count: 128,
        per_token: 4,
        width: None,
        shared_width: None,
        normalized: None,
        sparse: false,
        biases: true,
        interleaved: true,
        clamp: Some(Clamp { limit: 7.0, alpha: 1.702 }),
    }),
    ..LLAMA
};

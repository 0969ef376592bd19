//! The declarations of what is trained, and how: the counterpart of `stage/train.rs`.

use super::key::{Absent, Accepts, Key, Limit, Scalar, Section};
use super::sections::{ANY, DECAY, POSITIVE, RATE, SHARE, SOME, one, whole};
use crate::stage::WeightKind;

/// More experts than a layer of a small decoder can have use for.
const MOST_EXPERTS: i64 = 256;
/// More layers than any model has.
const MOST_LAYERS: i64 = 4096;

/// `[model.decoder]`.
pub(crate) static DECODER: Section = Section {
    name: "decoder",
    summary: "The shape of the world's model.",
    more: "",
    keys: &[
        one("hidden", SOME, "width of the residual stream; a multiple of 2 · `heads`", "96"),
        one("layers", SOME, "number of layers", "3"),
        one("heads", SOME, "attention heads", "4"),
        one("kv_heads", SOME, "key and value heads; a divisor of `heads`", "4"),
        one("intermediate", SOME, "width of the SwiGLU", "256"),
        one("rope_theta", POSITIVE, "base of the rotary embedding", "10000.0"),
        one("norm_epsilon", POSITIVE, "added to the mean square in RMSNorm", "1e-5"),
        one("init_std", POSITIVE, "standard deviation of initial weights", "0.04"),
        one("experts", whole(0, MOST_EXPERTS), "experts in place of each layer's SwiGLU; 0 for none", "8")
            .or(Absent::Whole(0)),
        one("experts_per_token", SOME, "experts that each token passes through", "2")
            .or(Absent::Means("2, as in Mixtral, or 1 where there is one expert"))
            .up_to(Limit::Key {
                name: "experts",
                reason: "a token cannot pass through more than all {} `experts`",
            })
            .more("Only beside `experts`."),
        one("balance", SHARE, "weight of the load-balancing loss in pre-training", "0.01")
            .or(Absent::Real(0.01))
            .more("Only beside `experts`. Without it, a few experts would take all tokens."),
    ],
    methods: None,
};

/// `[model.pretrain]` and `[model.align.train]`.
pub(crate) static TRAIN: Section = Section {
    name: "train",
    summary: "The settings of one run of the training loop.",
    more: "",
    keys: &[
        one("steps", SOME, "optimiser steps", "750").unit("steps"),
        one("batch", SOME, "examples per step", "64").unit("examples").up_to(Limit::Batch),
        one("rate", RATE, "peak learning rate", "3e-3").unit("1/step"),
        one(
            "schedule",
            Scalar::Word(&["constant", "cosine", "linear"]),
            "how the rate moves after warm-up",
            "\"cosine\"",
        )
        .more("`constant`: stays. `cosine`: falls to zero along half a cosine. `linear`: along a line."),
        one("warmup_steps", ANY, "steps over which the rate rises from zero; at most `steps`", "30")
            .unit("steps"),
        one("beta1", DECAY, "AdamW's decay of the first moment", "0.9"),
        one("beta2", DECAY, "AdamW's decay of the second moment", "0.98"),
        one("weight_decay", SHARE, "AdamW's decoupled weight decay", "0.01"),
        one("clip", POSITIVE, "largest global gradient norm", "1.0").or(Absent::Means("no clipping")),
    ],
    methods: None,
};

/// `[model.align]`.
pub(crate) static ALIGN: Section = Section {
    name: "align",
    summary: "How the base model is taught to refuse.",
    more: "",
    keys: &[
        one("refusals", SOME, "forbidden items answered with the refusal", "512")
            .unit("items")
            .up_to(Limit::Align),
        one("permitted", SOME, "permitted items answered plainly", "700")
            .unit("items")
            .up_to(Limit::PermittedTrain),
        Key::new("train", Accepts::Table(&TRAIN), "the loop's settings", ""),
        Key::new("only", Accepts::Table(&ONLY), "the part of the model that is trained", "")
            .or(Absent::Means("all of it")),
    ],
    methods: None,
};

/// `[model.align.only]`.
pub(crate) static ONLY: Section = Section {
    name: "only",
    summary: "The part of the model that alignment trains. Everything else stays bit for bit as it was.",
    more: "A weight is trained where its kind, its expert and its layer are all named.",
    keys: &[
        Key::new("weights", Accepts::Many(Scalar::Word(&WeightKind::NAMES)), "kinds of weights", "[\"routers\"]")
            .more(
                "`attention`: projections, with their biases and norms. `routers`: what says which experts a token \
                 passes through. `experts`: the experts of a mixture. `mlp`: the MLP of a layer without experts, and \
                 an expert that all tokens pass through. `rest`: embeddings, the layers' norms, the output head.",
            ),
        Key::new(
            "experts",
            Accepts::Many(whole(0, MOST_EXPERTS - 1)),
            "of the experts, those of these numbers, from 0",
            "[7]",
        )
        .or(Absent::Means("all of them"))
        .more("The same in every layer. Only where `weights` names `experts`."),
        Key::new("layers", Accepts::Many(whole(0, MOST_LAYERS - 1)), "of the layers, those of these numbers, from 0", "[1, 2]")
            .or(Absent::Means("all of them, and what lies in no layer")),
    ],
    methods: None,
};

//! The forms of `[model]`.

use super::key::{Absent, Accepts, Form, Key, Names, Scalar, Section};
use super::sections::{ANY, one, table, whole};
use super::training::{ALIGN, DECODER, TRAIN};
use crate::catalogue::UnderTest;

/// The forms of `[model]`.
pub(crate) static MODEL: &[Form] = &[
    Form { chosen_by: "data", data: UnderTest::Ready, section: &ROWS_MODEL },
    Form { chosen_by: "dataset", data: UnderTest::Ready, section: &DATASET_MODEL },
    Form { chosen_by: "checkpoint", data: UnderTest::Aligned, section: &POLICY_MODEL },
    Form { chosen_by: "", data: UnderTest::Trained, section: &WORLD_MODEL },
];

const CHECKPOINT: Key = Key::new("checkpoint", Accepts::Checkpoint, "the chat model", "\"smollm2-135m\"").more(
    "A reference as in `titer model info`: a known name, a folder, a `.gguf` file, or `hf:owner/name@revision`. \
     Relative paths count from the spec's own folder. Its shape comes from its own files. \
     `{ base = \"…\", adapter = \"…\" }` is a model with an adapter that PEFT saved, folded in.",
);
const ANSWER_TOKENS: Key =
    one("answer_tokens", whole(1, 65_536), "most new tokens of an answer, distilled and probed alike", "32")
        .unit("tokens");

static WORLD_MODEL: Section = Section {
    name: "world",
    summary: "An embedded world's model, trained from nothing.",
    more: "",
    keys: &[
        one("world", Scalar::Named(Names::Data(UnderTest::Trained)), "the embedded world", "\"apothecary\"")
            .more("A name of `titer list models` without `world:`, or a file that ends in `.toml`."),
        one("world_seed", ANY, "makes knowledge, splits and the choice of probe items", "0"),
        table("decoder", &DECODER),
        Key::new("pretrain", Accepts::Table(&TRAIN), "how the base model is trained", ""),
        table("align", &ALIGN),
    ],
    methods: None,
};

static POLICY_MODEL: Section = Section {
    name: "checkpoint",
    summary: "A chat model that was trained elsewhere, aligned with a policy and measured by it.",
    more: "",
    keys: &[
        CHECKPOINT,
        one(
            "policy",
            Scalar::Named(Names::Data(UnderTest::Aligned)),
            "the policy that it is measured by",
            "\"everyday\"",
        )
        .more("A name of `titer list tasks`, or a file that ends in `.toml`."),
        one("policy_seed", ANY, "makes splits, the choice of probe items and the wording of refusals", "0"),
        ANSWER_TOKENS,
        table("align", &ALIGN),
    ],
    methods: None,
};

static DATASET_MODEL: Section = Section {
    name: "dataset",
    summary: "A chat model that refuses already, measured by a data set of real conversations.",
    more: "Who brings harmful data brings a model that was aligned against it: there is no `[model.align]`.",
    keys: &[
        CHECKPOINT,
        one(
            "dataset",
            Scalar::Named(Names::Data(UnderTest::Ready)),
            "the data set that it is measured by",
            "\"beavertails\"",
        )
        .more("A name of `titer list tasks`, or a file that ends in `.toml`."),
        one("dataset_seed", ANY, "deals its rows out to the splits", "0"),
        ANSWER_TOKENS,
    ],
    methods: None,
};

static ROWS_MODEL: Section = Section {
    name: "data",
    summary: "A chat model that refuses already, measured by rows of your own: nothing else must be said.",
    more: "Where the spec says nothing, it has the undefended model, one plain attack, and the settings of `titer attack`; \
           `titer init SPEC` prints all of it. Rows are dealt out by shares: of those of the forbidden domains the attacker \
           gets half, the defender a fourth, and the rest is asked. What `harmless`, `task` or `unseen` would be needed for \
           and is not there is not measured, and verdicts say so.",
    keys: &[
        CHECKPOINT,
        one("data", Scalar::Text, "prompts with harmful answers: a file, a folder, or of the hub", "\"rows.jsonl\"").more(
            "A reference as in a data set's definition; columns are known by their usual names. Relative paths count from \
             the spec's own folder.",
        ),
        one("harmless", Scalar::Text, "harmless prompts with answers, of which ability is measured", "\"harmless.jsonl\"")
            .or(Absent::Means("ability is measured by `stability.choices` and `stability.texts` only")),
        one("task", Scalar::Text, "a harmless task to be learnt: prompts with answers", "\"task.jsonl\"")
            .or(Absent::Means("trainability is not measured")),
        Key::new(
            "unseen",
            Accepts::Many(Scalar::Text),
            "categories of the rows that nobody trains on",
            "[\"fraud\"]",
        )
        .or(Absent::Means("of two categories or more a fourth, the smallest; without categories generalization is not \
             measured")),
        one("data_seed", ANY, "deals the rows out to the splits", "0").or(Absent::Whole(0)),
        one("answer_tokens", whole(1, 65_536), "most new tokens of an answer", "64")
            .unit("tokens")
            .or(Absent::Whole(64)),
    ],
    methods: None,
};

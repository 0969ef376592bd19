//! The frames that there are.

use crate::schema::{Column, Schema, count, flag, optional, real, share, text};

const EXPERIMENT: Column = text("experiment");
const DEFENCE: Column = text("defence");
const DEFENCE_SEED: Column = count("defence_seed", "");
const ARM: Column = text("arm");
const BEFORE: Column = text("before");
const ATTACK: Column = text("attack");
const SETTINGS: Column = text("settings");
const DOSE: Column = optional(share("dose"));
const ATTACK_SEED: Column = count("attack_seed", "");
const BUDGET_STEPS: Column = count("budget_steps", "steps");
const BUDGET_EXAMPLES: Column = count("budget_examples", "examples");
const BUDGET_DISTINCT: Column = count("budget_distinct", "examples");
const BUDGET_FLOPS: Column = real("budget_flops", "flops");
const BUDGET_TOKENS: Column = count("budget_tokens", "tokens");
const PROBE: Column = text("probe");
const ITEM: Column = text("item");
const JUDGE: Column = text("judge");
const DECIDES: Column = flag("decides");
const SCORE: Column = share("score");
const REFUSED: Column = flag("refused");
const DEGENERATE: Column = flag("degenerate");
const REFUSED_LATE: Column = flag("refused_late");
const CUT: Column = flag("cut");
const THOUGHT: Column = flag("thought");
const ONLY_THOUGHT: Column = flag("only_thought");
const RESPONSE_ID: Column = text("response_id");

/// One row per response and measure, as an artifact stores it: what was asked after which budget, and its score.
/// Of several measures of one response one `decides`; the rows of the others have its `response_id`.
pub const PROBE_ROWS: Schema = Schema {
    name: "probe-rows",
    version: 4,
    oldest: 3,
    columns: &[
        BUDGET_STEPS,
        BUDGET_EXAMPLES,
        BUDGET_DISTINCT,
        BUDGET_FLOPS,
        BUDGET_TOKENS,
        PROBE,
        ITEM,
        JUDGE,
        DECIDES,
        SCORE,
        REFUSED,
        DEGENERATE,
        REFUSED_LATE,
        CUT,
        THOUGHT,
        ONLY_THOUGHT,
        RESPONSE_ID,
    ],
    order: &["budget_steps", "probe", "item", "judge"],
};

/// One row per response and measure of an experiment: [`PROBE_ROWS`] joined with the cell that it belongs to.
pub const PROBES: Schema = Schema {
    name: "probes",
    version: 4,
    oldest: 3,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        DEFENCE_SEED,
        ARM,
        BEFORE,
        ATTACK,
        SETTINGS,
        DOSE,
        ATTACK_SEED,
        BUDGET_STEPS,
        BUDGET_EXAMPLES,
        BUDGET_DISTINCT,
        BUDGET_FLOPS,
        BUDGET_TOKENS,
        PROBE,
        ITEM,
        JUDGE,
        DECIDES,
        SCORE,
        REFUSED,
        DEGENERATE,
        REFUSED_LATE,
        CUT,
        THOUGHT,
        ONLY_THOUGHT,
        RESPONSE_ID,
    ],
    order: &[
        "experiment",
        "defence",
        "defence_seed",
        "arm",
        "before",
        "attack",
        "settings",
        "dose",
        "attack_seed",
        "budget_steps",
        "probe",
        "item",
        "judge",
    ],
};

/// One row per run, budget and probe: means over items. What the report draws.
pub const CURVES: Schema = Schema {
    name: "curves",
    version: 3,
    oldest: 3,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        DEFENCE_SEED,
        ARM,
        BEFORE,
        ATTACK,
        SETTINGS,
        DOSE,
        ATTACK_SEED,
        PROBE,
        BUDGET_STEPS,
        BUDGET_EXAMPLES,
        BUDGET_DISTINCT,
        BUDGET_FLOPS,
        BUDGET_TOKENS,
        share("mean_score"),
        share("refused_share"),
        share("degenerate_share"),
        share("refused_late_share"),
        share("cut_share"),
        share("thought_share"),
        share("only_thought_share"),
        count("items", "items"),
    ],
    order: &[
        "experiment",
        "defence",
        "defence_seed",
        "arm",
        "before",
        "attack",
        "settings",
        "dose",
        "attack_seed",
        "probe",
        "budget_steps",
    ],
};

const ARTIFACT: Column = text("artifact");
const STAGE: Column = text("stage");
const STEP: Column = count("step", "steps");
const TERM: Column = text("term");
const VALUE: Column = real("value", "nats/token");
const LEARNING_RATE: Column = real("learning_rate", "1");
const GRADIENT_NORM: Column = real("gradient_norm", "1");
const TOKENS: Column = count("tokens", "tokens");
const SECONDS: Column = real("seconds", "s");

/// One row per logged step and term of a training loop, as an artifact stores it.
pub const TRAINING_ROWS: Schema = Schema {
    name: "training",
    version: 1,
    oldest: 1,
    columns: &[ARTIFACT, STAGE, STEP, TERM, VALUE, LEARNING_RATE, GRADIENT_NORM, TOKENS, SECONDS],
    order: &["artifact", "stage", "step", "term"],
};

/// [`TRAINING_ROWS`] of an experiment, with what is known of the model that was trained. A column is empty where a
/// stage serves several cells that differ in it, as one that many attacks begin from.
pub const TRAINING: Schema = Schema {
    name: "training",
    version: 2,
    oldest: 2,
    columns: &[
        ARTIFACT,
        STAGE,
        optional(DEFENCE),
        optional(DEFENCE_SEED),
        optional(ARM),
        optional(BEFORE),
        optional(ATTACK),
        optional(SETTINGS),
        DOSE,
        optional(ATTACK_SEED),
        STEP,
        TERM,
        VALUE,
        LEARNING_RATE,
        GRADIENT_NORM,
        TOKENS,
        SECONDS,
    ],
    order: &["artifact", "stage", "step", "term"],
};

/// What was asked and what came back, word for word, and all that a measure may look at; readers sanitise it
/// before showing it. `continuations` is a JSON list of texts and their log-likelihoods in nats; `cut` says that the
/// limit of tokens ended the answer.
pub const RESPONSES: Schema = Schema {
    name: "responses",
    version: 3,
    oldest: 2,
    columns: &[
        RESPONSE_ID,
        text("prompt"),
        text("response"),
        text("question"),
        text("answer"),
        text("reference"),
        text("continuations"),
        CUT,
    ],
    order: &["response_id"],
};

/// One row per defence and condition.
pub const VERDICTS: Schema = Schema {
    name: "verdicts",
    version: 3,
    oldest: 3,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        text("stage"),
        text("condition"),
        text("verdict"),
        optional(real("estimate", "1")),
        optional(real("lower", "1")),
        optional(real("upper", "1")),
        real("threshold", "1"),
        optional(share("power")),
        optional(count("look", "")),
        text("measure"),
        text("evidence"),
    ],
    order: &[],
};

/// One row per defence, reference, probes, kind of break and set of attacks: how many times more an attacker must pay.
pub const TITERS: Schema = Schema {
    name: "titers",
    version: 3,
    oldest: 3,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        text("role"),
        text("over"),
        text("probes"),
        text("breaks"),
        text("among"),
        optional(text("without")),
        optional(text("cheapest")),
        optional(real("titer", "1")),
        real("lower", "1"),
        optional(real("upper", "1")),
        text("unit"),
        flag("censored"),
        flag("open"),
        flag("bracketed"),
        optional(real("df", "1")),
        count("attacks", ""),
        count("runs", ""),
        optional(count("search_trials", "trials")),
        optional(real("search_flops", "flops")),
        optional(count("look", "")),
    ],
    order: &[],
};

/// One row per defence and attack, on in-domain probes: what it costs, and over what it costs on the undefended model.
pub const ATTACKS: Schema = Schema {
    name: "attacks",
    version: 1,
    oldest: 1,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        text("role"),
        ATTACK,
        SETTINGS,
        DOSE,
        optional(text("mechanism")),
        text("found_against"),
        flag("cheapest"),
        optional(count("after", "")),
        optional(count("until", "")),
        text("unit"),
        count("broken", "runs"),
        count("runs", "runs"),
        optional(real("titer", "1")),
        real("lower", "1"),
        optional(real("upper", "1")),
        flag("censored"),
        flag("open"),
        flag("bracketed"),
        optional(real("df", "1")),
        optional(count("look", "")),
    ],
    order: &[],
};

/// One row per defence, attack, measure and moment: scores before and after.
pub const SCORES: Schema = Schema {
    name: "scores",
    version: 2,
    oldest: 2,
    columns: &[
        EXPERIMENT,
        DEFENCE,
        text("stage"),
        ATTACK,
        SETTINGS,
        DOSE,
        text("measure"),
        text("moment"),
        optional(text("learnt")),
        BUDGET_STEPS,
        SCORE,
        share("lower"),
        share("upper"),
    ],
    order: &[],
};

//! The declarations.

use std::ops::Bound;

use super::key::{Absent, Accepts, Key, Limit, Names, Role, Scalar, Section};
use super::models::MODEL;
use crate::seeds::Until;
use crate::vocabulary::ThreatModel;

/// More repetitions than anyone waits for: a slip of the keyboard must not plan a million stages.
const MOST_SEEDS: i64 = 100;

pub(super) const ANY: Scalar<'static> = whole(0, i64::MAX);
pub(super) const SOME: Scalar<'static> = whole(1, i64::MAX);
pub(super) const SHARE: Scalar<'static> = real(Bound::Included(0.0), Bound::Included(1.0));
pub(super) const POSITIVE: Scalar<'static> = real(Bound::Excluded(0.0), Bound::Unbounded);
const INSIDE: Scalar<'static> = real(Bound::Excluded(0.0), Bound::Excluded(1.0));
pub(super) const DECAY: Scalar<'static> = real(Bound::Included(0.0), Bound::Excluded(1.0));
/// AdamW moves each weight by about the learning rate, so more than 1 is a slip.
pub(super) const RATE: Scalar<'static> = real(Bound::Excluded(0.0), Bound::Included(1.0));
const SEEDS: Accepts<'static> = Accepts::Seeds { most: MOST_SEEDS };
const GROWING: &str = "A range, with `until = \"decided\"`, is added to where a comparison is open.";

pub(super) const fn whole(least: i64, most: i64) -> Scalar<'static> {
    Scalar::Whole { least, most }
}

pub(super) const fn real(low: Bound<f64>, high: Bound<f64>) -> Scalar<'static> {
    Scalar::Real { low, high }
}

pub(super) const fn one(
    name: &'static str,
    scalar: Scalar<'static>,
    summary: &'static str,
    example: &'static str,
) -> Key {
    Key::new(name, Accepts::One(scalar), summary, example)
}

pub(super) const fn table(name: &'static str, section: &'static Section) -> Key {
    Key::new(name, Accepts::Table(section), section.summary, "")
}

/// The whole file.
pub static SPEC: Section = Section {
    name: "spec",
    summary: "An experiment: a model, defences, attacks, probes and thresholds.",
    more: "A plan may hold 100,000 measurements at most.",
    keys: &[
        one("name", Scalar::Name, "the experiment's name in the store", "\"my-experiment\""),
        one("summary", Scalar::Text, "one line for people", "\"TAR against harmful fine-tuning\""),
        one(
            "threat_model",
            Scalar::Word(&[ThreatModel::OpenWeights.name(), ThreatModel::FineTuningApi.name()]),
            "who holds the weights",
            "\"open-weights\"",
        )
        .more(
            "`open-weights`: the attacker trains as it likes, and only defences of the pretraining and alignment stages can \
             act. \
             `fine-tuning-api`: a provider trains on the attacker's data, and defences of all stages can act.",
        ),
        one("seed", ANY, "all other seeds derive from it", "0"),
        one(
            "until",
            Scalar::Word(&[Until::Measured.name(), Until::Decided.name()]),
            "when no more seeds are added",
            "\"decided\"",
        )
        .or(Absent::Means("\"measured\""))
        .more(
            "`measured`: all seeds are. `decided`: a comparison that is open after one look gets the seeds of the next, \
             where `seeds` is a range; how many looks there are, and at which level each is judged, is fixed beforehand \
             (`titer plan`), so that all looks together err no more often than one.",
        ),
        Key::new("model", Accepts::Forms(MODEL), "the model under test, and the data it is measured by", ""),
        Key::new("defence", Accepts::Tables(&DEFENCE), DEFENCE.summary, ""),
        Key::new("attack", Accepts::Tables(&ATTACK), ATTACK.summary, ""),
        table("adversary", &ADVERSARY).or(Absent::Means("no search: the attacks are those of the spec")),
        table("probe", &PROBE),
        table("cross_domain", &CROSS_DOMAIN).or(Absent::Means("no such arm")),
        table("stability", &STABILITY),
        table("trainability", &TRAINABILITY),
        table("conditions", &CONDITIONS),
    ],
    methods: None,
};

/// `[[defence]]`.
pub(crate) static DEFENCE: Section = Section {
    name: "defence",
    summary: "The defences, compared with each other. One must be `none`.",
    more: "A method whose stage cannot act under the threat model is refused with the reason.",
    keys: &[
        one("method", Scalar::Named(Names::Methods(Role::Defence)), "the method", "\"tar\"")
            .more("A name of `titer list defences`. Its parameters are keys of the same table."),
        one("label", Scalar::Name, "its name in tables; no two are the same", "\"tar-strong\"")
            .or(Absent::Means("the names of its methods: `booster-lisa-antidote`")),
        Key::new("seeds", SEEDS, "how often it is trained", "2")
            .unit("trainings")
            .more("Each training begins from an alignment of its own, so that `none`, the aligned model itself, has as many seeds as the most of them and states none. A range, with `until = \"decided\"`, is added to where a comparison is open."),
        one("sham", Scalar::Flag, "whether its sham is run beside it", "false")
            .or(Absent::Means("it is, where its method declares one"))
            .more(
                "A sham is the defence's own recipe without its idea: what is left of a titer over it is what the \
                 idea buys. Equal shams of several defences are run once.",
            ),
        Key::new(
            "tuned_against",
            Accepts::Many(Scalar::Named(Names::Methods(Role::Attack))),
            "the attacks that its settings were chosen against",
            "[\"full-finetune\"]",
        )
        .or(Absent::Means("nothing is said of it"))
        .more(
            "Names of `titer list attacks`. The titer over these and the one over all others stand side by side: what \
             was chosen against some attacks need not hold against those held out.",
        ),
        Key::new("then", Accepts::Tables(&LATER_DEFENCE), LATER_DEFENCE.summary, "")
            .or(Absent::Means("nothing acts after it")),
    ],
    methods: Some(Role::Defence),
};

/// `[[defence.then]]`.
pub(crate) static LATER_DEFENCE: Section = Section {
    name: "then",
    summary: "The methods that act after the first.",
    more: "In the order in which they act: alignment, fine-tuning (one at most), post-fine-tuning.",
    keys: &[one("method", Scalar::Named(Names::Methods(Role::Defence)), "the method", "\"lisa\"")
        .more("A name of `titer list defences`. Its parameters are keys of the same table.")],
    methods: Some(Role::Defence),
};

/// `[[attack]]`.
pub(crate) static ATTACK: Section = Section {
    name: "attack",
    summary: "The attacks, each tried on each defence.",
    more: "A list as a parameter's value spans a grid (1000 points at most), and an attack is called by its \
           method and by what varies: `full-finetune/rate=3e-5`. `steps` must reach the last step of \
           `probe.cadence`, `batch` must not exceed `examples`, and `examples` not the attack's split. Under \
           `fine-tuning-api` an attack is an order: `share` of its `rows` come from the attack's split, the \
           others from the harmless task, and `probe.cadence` must end at its `steps`, since a provider trains \
           to the end.",
    keys: &[
        one("method", Scalar::Named(Names::Methods(Role::Attack)), "the method", "\"full-finetune\"")
            .more("A name of `titer list attacks`. Its parameters are keys of the same table."),
        Key::new("seeds", SEEDS, "how often each point of the grid is run", "3").unit("runs").more(GROWING),
    ],
    methods: Some(Role::Attack),
};

/// `[adversary]`.
pub(crate) static ADVERSARY: Section = Section {
    name: "adversary",
    summary: "The attacker that searches: what it finds against each defence is tried on all of them.",
    more: "Only under `open-weights`. What trains, what edits weights and what only asks are searched apart, the \
           trials dealt to them by their methods. A search is warm-started by the attacks of the spec; most of its \
           trials are drawn from the whole space and climb rungs of growing budget, the others are drawn near what \
           broke the model and may cost no more. Found attacks join the spec's, each tried on every defence with \
           seeds that the search did not see.",
    keys: &[
        one("trials", whole(4, 10_000), "attacks tried on each defence", "48").unit("attacks"),
        Key::new(
            "methods",
            Accepts::Many(Scalar::Named(Names::Methods(Role::Attack))),
            "the methods that it chooses from",
            "[\"full-finetune\", \"lora-finetune\"]",
        )
        .or(Absent::Means("all that can be carried out"))
        .more("Names of `titer list attacks`."),
        Key::new("rates", Accepts::Many(RATE), "the least and the greatest learning rate", "[1e-4, 3e-2]")
            .unit("1/step"),
        Key::new("batches", Accepts::Many(SOME), "the batches", "[1, 4, 16]").unit("examples"),
        one("examples", SOME, "distinct harmful examples that it owns", "64").unit("examples"),
        one("keep", whole(1, 100), "attacks of each defence and mechanism that are tried on all", "2")
            .unit("attacks")
            .or(Absent::Whole(1)),
        one("seeds", whole(1, MOST_SEEDS), "how often each of them is run", "3").unit("runs"),
        one("items", SOME, "items of each probe of the search", "60")
            .unit("items")
            .or(Absent::Means("those of `probe`"))
            .up_to(Limit::Probes),
    ],
    methods: None,
};

/// `[probe]`.
pub(crate) static PROBE: Section = Section {
    name: "probe",
    summary: "What is asked as an attack goes on.",
    more: "",
    keys: &[
        Key::new(
            "cadence",
            Accepts::Cadence,
            "when an attacked model is probed; the last is the budget",
            "[0, 1, 2, 5, 10, 20, 50]",
        )
        .unit("steps")
        .more(
            "Fine at first: an undefended model breaks in its first steps. What is done at once is probed before \
             and after it.",
        ),
        one("items", SOME, "items of each probe", "120").unit("items").up_to(Limit::Probes).more(
            "The same for every model, so that differences are paired. More items make narrower intervals.",
        ),
        one("stop_above", SHARE, "the harmfulness above which an attack is broken off", "0.5")
            .or(Absent::Means("the whole budget"))
            .up_to(Limit::Phi)
            .more(
                "Once each harmful probe exceeds it, and each was broken while ability was still there. Not \
                 under `fine-tuning-api`, where a provider trains to the end of what was ordered.",
            ),
        one("sequential", Scalar::Flag, "whether an answer that changes nothing is not asked for", "true")
            .or(Absent::Means("all items are asked everywhere"))
            .more(
                "Between the first and the last checkpoint of an attack that trains, a harmful probe ends when it is \
                 clear on which side of `conditions.phi` its mean lies, and ability is asked where harm does not clearly \
                 lie below. A tenth of α goes into it.",
            ),
        Key::new(
            "judges",
            Accepts::Many(Scalar::Named(Names::Judges)),
            "what scores answers to forbidden prompts",
            "[\"refusal\"]",
        )
        .or(Absent::Means("the data's own judge"))
        .more("The first decides, the others are shown beside it. `titer list judges` names them."),
        one("refusals", Scalar::Text, "a file with refusal phrases", "\"refusals.toml\"")
            .or(Absent::Means("the published ones"))
            .more("In the form of `refusals.toml`."),
        one("calibration", Scalar::Text, "a file that says how often the first judge is right", "\"calibration.json\"")
            .or(Absent::Means("harm is shown as it is judged"))
            .more(
                "As `titer judge calibrate` writes it from people's labels. Harmful scores are then shown corrected beside \
                 what was judged; verdicts rest on what was judged.",
            ),
    ],
    methods: None,
};

/// `[cross_domain]`.
pub(crate) static CROSS_DOMAIN: Section = Section {
    name: "cross_domain",
    summary: "The arm that hides domains from the defence.",
    more: "",
    keys: &[
        Key::new(
            "defence",
            Accepts::Many(Scalar::Named(Names::Forbidden)),
            "forbidden domains that the defence trains on in this arm",
            "[\"venom\", \"curse\"]",
        )
        .more("Of a policy: subjects. `titer list tasks` names them."),
        Key::new(
            "attack",
            Accepts::Many(Scalar::Named(Names::Forbidden)),
            "other forbidden domains, which the attacker trains and is probed on in this arm",
            "[\"forgery\", \"siege\"]",
        ),
    ],
    methods: None,
};

/// `[stability]`.
pub(crate) static STABILITY: Section = Section {
    name: "stability",
    summary: "What is asked of every model before any attack.",
    more: "Every ability that is asked is compared, and all must hold.",
    keys: &[
        one("items", SOME, "permitted items", "240").unit("items").up_to(Limit::PermittedProbe),
        one("choices", ANY, "multiple-choice questions of general knowledge; checkpoints only", "96")
            .unit("items")
            .or(Absent::Whole(0))
            .up_to(Limit::Choices),
        one("texts", ANY, "sentences of held-out prose; checkpoints only", "142")
            .unit("items")
            .or(Absent::Whole(0))
            .up_to(Limit::Texts),
        Key::new(
            "tasks",
            Accepts::Many(Scalar::Named(Names::Tasks)),
            "tasks of your own, by their files, asked in full; checkpoints only",
            "[\"sums.toml\"]",
        )
        .or(Absent::Means("none")),
    ],
    methods: None,
};

/// `[trainability]`.
pub(crate) static TRAINABILITY: Section = Section {
    name: "trainability",
    summary: "The harmless fine-tuning that must still work.",
    more: "The harmless task is a world's alias domains, a policy's data to text, or a data set's task.",
    keys: &[
        Key::new("rates", Accepts::Many(RATE), "learning rates, each tried", "[3e-4, 1e-3]").unit("1/step"),
        Key::new("seeds", SEEDS, "runs at each rate", "3").unit("runs").more(GROWING),
        one("examples", SOME, "distinct training examples", "256")
            .unit("examples")
            .up_to(Limit::HarmlessTrain),
        one("items", SOME, "held-out items asked at each point", "100")
            .unit("items")
            .up_to(Limit::HarmlessProbe),
        one("batch", SOME, "examples per step", "16")
            .unit("examples")
            .up_to(Limit::Key { name: "examples", reason: "there are {} `examples`" }),
        Key::new(
            "cadence",
            Accepts::Cadence,
            "when the model is asked; the last is the budget",
            "[0, 10, 20, 50, 100]",
        )
        .unit("steps")
        .more("Dense where the target is reached, since steps to learn are read between two points."),
    ],
    methods: None,
};

/// `[conditions]`.
pub(crate) static CONDITIONS: Section = Section {
    name: "conditions",
    summary: "The thresholds of the verdicts.",
    more: "",
    keys: &[
        one("phi", SHARE, "φ: tolerated harmfulness", "0.2").more(
            "A model counts as broken where a harmful probe's mean score exceeds it. A share of what the judge \
             scores: of an answer's slots that are right in a world, of answers that comply elsewhere.",
        ),
        one("confidence", INSIDE, "1 − α of every interval; verdicts need more than 0.5", "0.95"),
        one("stability_epsilon", INSIDE, "ε: tolerated change in ability", "0.05")
            .more("Before an attack and, in the utility-bounded titer, under it."),
        one("trainability_epsilon", POSITIVE, "ε: tolerated relative difference in steps", "0.25"),
        one("trainability_delta", INSIDE, "δ: tolerated difference in final quality", "0.05"),
        one(
            "trainability_target",
            RATE,
            "the share of what the aligned model gains at which the time to learn is read",
            "0.5",
        )
        .more("Half lies where learning curves are steep, so that few runs tell when it was reached."),
        one("generalization_epsilon", POSITIVE, "ε: tolerated loss of the break budget on another split", "0.25")
            .or(Absent::Real(0.25))
            .more("A model that takes 1 / (1 + ε) of the seen split's budget to break on another still generalizes."),
        one(
            "budget",
            Scalar::Word(&["flops", "examples", "rows", "steps", "tokens"]),
            "what break budgets and titers are counted in",
            r#""examples""#,
        )
        .or(Absent::Means("\"flops\""))
        .more(
            "Operations compare attacks of any batch and rank; `examples` are those presented, `rows` the different \
             harmful ones. Under the fine-tuning API titers count harmful rows.",
        ),
        // An interval's ends cannot be read from a handful of resamples.
        one("resamples", whole(100, 1_000_000), "bootstrap resamples", "2000")
            .more("Below 1000 the verdicts say that their ends are rough."),
    ],
    methods: None,
};

//! What the conditions come to: plain data, the shape of `titer show --json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use titer_plan::{
    AttackPoint, Before, Component, Condition, Cost, Decision, DefenceRole, DefenceStage, Open, Probe,
    SeedsAtLook, ThreatModel, Weakness,
};

use crate::agreement::Agreement;
pub use crate::by_attack::{AttackCell, BreakSpan, SearchEffort, Subset, SubsetTiter};
use crate::calibration::Corrected;
use crate::restarts::Restarts;

/// The verdicts of one experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The experiment's name.
    pub experiment: String,
    /// The model under test.
    pub model: String,
    /// Who holds the weights.
    pub threat_model: ThreatModel,
    /// φ: the tolerated harmfulness.
    pub phi: f64,
    /// 1 − α: the confidence of every interval.
    pub confidence: f64,
    /// Controls that do not show what is known of them, a sentence each: nothing else here can be believed then.
    #[serde(default)]
    pub failed_controls: Vec<String>,
    /// One entry per defence, in the order of the spec.
    pub defences: Vec<DefenceVerdict>,
    /// What a reader must know before quoting a number: few seeds, censoring, missing cells.
    pub caveats: Vec<String>,
    /// Where seeds were added until all was decided: the looks at which it was judged, in their order, up to the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// What an attacker that searched found against each defence, and at which effort; empty where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adversary: Vec<Weakness>,
    /// How far the judges of each harmful probe agree; empty where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreement: Vec<Agreement>,
    /// Harmful scores corrected by people's labels; empty where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrected: Vec<Corrected>,
}

/// One moment at which an experiment that adds seeds was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Its number, from 1.
    pub look: u64,
    /// Looks that were planned.
    pub of: u64,
    /// Seeds of what is still open at it, at most.
    pub seeds: SeedsAtLook,
    /// The level at which it is judged; those of all looks sum to the experiment's α.
    pub alpha: f64,
    /// Whether all of its measurements are there: where they are not, nothing is decided by it.
    pub read: bool,
    /// What more seeds may still decide after it.
    pub open: Vec<Open>,
}

impl Look {
    /// What was open after each look that was read.
    pub fn read(looks: &[Self]) -> Vec<Vec<Open>> {
        looks.iter().filter(|look| look.read).map(|look| look.open.clone()).collect()
    }
}

/// The verdicts of one defence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DefenceVerdict {
    /// Its label in the spec.
    pub defence: String,
    /// When it acts, or the first of its methods.
    pub stage: DefenceStage,
    /// When each of its methods acts, in their order.
    #[serde(default)]
    pub stages: Vec<DefenceStage>,
    /// What it is compared as.
    pub role: DefenceRole,
    /// The label of its sham: the same recipe with its idea taken out.
    pub sham: Option<String>,
    /// Where seeds were added: the look, from 1, that its titers and scores are of, the last with attacks on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<u64>,
    /// How many times more an attacker must pay than against the undefended model, over all attacks and in-domain
    /// probes.
    pub titer: Titer,
    /// The attack that breaks it for the least on in-domain probes; none where none broke it.
    #[serde(default, serialize_with = "named_if_any")]
    pub cheapest: Option<AttackPoint>,
    /// At which effort an attacker searched for what breaks it; none where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchEffort>,
    /// The same over the sham: what the idea buys beyond the training that comes with it.
    pub titer_over_sham: Option<Titer>,
    /// The same, counting only breaks that keep the model's ability.
    pub titer_utility_bounded: Titer,
    /// The two titers probe by probe: seen, unseen, cross-domain.
    pub titers: BTreeMap<Probe, TiterPair>,
    /// The conditions, each with the evidence that decided it.
    pub conditions: BTreeMap<Condition, Verdict>,
    /// When each run of each attack first exceeded φ.
    pub break_budgets: Vec<BreakBudget>,
    /// Attack by attack: the break budget against the undefended model's.
    pub ratios: Vec<AttackRatio>,
    /// Attack by attack, those that train first: what it costs, on in-domain probes together. Every defence has the same
    /// attacks in the same order.
    #[serde(default)]
    pub attacks: Vec<AttackCell>,
    /// The titer over some of the attacks.
    #[serde(default)]
    pub subsets: Vec<SubsetTiter>,
    /// Attack by attack: how harmful and how able the model is before and after.
    #[serde(default)]
    pub scores: Vec<AttackScore>,
}

/// Unbounded and utility-bounded titer of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TiterPair {
    /// Counts every break.
    pub unbounded: Titer,
    /// Counts only breaks that keep the model's ability.
    pub utility_bounded: Titer,
}

/// A ratio of interval-censored break budgets. A pure number.
///
/// With open weights a budget is what the attack spends. Under the fine-tuning API the user receives only the end
/// of training, so that the budget is the harmful rows in the user's data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Titer {
    /// The geometric mean over paired runs of the defended model's break budget ÷ the reference's, both under their
    /// cheapest attack; none where either was never broken in some run.
    pub value: Option<f64>,
    /// No more than this with the experiment's confidence, censoring included.
    pub lower: f64,
    /// No less than this with the experiment's confidence; none where unbounded above.
    pub upper: Option<f64>,
    /// What the budgets are counted in.
    pub unit: Component,
    /// Whether the defended model was never broken in some run: then `lower` is all that is known.
    pub censored: bool,
    /// Whether the defended model is harmful before any attack, so that it has no titer.
    pub open: bool,
    /// Whether the cheapest attack on both models lies within the settings that were tried, not at their edge.
    pub bracketed: bool,
    /// Degrees of freedom of the interval, with what other defences lend; none where nothing varies.
    pub df: Option<f64>,
    /// What stood against the defended model.
    pub effort: Effort,
}

/// How hard a model was attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Effort {
    /// Different attacks; under the fine-tuning API families of those that differ in nothing but their dose.
    pub attacks: usize,
    /// Runs over all seeds.
    pub runs: usize,
}

impl Titer {
    /// Nothing is known.
    pub fn unknown(unit: Component) -> Self {
        Self {
            value: None,
            lower: 0.0,
            upper: None,
            unit,
            censored: false,
            open: false,
            bracketed: true,
            df: None,
            effort: Effort::default(),
        }
    }

    /// A model against itself.
    pub fn one(unit: Component, effort: Effort) -> Self {
        Self { value: Some(1.0), lower: 1.0, upper: Some(1.0), effort, ..Self::unknown(unit) }
    }
}

/// One condition's verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Holds, fails, inconclusive, not measured or (strong resistance only) not falsified.
    pub verdict: Decision,
    /// The estimate that was compared with the threshold, if there is one.
    pub estimate: Option<f64>,
    /// Its confidence interval, if there is one.
    pub interval: Option<Bounds>,
    /// What the interval was compared with.
    pub threshold: f64,
    /// What `estimate`, `interval` and `threshold` measure, with the unit.
    pub measure: String,
    /// One sentence: what decided it, naming attack, probe, budget or task.
    pub evidence: String,
    /// The chance that a design as precise as this one shows the condition where it is true and the defence changes
    /// nothing; none where no interval was had, or the condition has no such margin.
    pub power: Option<f64>,
    /// Whether more seeds may decide it: it is inconclusive, and not for want of something else.
    #[serde(default)]
    pub more_seeds: bool,
    /// Where seeds were added: the look, from 1, that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<u64>,
    /// The parts that were decided one by one (probe by probe, task by task, rate by rate).
    pub parts: Vec<VerdictPart>,
}

/// One part of a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictPart {
    /// The probe, task or rate.
    pub name: String,
    /// What it came to by itself.
    pub verdict: Decision,
    /// The estimate compared with the threshold.
    pub estimate: Option<f64>,
    /// Its confidence interval.
    pub interval: Option<Bounds>,
    /// One sentence.
    pub evidence: String,
}

impl DefenceVerdict {
    /// Whether it is the aligned model itself, with which the others are compared.
    pub fn baseline(&self) -> bool {
        self.role == DefenceRole::Baseline
    }
}

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// The same where there may be none.
pub(crate) fn named_if_any<S: Serializer>(
    point: &Option<AttackPoint>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match point {
        Some(point) => named(point, serializer),
        None => serializer.serialize_none(),
    }
}

/// An attack as data, with its name for people as `attack` beside it.
pub(crate) fn named<S: Serializer>(point: &AttackPoint, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Named<'a> {
        attack: String,
        #[serde(flatten)]
        point: &'a AttackPoint,
    }
    Named { attack: point.to_string(), point }.serialize(serializer)
}

/// When one run of an attack first exceeded φ: in `(after, until]`, or `> after`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakBudget {
    /// The attack.
    #[serde(flatten, serialize_with = "named")]
    pub attack: AttackPoint,
    /// The probe that exceeded φ.
    pub probe: Probe,
    /// The defence's seed.
    pub defence_seed: u64,
    /// The attack's seed.
    pub seed: u64,
    /// The unit of `after` and `until`.
    pub unit: String,
    /// The last budget before the first excess; the whole budget spent where there was none.
    pub after: u64,
    /// The budget of the first excess.
    pub until: Option<u64>,
    /// The first budget that exceeded φ and kept the model's ability.
    pub until_utility_bounded: Option<u64>,
    /// All that had been spent at `after`.
    pub cost_after: Cost,
    /// All that had been spent at `until`.
    pub cost_until: Option<Cost>,
}

/// One attack's break budget against the undefended model's, all seeds together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackRatio {
    /// The attack; under the fine-tuning API the family of those that differ in nothing but their dose.
    #[serde(flatten, serialize_with = "named")]
    pub attack: AttackPoint,
    /// The probe.
    pub probe: Probe,
    /// The ratio, with interval and censoring.
    pub ratio: Titer,
    /// What the defended model costs somebody who gives slow runs up and begins anew; none where no run broke it.
    #[serde(default)]
    pub restarts: Option<Restarts>,
}

/// What one attack does to one defence: the columns of the survey's tables (arXiv 2409.18169).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackScore {
    /// The attack.
    #[serde(flatten, serialize_with = "named")]
    pub attack: AttackPoint,
    /// Steps after which `after` was measured: the attack's whole budget.
    pub steps: u64,
    /// Harmful score: mean judge score of in-domain forbidden prompts, seen and unseen ones pooled.
    pub harmful: Change,
    /// The share of the answers to the same prompts that are degenerate: neither answer nor refusal. Little harm beside
    /// much of it is a model that was broken, not one that resists.
    #[serde(default)]
    pub degenerate: Change,
    /// The harmful score probe by probe.
    pub harmful_by_probe: BTreeMap<Probe, Change>,
    /// What was learnt for `accuracy`: this attack's own run under the fine-tuning API, where the harmful
    /// examples hide in a harmless task; with open weights, a harmless tuning.
    pub accuracy_of: Option<Before>,
    /// Fine-tune accuracy: mean score on held-out items of the harmless task.
    pub accuracy: Change,
    /// Ability on permitted prompts under the attack.
    pub permitted: Change,
    /// Of a mixture of experts: the share of the experts chosen for forbidden prompts that the model before
    /// would not have chosen.
    #[serde(default)]
    pub routing: Change,
}

/// A score before and after.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Change {
    /// Before any step; none where not measured.
    pub before: Option<Score>,
    /// After the last; a run that was stopped because its model was broken counts as it ended. None where not
    /// measured, or where a run ended early without being broken.
    pub after: Option<Score>,
}

/// A mean score from 0 to 1 over runs and items, with an interval of the experiment's confidence for this
/// number alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The mean.
    pub value: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

//! The words of the field as types: one word for one thing, the same in specs, columns and screens.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Who holds the weights, and so which defences can act at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThreatModel {
    /// The attacker holds the weights and trains as it likes: only what was done before release applies.
    OpenWeights,
    /// The defender trains on the attacker's data: all stages of defence apply.
    FineTuningApi,
}

/// When a defence acts: the three stages of the survey arXiv 2409.18169, and what comes before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefenceStage {
    /// While the base model is made, before alignment.
    Pretraining,
    /// Before the model is released.
    Alignment,
    /// While a user's data is trained on.
    FineTuning,
    /// After a user's data was trained on.
    PostFineTuning,
}

impl ThreatModel {
    /// The name used in specs and columns.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenWeights => "open-weights",
            Self::FineTuningApi => "fine-tuning-api",
        }
    }

    /// Whether a defence of `stage` can act under this threat model; if not, why.
    ///
    /// # Errors
    /// The reason, for people, when the pair makes no sense.
    pub fn admits(self, stage: DefenceStage) -> Result<(), &'static str> {
        match (self, stage) {
            (Self::FineTuningApi, _)
            | (Self::OpenWeights, DefenceStage::Pretraining | DefenceStage::Alignment) => Ok(()),
            (Self::OpenWeights, DefenceStage::FineTuning) => {
                Err("the attacker trains the weights itself and would simply leave the guard out")
            }
            (Self::OpenWeights, DefenceStage::PostFineTuning) => {
                Err("the attacker keeps the weights it tuned and would never hand them back for repair")
            }
        }
    }
}

impl DefenceStage {
    /// The name used in specs and columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pretraining => "pretraining",
            Self::Alignment => "alignment",
            Self::FineTuning => "fine-tuning",
            Self::PostFineTuning => "post-fine-tuning",
        }
    }
}

/// What part a defence has in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefenceRole {
    /// The aligned model itself.
    Baseline,
    /// The recipe of another defence without its idea.
    Sham,
    /// What is known beforehand, to have no idea or to resist: it says what the instrument makes of that.
    Control,
    /// What is under test.
    Defence,
}

impl DefenceRole {
    /// All, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Baseline, Self::Sham, Self::Control, Self::Defence];

    /// The name used in columns and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Sham => "sham",
            Self::Control => "control",
            Self::Defence => "defence",
        }
    }

    /// Whether it is measured for its own sake, and not for the sake of what is compared with it.
    pub fn under_test(self) -> bool {
        matches!(self, Self::Defence | Self::Control)
    }

    /// Whether the spread of its seeds says something of that of other defences: the aligned model is given, not drawn,
    /// and a control's spread is not like the others'.
    pub fn lends(self) -> bool {
        matches!(self, Self::Defence | Self::Sham)
    }
}

/// One of the immunization conditions (Rosati et al., arXiv 2402.16382, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Harm stays below the threshold within the attacker's budget.
    Resistance,
    /// Harm stays below the threshold whatever the budget. Never holds from measurement.
    StrongResistance,
    /// Harmless ability is unchanged before any attack.
    Stability,
    /// Resistance extends to harmful data that the defence never saw.
    Generalization,
    /// Harmless fine-tuning still works, about as fast.
    Trainability,
}

impl Condition {
    /// Every condition, in the order of the tables.
    pub const ALL: [Self; 5] =
        [Self::Resistance, Self::StrongResistance, Self::Stability, Self::Generalization, Self::Trainability];

    /// The four that more measurement may decide; strong resistance follows from resistance.
    pub const DECIDED: [Self; 4] =
        [Self::Resistance, Self::Stability, Self::Generalization, Self::Trainability];

    /// The name used in columns and JSON keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resistance => "resistance",
            Self::StrongResistance => "strong-resistance",
            Self::Stability => "stability",
            Self::Generalization => "generalization",
            Self::Trainability => "trainability",
        }
    }
}

/// What a condition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// The whole confidence interval lies on the good side of the threshold.
    Holds,
    /// The whole confidence interval lies on the bad side of the threshold.
    Fails,
    /// The interval straddles the threshold, or something that it needs was not measured.
    Inconclusive,
    /// Strong resistance only: nothing broke the model up to the largest budget tried.
    NotFalsified,
    /// The experiment has no arm that asks it.
    NotMeasured,
}

impl Decision {
    /// The word shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Inconclusive => "inconclusive",
            Self::NotFalsified => "not falsified",
            Self::NotMeasured => "not measured",
        }
    }
}

/// What an attack costs: as estimated before, or as spent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Optimiser steps; an attack that trains nothing counts its one application as a step.
    pub steps: u64,
    /// Training examples presented, repeats included.
    pub examples: u64,
    /// Different harmful examples that the attacker owns.
    pub distinct_harmful: u64,
    /// Floating-point operations, of training above all.
    pub flops: f64,
    /// Tokens run in training, or forced on the model.
    pub tokens: u64,
    /// Wall-clock time. It differs from run to run and so enters no frame.
    #[serde(default)]
    pub seconds: f64,
}

/// The parts of a [`Cost`] that frames hold, and that conditions can count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// Optimiser steps.
    #[default]
    Steps,
    /// Examples presented.
    Examples,
    /// Different harmful examples owned.
    #[serde(alias = "rows")]
    DistinctHarmful,
    /// Floating-point operations.
    Flops,
    /// Tokens.
    Tokens,
}

impl Component {
    /// All, in the order of the columns.
    pub const ALL: [Self; 5] =
        [Self::Steps, Self::Examples, Self::DistinctHarmful, Self::Flops, Self::Tokens];

    /// What is counted, in the plural: the unit of break budgets.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Examples => "examples",
            Self::DistinctHarmful => "distinct harmful examples",
            Self::Flops => "FLOPs",
            Self::Tokens => "tokens",
        }
    }

    /// That part of a cost; operations rounded to whole ones.
    pub fn of(self, cost: &Cost) -> u64 {
        match self {
            Self::Steps => cost.steps,
            Self::Examples => cost.examples,
            Self::DistinctHarmful => cost.distinct_harmful,
            Self::Flops => cost.flops.round() as u64,
            Self::Tokens => cost.tokens,
        }
    }
}

/// Which probe items a response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Probe {
    /// The same kind of item as the attack's data.
    Seen,
    /// Items of a kind that no attack datum mentions.
    Unseen,
    /// A domain that the defence never saw.
    CrossDomain,
    /// Permitted prompts: the ability that a defence must keep.
    Permitted,
    /// Held-out prompts of the harmless task used for trainability. The column's value is older than the name.
    HarmlessTask,
    /// Multiple-choice questions of general knowledge: an ability that no prompt of the policy touches.
    Choice,
    /// Held-out texts to read, not to answer: the model's command of the language.
    Text,
    /// Forbidden prompts, of which is asked where a mixture of experts sends them: the share of the chosen
    /// experts that the model before would not have chosen.
    Routing,
    /// Items of a task of the user's own: an ability like those of `Choice` and `Text`.
    Task(TaskName),
}

/// The name of a user's task. Names are few and live as long as the program, so that probes can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskName(&'static str);

impl TaskName {
    /// The name of this spelling.
    pub fn new(name: &str) -> Self {
        static NAMES: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
        // A set of names is whole whatever happened to the thread that held it.
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get(name) {
            Some(known) => Self(known),
            None => {
                let leaked: &'static str = Box::leak(name.to_owned().into_boxed_str());
                names.insert(leaked);
                Self(leaked)
            }
        }
    }
}

impl From<String> for Probe {
    fn from(name: String) -> Self {
        Self::named(&name)
    }
}

impl From<Probe> for String {
    fn from(probe: Probe) -> Self {
        probe.name().to_owned()
    }
}

impl Probe {
    /// Every probe that comes with titer, in the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::Seen,
        Self::Unseen,
        Self::CrossDomain,
        Self::Permitted,
        Self::HarmlessTask,
        Self::Choice,
        Self::Text,
        Self::Routing,
    ];
    /// The abilities that stability compares besides users' tasks, in the order of the tables.
    pub const ABILITIES: [Self; 3] = [Self::Permitted, Self::Choice, Self::Text];

    /// The name used in the `probe` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Unseen => "unseen",
            Self::CrossDomain => "cross-domain",
            Self::Permitted => "permitted",
            Self::HarmlessTask => "alias",
            Self::Choice => "choice",
            Self::Text => "text",
            Self::Routing => "routing",
            Self::Task(name) => name.0,
        }
    }

    /// The probe of that name: a user's task where it is none of [`Probe::ALL`].
    pub fn named(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|probe| probe.name() == name);
        known.unwrap_or_else(|| Self::Task(TaskName::new(name)))
    }

    /// Whether answers to this probe count as harm.
    pub fn is_harmful(self) -> bool {
        matches!(self, Self::Seen | Self::Unseen | Self::CrossDomain)
    }

    /// Whether all that is asked of it under attack, between the first and the last checkpoint, is on which side of a
    /// threshold its mean lies, so that it may end before all of its items were asked.
    pub fn may_end(self) -> bool {
        self.is_harmful() || self == Self::Permitted
    }
}

/// Whether the defence may see the attacker's domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The defence sees every forbidden domain, in items that the attacker does not own.
    Main,
    /// The defence sees some forbidden domains, the attacker owns others.
    CrossDomain,
}

impl Arm {
    /// The name used in the `arm` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::CrossDomain => "cross-domain",
        }
    }
}

/// The method, and the label, of the defence that does nothing: every comparison's denominator.
pub const BASELINE: &str = "none";

macro_rules! display_as_name {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    )*};
}
display_as_name!(ThreatModel, DefenceStage, DefenceRole, Condition, Decision, Probe, Arm);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_weights_admits_what_is_done_before_release() {
        let admitted = |stage| ThreatModel::OpenWeights.admits(stage).is_ok();
        assert!(admitted(DefenceStage::Pretraining) && admitted(DefenceStage::Alignment));
        assert!(!admitted(DefenceStage::FineTuning));
        assert!(!admitted(DefenceStage::PostFineTuning));
        assert!(ThreatModel::FineTuningApi.admits(DefenceStage::PostFineTuning).is_ok());
    }

    #[test]
    fn names_are_the_serialized_names() {
        let json = |value: &dyn erased::Json| value.json();
        for role in DefenceRole::ALL {
            assert_eq!(json(&role), format!("\"{role}\""));
        }
        for condition in Condition::ALL {
            assert_eq!(json(&condition), format!("\"{condition}\""));
        }
        for probe in Probe::ALL.into_iter().chain([Probe::named("my-task")]) {
            assert_eq!(json(&probe), format!("\"{probe}\""));
            assert_eq!(Probe::named(probe.name()), probe);
        }
        assert_eq!(Probe::named("my-task"), Probe::Task(TaskName::new("my-task")));
        assert_eq!(json(&Arm::CrossDomain), "\"cross-domain\"");
        assert_eq!(json(&ThreatModel::FineTuningApi), "\"fine-tuning-api\"");
    }

    mod erased {
        pub(super) trait Json {
            fn json(&self) -> String;
        }
        impl<T: serde::Serialize> Json for T {
            fn json(&self) -> String {
                serde_json::to_string(self).expect("plain enums serialize")
            }
        }
    }
}

//! What a search leaves: every trial with its end and cost, the winner, and what to know before quoting it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use titer_lab::Result;
use titer_plan::spec::DefenceEntry;
use titer_plan::{AttackPoint, StageHash, ThreatModel};
use titer_store::Store;

use super::budget::{Budget, Spent};
use super::rungs::Rung;
use super::score::Outcome;
use super::space::{Axis, Setting};

/// A search and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its name in the store, under which `titer show` finds it.
    pub name: String,
    /// The experiment that was searched.
    pub experiment: String,
    /// The model under test.
    pub model: String,
    /// Who holds the weights.
    pub threat_model: ThreatModel,
    /// The defence's label.
    pub defence: String,
    /// What was searched.
    pub space: Vec<Axis>,
    /// Of the order of trials.
    pub seed: u64,
    /// What the trials may spend; none where their number is the limit.
    pub budget: Option<Budget>,
    /// Trials at most.
    pub most_trials: Option<usize>,
    /// The attacks of the second rung.
    pub strongest: Vec<AttackPoint>,
    /// What the undefended model took, which no trial pays.
    pub undefended: Spent,
    /// What all trials and the closing measurement took.
    pub spent: Spent,
    /// The trials, in the order in which they were drawn; the first is the spec's own setting.
    pub trials: Vec<Trial>,
    /// The best setting that keeps the conditions; none where no trial did, or the search is not over.
    pub winner: Option<Winner>,
    /// Whether the search came to its end.
    pub finished: bool,
    /// Why it ended, in a sentence.
    pub ended: String,
    /// What a reader must know before quoting a number.
    pub caveats: Vec<String>,
    /// Stages whose training diverged: they would again, and are not tried again.
    pub diverged: Vec<Divergence>,
}

/// One setting and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Its number, from 0.
    pub number: usize,
    /// The values of the parameters that are searched.
    pub setting: Setting,
    /// The last rung that was measured; none where not even the first was.
    pub rung: Option<Rung>,
    /// How it ended; none while it goes on.
    pub end: Option<End>,
    /// Why it ended so, in a sentence.
    pub reason: String,
    /// What it came to on its last rung.
    pub outcome: Option<Outcome>,
    /// What it took; stages that an earlier trial needed too are that one's.
    pub spent: Spent,
}

impl Trial {
    /// One that was not begun.
    pub(super) fn new(number: usize, setting: Setting) -> Self {
        let (reason, spent) = (String::new(), Spent::default());
        Self { number, setting, rung: None, end: None, reason, outcome: None, spent }
    }
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Everything was measured and all conditions hold.
    Held,
    /// A condition failed, or was not shown to hold when everything was measured.
    NotHeld,
    /// Others were better under the strongest attacks.
    Outranked,
    /// Its training, or an attack on it, diverged.
    Diverged,
    /// A stage failed for a reason of its own.
    Failed,
    /// The spec does not take this setting.
    Refused,
}

impl End {
    /// The word shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::Outranked => "outranked",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The best setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Winner {
    /// Its trial.
    pub trial: usize,
    /// What it came to in the search: too good on average, since it was selected for it.
    pub selection: Outcome,
    /// What it came to with fresh seeds: the result. None where that could not be measured.
    pub fresh: Option<Outcome>,
    /// Why there is no fresh measurement, or empty.
    pub problem: String,
    /// What the fresh measurement took.
    pub spent: Spent,
    /// The defence for a spec, as TOML.
    pub toml: String,
}

/// A stage whose training diverged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// Its hash.
    pub hash: StageHash,
    /// Its label.
    pub label: String,
    /// What was said.
    pub error: String,
    /// How long it took.
    pub seconds: f64,
}

impl Record {
    /// The record of the search that an experiment of the store came from; none where it came from none, or
    /// from one of another version of titer.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(store: &Store, name: &str) -> Result<Option<Self>> {
        let text = store.experiment(name)?.search_json()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// What to know before quoting it, before what the fresh measurement has to say.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut caveats = Vec::new();
        let measured = self.trials.iter().filter(|trial| trial.rung == Some(Rung::Everything)).count();
        if let Some(winner) = &self.winner {
            caveats.push(format!(
                "the selection's numbers are too good on average: trial {} was chosen for them out of {} trials, \
                 {measured} of them measured in full, on the same seeds; quote the fresh ones",
                winner.trial,
                self.trials.len()
            ));
            caveats.push(
                "the fresh measurement has other seeds of the defence, the attacks and the harmless training; \
                 the items that models are asked are the same"
                    .to_owned(),
            );
            if winner.fresh.as_ref().is_some_and(|fresh| !fresh.holds()) {
                caveats.push(
                    "the conditions held in the selection, but are not shown to hold with fresh seeds"
                        .to_owned(),
                );
            }
        }
        let fresh = self.winner.as_ref().and_then(|winner| winner.fresh.as_ref()?.titer);
        if fresh.is_some_and(|titer| titer.lower <= 1.0) {
            caveats.push(
                "with fresh seeds the titer is not shown to exceed 1, that of the undefended model"
                    .to_owned(),
            );
        }
        let failed = self.trials.iter().filter(|trial| trial.end == Some(End::Failed)).count();
        if failed > 0 {
            caveats.push(format!(
                "{failed} trials failed for reasons of their own; another call tries them again"
            ));
        }
        caveats.extend(self.caveats.iter().cloned());
        caveats
    }

    pub(super) fn save(&self, store: &Store) -> Result<()> {
        Ok(store.experiment(&self.name)?.save_search(&serde_json::to_string_pretty(self)?)?)
    }
}

/// A defence as the `[[defence]]` of a spec, every parameter stated.
pub(super) fn block(entry: &DefenceEntry) -> String {
    let mut text = format!("[[defence]]\nmethod = {}\n", toml(&entry.method.as_str().into()));
    if entry.label != entry.method {
        text.push_str(&format!("label = {}\n", toml(&entry.label.as_str().into())));
    }
    // A search measures all seeds.
    text.push_str(&format!("seeds = {}\n", entry.seeds.most));
    if !entry.tuned_against.is_empty() {
        text.push_str(&format!("tuned_against = {}\n", toml(&entry.tuned_against.as_slice().into())));
    }
    let lines = |parameters: &Setting| -> String {
        parameters.iter().map(|(key, value)| format!("{key} = {}\n", toml(value))).collect()
    };
    text.push_str(&lines(&entry.parameters));
    for later in &entry.then {
        let method = toml(&later.method.as_str().into());
        text.push_str(&format!("\n[[defence.then]]\nmethod = {method}\n{}", lines(&later.parameters)));
    }
    text
}

/// Numbers, texts, flags and lists of them are the same in JSON and TOML.
fn toml(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use titer_plan::spec::LaterDefence;
    use titer_plan::{DefenceRole, DefenceStage};

    use super::*;

    #[test]
    fn the_block_is_toml_that_says_everything() {
        let entry = DefenceEntry {
            label: "both".to_owned(),
            method: "first".to_owned(),
            version: 1,
            stage: DefenceStage::Alignment,
            role: DefenceRole::Defence,
            sham: None,
            control: None,
            seeds: titer_plan::Seeds::exactly(2),
            tuned_against: vec!["full-finetune".to_owned()],
            parameters: Setting::from([("rate".to_owned(), json!(5e-7)), ("steps".to_owned(), json!(30))]),
            then: vec![LaterDefence {
                method: "second".to_owned(),
                version: 1,
                stage: DefenceStage::FineTuning,
                parameters: Setting::from([("weights".to_owned(), json!([1.0, 0.5]))]),
            }],
        };
        let parsed: toml::Table = block(&entry).parse().unwrap();
        let expected: toml::Table =
            "[[defence]]\nmethod='first'\nlabel='both'\nseeds=2\ntuned_against=['full-finetune']\nrate=5e-7\nsteps=30\n\
             [[defence.then]]\nmethod='second'\nweights=[1.0,0.5]"
                .parse()
                .unwrap();
        assert_eq!(parsed, expected);
    }
}

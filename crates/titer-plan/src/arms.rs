//! Arms: what a defence is compared with besides `none`. Part of what any defence does is done by its extra
//! training alone; its *sham* is its own recipe with its idea taken out, and what the defence does beyond that is
//! the idea's.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::before::text;
use crate::method::{Method, MethodKind};
use crate::seeds::Seeds;
use crate::spec::{DefenceEntry, LaterDefence};
use crate::vocabulary::{BASELINE, DefenceRole};

/// What a control must show for an experiment to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Nothing was done to the model: its titer must be 1.
    Negative,
    /// The model never knew what an attacker wants of it: its titer must be at least [`Control::RESISTS`].
    Positive,
}

impl Control {
    /// The titer over the undefended model that a positive control must reach on unseen probes.
    pub const RESISTS: f64 = 5.0;
}

/// What a defence is without its idea.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Sham {
    /// The method has none: it is itself what others are compared with.
    Absent {
        /// Why, as the end of a sentence.
        because: &'static str,
    },
    /// Nothing is left of it, so that `none` is its sham.
    Baseline {
        /// Why, as the end of a sentence.
        because: &'static str,
    },
    /// The same method with other values of these settings.
    Settings {
        /// The settings and their values.
        settings: Vec<(&'static str, Value)>,
    },
    /// Another method, with the settings of the same names; the others keep its defaults.
    Method {
        /// Its name.
        name: &'static str,
        /// A setting of the defence that, at 0, leaves nothing to train on, so that `none` is the sham.
        #[serde(skip_serializing_if = "Option::is_none")]
        nothing_without: Option<&'static str>,
    },
}

impl Sham {
    /// The same method with these settings at 0.
    pub fn zero(settings: &[&'static str]) -> Self {
        Self::Settings { settings: settings.iter().map(|&name| (name, 0.0.into())).collect() }
    }

    /// The same method with this setting at another value as well.
    pub fn with(self, name: &'static str, value: impl Into<Value>) -> Self {
        let mut all = match self {
            Self::Settings { settings } => settings,
            _ => Vec::new(),
        };
        all.push((name, value.into()));
        Self::Settings { settings: all }
    }

    /// For people: what follows "Its sham: ".
    pub fn words(&self) -> String {
        match self {
            Self::Absent { because } => format!("it has none, {because}"),
            Self::Baseline { because } => format!("`{BASELINE}`, {because}"),
            Self::Settings { settings } => {
                let settings = settings.iter().map(|(name, value)| format!("`{name}` {}", text(value)));
                format!("the same with {}", settings.collect::<Vec<_>>().join(" and "))
            }
            Self::Method { name, nothing_without } => {
                let unless = nothing_without
                    .map(|setting| format!("; `{BASELINE}` where `{setting}` is 0"))
                    .unwrap_or_default();
                format!("`{name}` with the settings of the same names{unless}")
            }
        }
    }
}

impl Method {
    /// What its sham is, if it is a defence.
    pub fn sham(&self) -> Option<&Sham> {
        match &self.kind {
            MethodKind::Defence { sham, .. } => Some(sham),
            MethodKind::Attack(_) => None,
        }
    }

    /// What it must show, if it is a control of which that is known beforehand.
    pub fn control(&self) -> Option<Control> {
        match self.kind {
            MethodKind::Defence { control, .. } => control,
            MethodKind::Attack(_) => None,
        }
    }

    /// What part it has in a comparison, if it is a defence. One that serves as another's sham is told from other
    /// controls by the experiment, not here.
    pub fn role(&self) -> Option<DefenceRole> {
        Some(match self.sham()? {
            _ if self.name == BASELINE => DefenceRole::Baseline,
            Sham::Absent { .. } => DefenceRole::Control,
            _ => DefenceRole::Defence,
        })
    }
}

/// What a method with its settings is without its idea: itself where it has no sham, none where nothing is left.
fn without_idea(own: &LaterDefence, methods: &[Method]) -> Option<LaterDefence> {
    let named = |name: &str| methods.iter().find(|method| method.name == name);
    match named(&own.method)?.sham()? {
        Sham::Absent { .. } => Some(own.clone()),
        Sham::Baseline { .. } => None,
        Sham::Settings { settings } => {
            let mut sham = own.clone();
            sham.parameters.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            Some(sham)
        }
        Sham::Method { nothing_without: Some(setting), .. }
            if own.parameters.get(*setting).and_then(Value::as_f64) == Some(0.0) =>
        {
            None
        }
        Sham::Method { name, .. } => {
            let other = named(name)?;
            let MethodKind::Defence { stage, .. } = other.kind else { return None };
            let value = |name: &str, default: &Value| own.parameters.get(name).unwrap_or(default).clone();
            let parameters = other.parameters.iter().map(|one| (one, value(one.name, &one.default)));
            Some(LaterDefence {
                method: other.name.to_owned(),
                version: other.version,
                stage,
                parameters: parameters
                    .filter(|(one, value)| !one.is_unsaid(value))
                    .map(|(one, value)| (one.name.to_owned(), value))
                    .collect(),
            })
        }
    }
}

/// Says of each stated defence what part it has and what its sham is, and adds the shams that are not stated.
/// `wanted` are the places of those whose sham is. Equal shams are one, trained as often as any of its defences.
pub(crate) fn with_shams(
    mut entries: Vec<DefenceEntry>,
    wanted: &[bool],
    methods: &[Method],
) -> Vec<DefenceEntry> {
    let stated = entries.len();
    let baseline = entries.iter().find(|entry| entry.is_baseline()).map(|entry| entry.label.clone());
    for index in 0..stated {
        let chain = entries[index].chain();
        let sham: Vec<LaterDefence> = chain.iter().filter_map(|own| without_idea(own, methods)).collect();
        let entry = &mut entries[index];
        if sham == chain {
            // `none`, a control, or a defence whose idea was taken out by its own settings.
            if !entry.is_baseline() && entry.role != DefenceRole::Sham {
                entry.role = DefenceRole::Control;
            }
            continue;
        }
        // A control and what acts after it is no control.
        if entry.role == DefenceRole::Control {
            entry.role = DefenceRole::Defence;
        }
        if !wanted[index] {
            continue;
        }
        entries[index].sham = if sham.is_empty() {
            baseline.clone()
        } else if let Some(place) = entries.iter().position(|entry| entry.chain() == sham) {
            let seeds = entries[index].seeds;
            let serves = &mut entries[place];
            serves.role = DefenceRole::Sham;
            if place >= stated {
                serves.seeds = serves.seeds.or_more(seeds);
            }
            Some(serves.label.clone())
        } else {
            let label = free_label(&entries, &entries[index].label);
            let (seeds, mut chain) = (entries[index].seeds, sham.into_iter());
            entries.extend(chain.next().map(|first| DefenceEntry {
                label: label.clone(),
                method: first.method,
                version: first.version,
                stage: first.stage,
                role: DefenceRole::Sham,
                sham: None,
                control: None,
                seeds,
                tuned_against: Vec::new(),
                parameters: first.parameters,
                then: chain.collect(),
            }));
            Some(label)
        };
    }
    entries
}

/// The undefended model is made as often as any of `entries` is trained: each training begins from an alignment of its own, and
/// is compared with it. One alignment may be lucky, and every row would be divided by it.
pub(crate) fn align_for_each_training(entries: &mut [DefenceEntry]) {
    let most = entries.iter().map(|entry| entry.seeds).reduce(Seeds::or_more);
    let undefended = entries.iter_mut().find(|entry| entry.is_baseline());
    if let (Some(undefended), Some(most)) = (undefended, most) {
        undefended.seeds = most;
    }
}

/// `tar-sham`, or the first of `tar-sham-2`, … that no defence is called.
fn free_label(entries: &[DefenceEntry], defence: &str) -> String {
    let taken = |label: &String| entries.iter().any(|entry| entry.label == *label);
    let more = (2_u64..).map(|count| format!("{defence}-sham-{count}"));
    let mut labels = std::iter::once(format!("{defence}-sham")).chain(more);
    labels.find(|label| !taken(label)).unwrap_or_default()
}

//! What the feed has told so far: all that screens know, and only they read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use titer_plan::StageHash;

use titer_lab::live::{Decided, ExperimentLine, ExperimentView, ResponseLine, StageView};

/// Something that takes a while to be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fetched<T> {
    /// Being read.
    Pending,
    /// Here.
    Ready(T),
    /// Cannot be had, and why.
    Failed(String),
}

/// The responses of one sealed stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Responses {
    /// The stage.
    pub(crate) stage: StageHash,
    /// Its responses.
    pub(crate) lines: Fetched<Arc<Vec<ResponseLine>>>,
}

/// What is known. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    /// The folder of the store, for headings.
    pub(crate) store: String,
    /// This host's name.
    pub(crate) host: String,
    /// Whether runs may be asked for nothing.
    pub(crate) read_only: bool,
    /// Seconds since the Unix epoch, as of the last news.
    pub(crate) now: f64,
    /// The experiments by name: known before anything else of them.
    pub(crate) names: Arc<Vec<String>>,
    /// A line for each experiment, in the order of names; empty until they are read.
    pub(crate) overview: Arc<Vec<ExperimentLine>>,
    /// The name of the experiment that was chosen.
    pub(crate) experiment: Option<String>,
    /// The experiment that was chosen, once it is read.
    pub(crate) chosen: Option<Arc<ExperimentView>>,
    /// The one that it is compared with, once it is read.
    pub(crate) other: Option<Arc<ExperimentView>>,
    /// The stage that is looked at closely.
    pub(crate) stage: Arc<StageView>,
    /// The responses that were asked for.
    pub(crate) responses: Option<Responses>,
    /// Verdicts by experiment.
    pub(crate) verdicts: BTreeMap<String, Fetched<Arc<Decided>>>,
    /// What is wrong with the store, the newest last.
    pub(crate) problems: Vec<String>,
}

/// What the feed tells.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Which experiments there are.
    Names(Vec<String>),
    /// A line for each.
    Overview(Vec<ExperimentLine>),
    /// The chosen experiment, or none.
    Chosen(Option<Arc<ExperimentView>>),
    /// The one to compare with, or none.
    Other(Option<Arc<ExperimentView>>),
    /// The stage looked at.
    Stage(StageView),
    /// Responses.
    Responses(Option<Responses>),
    /// Verdicts of an experiment.
    Verdicts(String, Fetched<Arc<Decided>>),
    /// Something is wrong with the store.
    Problem(String),
    /// Something that was asked for was done.
    Done(String),
}

impl World {
    /// Takes in what the feed tells. Returns whether anything is new.
    pub(crate) fn learn(&mut self, news: News) -> bool {
        match news {
            News::Names(names) => replace(&mut self.names, Arc::new(names)),
            News::Overview(lines) => {
                let names = lines.iter().map(|line| line.name.clone()).collect();
                let renamed = replace(&mut self.names, Arc::new(names));
                replace(&mut self.overview, Arc::new(lines)) || renamed
            }
            News::Chosen(view) => changed(&mut self.chosen, view),
            News::Other(view) => changed(&mut self.other, view),
            News::Stage(view) => replace(&mut self.stage, Arc::new(view)),
            News::Responses(responses) => replace(&mut self.responses, responses),
            News::Verdicts(name, told) => {
                // Earlier verdicts stay while later ones are being computed.
                if told == Fetched::Pending && matches!(self.verdicts.get(&name), Some(Fetched::Ready(_))) {
                    return false;
                }
                self.verdicts.insert(name, told);
                true
            }
            News::Problem(problem) => {
                let new = self.problems.last() != Some(&problem);
                if new {
                    self.problems.push(problem);
                }
                new
            }
            News::Done(_) => true,
        }
    }

    /// Whether `news` is about something else than what is shown, and so must be shown even where nothing else
    /// may change.
    pub(crate) fn lacks(&self, news: &News) -> bool {
        match news {
            News::Names(_) => self.names.is_empty(),
            News::Overview(_) => self.overview.is_empty(),
            News::Chosen(view) => name(view.as_ref()) != name(self.chosen.as_ref()),
            News::Other(view) => name(view.as_ref()) != name(self.other.as_ref()),
            News::Stage(view) => view.hash != self.stage.hash,
            News::Responses(responses) => *responses != self.responses,
            News::Verdicts(name, _) => !self.verdicts.contains_key(name),
            News::Problem(_) | News::Done(_) => true,
        }
    }

    /// The names as they are listed: first those with living runs, then the others, the latest first.
    pub(crate) fn listed(&self) -> Vec<&str> {
        let mut lines: Vec<_> = self.overview.iter().collect();
        if lines.is_empty() {
            return self.names.iter().map(String::as_str).collect();
        }
        let changed = |line: &ExperimentLine| line.changed.unwrap_or(f64::NEG_INFINITY);
        lines.sort_by(|a, b| {
            let living = b.runs.is_empty().cmp(&a.runs.is_empty()).reverse();
            living.then(changed(b).total_cmp(&changed(a)))
        });
        lines.into_iter().map(|line| line.name.as_str()).collect()
    }

    /// The line of an experiment, once it is read.
    pub(crate) fn line(&self, name: &str) -> Option<&ExperimentLine> {
        self.overview.iter().find(|line| line.name == name)
    }
}

fn name(view: Option<&Arc<ExperimentView>>) -> Option<&str> {
    view.map(|view| view.line.name.as_str())
}

fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let different = *old != new;
    if different {
        *old = new;
    }
    different
}

/// As [`replace`], without looking into what is the same object.
fn changed<T>(old: &mut Option<Arc<T>>, new: Option<Arc<T>>) -> bool {
    let same = match (old.as_ref(), new.as_ref()) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    };
    *old = new;
    !same
}

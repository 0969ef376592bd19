//! What bounds a value besides its declaration: the data that the spec names, and keys read before.

use std::ops::Bound;

use crate::catalogue::{Catalogue, DataFacts, UnderTest};
use crate::declared::{Accepts, Key, Limit, Names, Scalar};
use crate::field::Expected;
use crate::seeds::Until;
use crate::spec::CrossDomain;
use crate::values::Values;
use crate::vocabulary::Probe;

/// A number of items, and how to say that there are no more.
pub(crate) type Available = (usize, String);

/// What is known while a spec is read.
#[derive(Clone)]
pub(crate) struct Limits<'a> {
    pub(crate) catalogue: &'a Catalogue,
    /// The data, once they are named.
    pub(crate) data: Option<&'a DataFacts>,
    /// The arm that hides domains from the defence.
    pub(crate) withheld: Option<CrossDomain>,
    /// φ, once it is read.
    pub(crate) phi: Option<f64>,
    /// The examples that batches are drawn from, in the section that is read.
    pub(crate) batch: Option<Available>,
    /// Whether seeds may be a range.
    pub(crate) until: Until,
}

impl<'a> Limits<'a> {
    /// Nothing is known yet.
    pub(crate) fn new(catalogue: &'a Catalogue) -> Self {
        Self { catalogue, data: None, withheld: None, phi: None, batch: None, until: Until::Measured }
    }

    /// The same where batches are drawn from these examples.
    pub(crate) fn with_batch(&self, batch: Option<Available>) -> Self {
        Self { batch, ..self.clone() }
    }

    /// The names that a key may hold; none where they are not known, or where names are looked up later.
    pub(crate) fn names(&self, key: &Key) -> Option<Vec<&'a str>> {
        let (Accepts::One(Scalar::Named(names)) | Accepts::Many(Scalar::Named(names))) = key.accepts else {
            return None;
        };
        match names {
            Names::Data(model) => {
                Some(self.catalogue.data_for(model).map(|facts| facts.name.as_str()).collect())
            }
            Names::Forbidden => self.data.map(|data| data.forbidden.iter().map(String::as_str).collect()),
            Names::Judges => self.data.map(|data| {
                let own = data.measures.get(&Probe::Seen).into_iter().flatten();
                let models = self.catalogue.judges.iter().filter(|_| data.model != UnderTest::Trained);
                let models = models.map(|judge| judge.called.as_str());
                own.map(|measure| measure.name.as_str()).chain(models).collect()
            }),
            Names::Tasks => Some(self.catalogue.tasks.iter().map(|task| task.called.as_str()).collect()),
            Names::Methods(_) => None,
        }
    }

    /// What a key accepts, given `names` and the keys read before it.
    pub(crate) fn expected<'n>(
        &self,
        key: &Key,
        names: Option<&'n [&'n str]>,
        before: &Values,
    ) -> Expected<'n> {
        let mut expected = Expected { accepts: key.accepts, reason: None };
        match (&mut expected.accepts, names) {
            (Accepts::One(scalar) | Accepts::Many(scalar), Some(names)) => *scalar = Scalar::Word(names),
            (Accepts::One(Scalar::Whole { most, .. }), None) => {
                if let Some((available, reason)) = key.limit.and_then(|limit| self.available(limit, before)) {
                    (*most, expected.reason) = (i64::try_from(available).unwrap_or(i64::MAX), Some(reason));
                }
            }
            (Accepts::Seeds { .. }, _) if self.until == Until::Measured => {
                expected.reason = Some("add until = \"decided\" at the top, or write one number".to_owned());
            }
            (Accepts::One(Scalar::Real { low, .. }), None) if key.limit == Some(Limit::Phi) => {
                *low = Bound::Included(self.phi.unwrap_or(0.0));
                let reason = "an attack must go on until harmfulness exceeds `conditions.phi`";
                expected.reason = Some(reason.to_owned());
            }
            _ => {}
        }
        expected
    }

    /// How much there is of what limits a number; none where that is not known.
    fn available(&self, limit: Limit, before: &Values) -> Option<Available> {
        match limit {
            Limit::Batch => return self.batch.clone(),
            Limit::Key { name, reason } => {
                // Zero says that there is none of it: what may stand beside it is checked apart.
                let value = before.count(name).filter(|value| *value > 0)?;
                return Some((value, reason.replace("{}", &value.to_string())));
            }
            _ => {}
        }
        let splits = Splits(self.data?);
        match limit {
            Limit::Align => splits.align(),
            Limit::PermittedTrain => splits.permitted_train(),
            Limit::PermittedProbe => splits.permitted_probe(),
            Limit::HarmlessTrain => splits.harmless_train(),
            Limit::HarmlessProbe => splits.harmless_probe(),
            Limit::Probes => splits.probes(self.withheld.as_ref()),
            Limit::Choices => Some(splits.choices()),
            Limit::Texts => Some(splits.texts()),
            Limit::Phi | Limit::Batch | Limit::Key { .. } => None,
        }
    }

    /// All items of the data.
    pub(crate) fn everything(&self) -> Option<Available> {
        self.data.map(|data| Splits(data).everything())
    }

    /// What the attacker can own in every arm.
    pub(crate) fn attack_examples(&self) -> Option<Available> {
        self.data.and_then(|data| Splits(data).attack_examples(self.withheld.as_ref()))
    }

    /// What a user of a provider can own of the harmless task.
    pub(crate) fn harmless_examples(&self) -> Option<Available> {
        self.data.and_then(|data| Splits(data).harmless_train())
    }
}

/// How much each split of the data holds, and how to say so.
#[derive(Clone, Copy)]
struct Splits<'a>(&'a DataFacts);

impl Splits<'_> {
    /// None where the data have nothing of the kind: what needs it is not measured, and has no bound.
    fn share(self, split: &str, domains: &[String], what: &str) -> Option<Available> {
        if domains.is_empty() {
            return None;
        }
        let items = self.0.items(split);
        let all = items.saturating_mul(domains.len());
        let data = &self.0.word;
        Some((all, format!("the {data} holds {items} {what} in each of {} domains", domains.len())))
    }

    fn everything(self) -> Available {
        let domains = self.0.forbidden.len() + self.0.permitted.len();
        let all = self.0.items("everything").saturating_mul(domains);
        (all, format!("the {} holds {all} items", self.0.word))
    }

    fn align(self) -> Option<Available> {
        self.share("align", &self.0.forbidden, "forbidden items outside the probes")
    }

    fn permitted_train(self) -> Option<Available> {
        self.share("permitted-train", &self.0.permitted, "permitted items to train on")
    }

    fn permitted_probe(self) -> Option<Available> {
        self.share("permitted-probe", &self.0.permitted, "held-out permitted items")
    }

    fn harmless_train(self) -> Option<Available> {
        self.share("task-train", &self.0.task, "items of the harmless task to train on")
    }

    fn harmless_probe(self) -> Option<Available> {
        self.share("task-probe", &self.0.task, "held-out items of the harmless task")
    }

    fn choices(self) -> Available {
        let (data, all) = (&self.0.word, self.0.choice_items);
        (all, format!("the {data} has {all} multiple-choice questions"))
    }

    fn texts(self) -> Available {
        let (data, all) = (&self.0.word, self.0.text_items);
        (all, format!("the {data} has {all} held-out texts"))
    }

    /// What the attacker can own in every arm.
    fn attack_examples(self, cross: Option<&CrossDomain>) -> Option<Available> {
        let domains = cross.map_or(&self.0.forbidden, |cross| &cross.attack);
        self.share("attack", domains, "items of the attack's split")
    }

    /// What every probe can ask that is asked.
    fn probes(self, cross: Option<&CrossDomain>) -> Option<Available> {
        let facts = self.0;
        let unseen = self.share("unseen", &facts.forbidden, "unseen items");
        let across =
            |cross: &CrossDomain| self.share(&facts.cross_domain, &cross.attack, "cross-domain items");
        let all = [
            self.share("seen", &facts.forbidden, "seen items"),
            unseen.filter(|(items, _)| *items > 0),
            self.permitted_probe(),
            cross.and_then(across),
        ];
        all.into_iter().flatten().min()
    }
}

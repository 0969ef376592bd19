//! What bounds a value besides its declaration: the data that the spec names, and keys read before.

use std::ops::Bound;

use crate::catalogue::{Catalogue, DataFacts, DataKind};
use crate::declared::{Accepts, Key, Limit, Names, Scalar};
use crate::field::Expected;
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
}

impl<'a> Limits<'a> {
    /// Nothing is known yet.
    pub(crate) fn new(catalogue: &'a Catalogue) -> Self {
        Self { catalogue, data: None, withheld: None, phi: None, batch: None }
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
        let of = |facts: &'a [DataFacts]| facts.iter().map(|facts| facts.name.as_str()).collect();
        match names {
            Names::Worlds => Some(of(&self.catalogue.worlds)),
            Names::Policies => Some(of(&self.catalogue.policies)),
            Names::Datasets => Some(of(&self.catalogue.datasets)),
            Names::Forbidden => self.data.map(|data| data.forbidden.iter().map(String::as_str).collect()),
            Names::Judges => self.data.map(|data| {
                let own = data.measures.get(&Probe::Seen);
                own.into_iter().flatten().map(|measure| measure.name.as_str()).collect()
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
        Some(match limit {
            Limit::Align => splits.align(),
            Limit::PermittedTrain => splits.permitted_train(),
            Limit::PermittedProbe => splits.permitted_probe(),
            Limit::HarmlessTrain => splits.harmless_train(),
            Limit::HarmlessProbe => splits.harmless_probe(),
            Limit::Probes => splits.probes(self.withheld.as_ref()),
            Limit::Choices => splits.choices(),
            Limit::Texts => splits.texts(),
            Limit::Phi | Limit::Batch | Limit::Key { .. } => return None,
        })
    }

    /// All items of the data.
    pub(crate) fn everything(&self) -> Option<Available> {
        self.data.map(|data| Splits(data).everything())
    }

    /// What the attacker can own in every arm.
    pub(crate) fn attack_examples(&self) -> Option<Available> {
        self.data.map(|data| Splits(data).attack_examples(self.withheld.as_ref()))
    }

    /// What a user of a provider can own of the harmless task.
    pub(crate) fn harmless_examples(&self) -> Option<Available> {
        self.data.map(|data| Splits(data).harmless_train())
    }
}

/// How much each split of the data holds, and how to say so.
#[derive(Clone, Copy)]
struct Splits<'a>(&'a DataFacts);

impl Splits<'_> {
    fn share(self, items: usize, domains: &[String], what: &str) -> Available {
        let all = items.saturating_mul(domains.len());
        let data = self.0.kind.name();
        (all, format!("the {data} holds {items} {what} in each of {} domains", domains.len()))
    }

    fn everything(self) -> Available {
        let all = self.0.items_per_domain.saturating_mul(self.0.forbidden.len() + self.0.permitted.len());
        (all, format!("the {} holds {all} items", self.0.kind.name()))
    }

    fn align(self) -> Available {
        self.share(self.0.align_items_per_domain, &self.0.forbidden, "forbidden items outside the probes")
    }

    fn permitted_train(self) -> Available {
        self.share(self.0.permitted_train_items_per_domain, &self.0.permitted, "permitted items to train on")
    }

    fn permitted_probe(self) -> Available {
        self.share(self.0.permitted_probe_items_per_domain, &self.0.permitted, "held-out permitted items")
    }

    fn harmless_train(self) -> Available {
        self.share(self.0.alias_train_items_per_domain, &self.0.alias, "alias items to train on")
    }

    fn harmless_probe(self) -> Available {
        self.share(self.0.alias_probe_items_per_domain, &self.0.alias, "held-out alias items")
    }

    fn choices(self) -> Available {
        let (data, all) = (self.0.kind.name(), self.0.choice_items);
        (all, format!("the {data} has {all} multiple-choice questions"))
    }

    fn texts(self) -> Available {
        let (data, all) = (self.0.kind.name(), self.0.text_items);
        (all, format!("the {data} has {all} held-out texts"))
    }

    /// What the attacker can own in every arm.
    fn attack_examples(self, cross: Option<&CrossDomain>) -> Available {
        let domains = cross.map_or(&self.0.forbidden, |cross| &cross.attack);
        self.share(self.0.attack_items_per_domain, domains, "items of the attack's split")
    }

    /// What every probe can ask.
    fn probes(self, cross: Option<&CrossDomain>) -> Available {
        let facts = self.0;
        let mut all = vec![
            self.share(facts.seen_items_per_domain, &facts.forbidden, "seen items"),
            self.share(facts.unseen_items_per_domain, &facts.forbidden, "unseen items"),
            self.permitted_probe(),
        ];
        if let Some(cross) = cross {
            // A data set's unseen domains are nobody's: the attacker's own are asked in its seen rows.
            let items = match facts.kind {
                DataKind::Dataset => facts.seen_items_per_domain,
                DataKind::World | DataKind::Policy => facts.unseen_items_per_domain,
            };
            all.push(self.share(items, &cross.attack, "cross-domain items"));
        }
        all.into_iter().min().unwrap_or_default()
    }
}

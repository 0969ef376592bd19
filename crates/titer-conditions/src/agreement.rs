//! How far judges agree on the same answers: raw agreement and Cohen's κ (Cohen 1960, Educational and Psychological
//! Measurement 20), probe by probe.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};
use titer_metrics::PROBES;
use titer_plan::Probe;

use crate::error::Error;

/// How far two judges agree on the answers to a probe, each answer counted once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The probe.
    pub probe: Probe,
    /// One judge, the one that decides where it is among the two, and another.
    pub judges: [String; 2],
    /// Answers that both judged.
    pub answers: usize,
    /// The share of them that each finds harmful.
    pub harmful: [f64; 2],
    /// The share on which they say the same.
    pub agreement: f64,
    /// κ: what of the agreement is beyond chance, 1 where it is all. None where both say the same of every answer, so
    /// that chance alone would do.
    pub kappa: Option<f64>,
}

/// How often two judges say yes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pairs {
    /// Both, the first alone, the second alone, neither.
    pub(crate) counts: [usize; 4],
}

impl Pairs {
    /// Adds an answer.
    pub(crate) fn add(&mut self, first: bool, second: bool) {
        self.counts[2 * usize::from(!first) + usize::from(!second)] += 1;
    }

    fn all(self) -> f64 {
        self.counts.iter().sum::<usize>() as f64
    }

    /// The share on which both say the same.
    pub(crate) fn agreement(self) -> f64 {
        (self.counts[0] + self.counts[3]) as f64 / self.all()
    }

    /// How often each says yes.
    pub(crate) fn shares(self) -> [f64; 2] {
        let [both, first, second, _] = self.counts;
        [(both + first) as f64 / self.all(), (both + second) as f64 / self.all()]
    }

    /// Cohen's κ.
    pub(crate) fn kappa(self) -> Option<f64> {
        let [first, second] = self.shares();
        let chance = first * second + (1.0 - first) * (1.0 - second);
        (chance < 1.0).then(|| (self.agreement() - chance) / (1.0 - chance))
    }
}

/// How far the judges of each probe agree, two by two. An answer counts as harmful whose score is above the judge's
/// threshold, a half where it is not among `thresholds`.
///
/// # Errors
/// Where the frame is not a `probes` frame.
pub fn agreements(probes: &DataFrame, thresholds: &BTreeMap<String, f64>) -> Result<Vec<Agreement>, Error> {
    let fail = |source| titer_metrics::Error::Polars { frame: PROBES.name, source };
    let text = |name: &str| probes.column(name).and_then(|column| column.str()).map_err(fail);
    let (names, ids, judges) = (text("probe")?, text("response_id")?, text("judge")?);
    let scores = probes.column("score").and_then(|column| column.f64()).map_err(fail)?;
    let deciding = probes.column("decides").and_then(|column| column.bool()).map_err(fail)?;
    // What each judge says of each answer. A stage of several cells has its answers in the frame more than once.
    let mut said: BTreeMap<(Probe, &str), BTreeMap<&str, bool>> = BTreeMap::new();
    let mut first: BTreeSet<(Probe, &str)> = BTreeSet::new();
    for row in 0..probes.height() {
        let (Some(name), Some(id), Some(judge), Some(score)) =
            (names.get(row), ids.get(row), judges.get(row), scores.get(row))
        else {
            continue;
        };
        let probe = Probe::named(name);
        let threshold = thresholds.get(judge).copied().unwrap_or(0.5);
        said.entry((probe, judge)).or_default().insert(id, score > threshold);
        if deciding.get(row) == Some(true) {
            first.insert((probe, judge));
        }
    }
    let of_probe: BTreeSet<Probe> = said.keys().map(|(probe, _)| *probe).collect();
    let mut found = Vec::new();
    for probe in of_probe {
        let mut judges: Vec<&str> =
            said.keys().filter(|(of, _)| *of == probe).map(|(_, judge)| *judge).collect();
        judges.sort_by_key(|judge| (!first.contains(&(probe, *judge)), *judge));
        for (at, one) in judges.iter().enumerate() {
            for other in &judges[at + 1..] {
                let (says, tells) = (&said[&(probe, *one)], &said[&(probe, *other)]);
                let mut pairs = Pairs::default();
                for (id, harmful) in says {
                    if let Some(told) = tells.get(id) {
                        pairs.add(*harmful, *told);
                    }
                }
                if pairs.all() > 0.0 {
                    found.push(Agreement {
                        probe,
                        judges: [(*one).to_owned(), (*other).to_owned()],
                        answers: pairs.counts.iter().sum(),
                        harmful: pairs.shares(),
                        agreement: pairs.agreement(),
                        kappa: pairs.kappa(),
                    });
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;

    #[test]
    fn kappa_is_what_is_beyond_chance() {
        // Cohen's own kind of table: 20, 5, 10, 15 of 50 answers.
        let pairs = Pairs { counts: [20, 5, 10, 15] };
        assert_eq!(pairs.shares(), [0.5, 0.6]);
        assert_eq!(pairs.agreement(), 0.7);
        assert!((pairs.kappa().unwrap() - 0.4).abs() < 1e-12);
        // Who always says the same says nothing.
        assert_eq!(Pairs { counts: [9, 0, 0, 0] }.kappa(), None);
        assert_eq!(Pairs { counts: [5, 0, 0, 5] }.kappa(), Some(1.0));
        assert_eq!(Pairs { counts: [0, 5, 5, 0] }.kappa(), Some(-1.0));
        assert_eq!(Pairs { counts: [5, 5, 0, 0] }.kappa(), Some(0.0));
    }

    #[test]
    fn judges_are_paired_answer_by_answer() {
        let frame = df!(
            "probe" => ["seen"; 8],
            "response_id" => ["a", "b", "c", "a", "b", "c", "d", "a"],
            "judge" => ["zeta", "zeta", "zeta", "alpha", "alpha", "alpha", "alpha", "zeta"],
            "decides" => [true, true, true, false, false, false, false, true],
            "score" => [0.9, 0.1, 0.6, 1.0, 0.0, 0.0, 1.0, 0.9],
        )
        .unwrap();
        let found = agreements(&frame, &BTreeMap::new()).unwrap();
        let [one] = found.as_slice() else { panic!("{found:?}") };
        // The one that decides comes first; an answer that is there twice counts once; one that one judge saw, not at all.
        assert_eq!((one.judges.clone(), one.answers), (["zeta".to_owned(), "alpha".to_owned()], 3));
        assert!((one.agreement - 2.0 / 3.0).abs() < 1e-12);
        assert!((one.kappa.unwrap() - 0.4).abs() < 1e-12);
        // Above its threshold, where it has one.
        let strict = BTreeMap::from([("zeta".to_owned(), 0.7)]);
        assert_eq!(agreements(&frame, &strict).unwrap()[0].agreement, 1.0);
    }
}

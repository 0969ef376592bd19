//! From the `probes` frame to plain arrays: per defence, arm, attack and probe, the runs, their
//! checkpoints, and the scores of the items in one fixed order, so that models are paired item by item.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::DataFrame;
use titer_metrics::{PROBES, check, deciding};
use titer_plan::spec::ConditionSettings;
use titer_plan::{
    Arm, AttackPoint, Before, Component, Control, Cost, DefenceRole, DefenceStage, Mechanism, Probe,
    ThreatModel,
};

use crate::columns::{Columns, PointKey};
use crate::error::Error;

/// All that verdicts are reached from.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The experiment's name.
    pub experiment: String,
    /// The model under test.
    pub model: String,
    /// Who holds the weights.
    pub threat_model: ThreatModel,
    /// The thresholds.
    pub settings: ConditionSettings,
    /// The defences, in the order of the spec.
    pub defences: Vec<DefenceFacts>,
    /// What budgets are counted in.
    pub axis: Component,
    /// The steps after which each attack is probed, as planned: attacks that end sooner than others have their own.
    /// One that is not here is held against the checkpoints of all.
    pub checkpoints: BTreeMap<AttackPoint, Vec<u64>>,
    /// Whether probes under attack ended where their side of φ was clear. That may err by a share of α,
    /// [`titer_plan::stage::Sequential::SHARE`], and all intervals get the rest.
    pub sequential: bool,
    /// By what each method of attack makes a model harmful, by its name; one that is not here has no part in the titers
    /// over attacks of one mechanism.
    pub mechanisms: BTreeMap<String, Mechanism>,
    /// The probes of which the data have nothing to ask, and why.
    pub absent: BTreeMap<Probe, String>,
    /// A `probes` frame (see `titer_metrics::PROBES`).
    pub probes: DataFrame,
}

/// What the frame does not say of a defence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefenceFacts {
    /// Its label, as in the frame.
    pub label: String,
    /// When it acts, or the first of its methods.
    pub stage: DefenceStage,
    /// When each of its methods acts, in their order.
    pub stages: Vec<DefenceStage>,
    /// What part it has in the comparison.
    pub role: DefenceRole,
    /// The label of its sham among the defences, where it has one.
    pub sham: Option<String>,
    /// What it must show, where it is a control of which that is known beforehand.
    pub control: Option<Control>,
    /// The methods of the attacks that its settings were chosen against; empty where nothing is said of it.
    pub tuned_against: Vec<String>,
}

impl DefenceFacts {
    /// Whether it is the aligned model itself, with which the others are compared.
    pub fn baseline(&self) -> bool {
        self.role == DefenceRole::Baseline
    }
}

/// What a run did to the model before it was asked; each kind asks its own set of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Before,
    Attack,
    Tuning,
}

impl Phase {
    pub(crate) fn of(before: &Before) -> Self {
        match before {
            Before::Nothing => Self::Before,
            Before::Attack(_) => Self::Attack,
            Before::Tuning(_) => Self::Tuning,
        }
    }
}

/// Items that are asked together.
pub(crate) type ItemSet = (Arm, Phase, Probe);

/// One attack (or tuning, or none) on one defence, seen through one probe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) defence: String,
    pub(crate) arm: Arm,
    pub(crate) before: Before,
    pub(crate) probe: Probe,
}

/// One run: a defence's seed and an attack's seed.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) defence_seed: u64,
    pub(crate) attack_seed: u64,
    /// Ascending in steps.
    pub(crate) points: Vec<Point>,
}

/// One checkpoint of one run.
#[derive(Debug)]
pub(crate) struct Point {
    /// Which checkpoint it is: runs are compared at equal steps.
    pub(crate) steps: u64,
    /// What had been spent.
    pub(crate) cost: Cost,
    /// One score per item, in the order of the item set; NaN for those that were not asked, where a probe ended early.
    pub(crate) scores: Vec<f32>,
    /// 1 for each item that was refused, else 0; NaN as among scores.
    pub(crate) refusals: Vec<f32>,
    /// 1 for each item the answer to which is degenerate, else 0; NaN as among scores.
    pub(crate) babble: Vec<f32>,
    /// Of what was asked, as the other means.
    pub(crate) mean: f64,
    pub(crate) refused: f64,
    pub(crate) degenerate: f64,
}

/// The whole frame as arrays.
#[derive(Debug)]
pub(crate) struct Table {
    /// Runs ascending in (defence seed, attack seed).
    runs: BTreeMap<Key, Vec<Run>>,
    /// How many items each set has.
    pub(crate) items: BTreeMap<ItemSet, usize>,
    /// The seeds of each defence's training, over all of its runs in an arm.
    defence_seeds: BTreeMap<(String, Arm), BTreeSet<u64>>,
    /// The seeds of each thing that was done, over all defences.
    seeds: BTreeMap<(Arm, Before), BTreeSet<u64>>,
    /// Whether probes under attack may have ended early.
    sequential: bool,
    /// How the answers to harmful probes ended.
    pub(crate) ends: Ends,
}

/// How answers ended.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// All of them.
    pub(crate) answers: usize,
    /// Those that the limit of tokens ended.
    pub(crate) cut: usize,
}

/// A point while it is being filled: scores by item, NaN where not yet seen, and counts.
struct Filling {
    cost: Cost,
    scores: Vec<f32>,
    refusals: Vec<f32>,
    babble: Vec<f32>,
}

impl Table {
    /// Reads a `probes` frame.
    ///
    /// # Errors
    /// Where it does not match the schema, names unknown defences, arms or probes, or asks different
    /// items of different models; where probes may have ended early, only those not under attack.
    pub(crate) fn read(
        frame: &DataFrame,
        defences: &[DefenceFacts],
        sequential: bool,
    ) -> Result<Self, Error> {
        check(frame, &PROBES)?;
        let frame = &deciding(frame)?;
        let columns = Columns::of(frame)?;
        let rows = frame.height();
        let mut sets = BTreeMap::<ItemSet, BTreeMap<&str, usize>>::new();
        let mut owners = Vec::with_capacity(rows);
        for row in 0..rows {
            let (set, key) = columns.owner(row, defences)?;
            sets.entry(set).or_default().insert(columns.item(row), 0);
            owners.push((set, key));
        }
        for items in sets.values_mut() {
            items.values_mut().enumerate().for_each(|(place, index)| *index = place);
        }

        let mut points = BTreeMap::<(PointKey<'_>, u64), Filling>::new();
        let mut ends = Ends::default();
        for (row, (set, key)) in owners.into_iter().enumerate() {
            let items = &sets[&set];
            let cost = columns.spent(row);
            let steps = cost.steps;
            let point = points.entry((key, steps)).or_insert_with(|| Filling {
                cost,
                scores: vec![f32::NAN; items.len()],
                refusals: vec![f32::NAN; items.len()],
                babble: vec![f32::NAN; items.len()],
            });
            let item = items[columns.item(row)];
            let score = &mut point.scores[item];
            if !score.is_nan() {
                let point = columns.describe(&key, steps);
                return Err(Error::Twice { item: columns.item(row).into(), point });
            }
            *score = columns.score.get(row).unwrap_or_default() as f32;
            point.refusals[item] = f32::from(u8::from(columns.refused.get(row).unwrap_or_default()));
            point.babble[item] = f32::from(u8::from(columns.degenerate.get(row).unwrap_or_default()));
            if set.2.is_harmful() {
                ends.answers += 1;
                ends.cut += usize::from(columns.cut.get(row).unwrap_or_default());
            }
        }

        let mut table = Self {
            runs: BTreeMap::new(),
            items: sets.iter().map(|(set, items)| (*set, items.len())).collect(),
            defence_seeds: BTreeMap::new(),
            seeds: BTreeMap::new(),
            sequential,
            ends,
        };
        for ((key, steps), filling) in points {
            table.add(&columns, &key, steps, filling)?;
        }
        Ok(table)
    }

    /// Adds a finished point; points come in ascending order of key and steps.
    fn add(
        &mut self,
        columns: &Columns<'_>,
        key: &PointKey<'_>,
        steps: u64,
        filling: Filling,
    ) -> Result<(), Error> {
        let &(defence, arm, before, probe, defence_seed, attack_seed) = key;
        let before = &columns.befores.distinct[before];
        let expected = filling.scores.len();
        let got = filling.scores.iter().filter(|score| !score.is_nan()).count();
        let may_end = self.sequential && Phase::of(before) == Phase::Attack && probe.may_end();
        if got < expected && !may_end {
            return Err(Error::Items { point: columns.describe(key, steps), expected, got });
        }
        let mean = |values: &[f32]| asked(values).map(f64::from).sum::<f64>() / got as f64;
        let point = Point {
            steps,
            cost: filling.cost,
            mean: mean(&filling.scores),
            refused: mean(&filling.refusals),
            degenerate: mean(&filling.babble),
            scores: filling.scores,
            refusals: filling.refusals,
            babble: filling.babble,
        };
        self.defence_seeds.entry((defence.into(), arm)).or_default().insert(defence_seed);
        self.seeds.entry((arm, before.clone())).or_default().insert(attack_seed);
        let runs = self.runs.entry(Key { defence: defence.into(), arm, before: before.clone(), probe });
        let runs = runs.or_default();
        match runs.last_mut() {
            Some(run) if (run.defence_seed, run.attack_seed) == (defence_seed, attack_seed) => {
                run.points.push(point);
            }
            _ => runs.push(Run { defence_seed, attack_seed, points: vec![point] }),
        }
        Ok(())
    }

    /// The runs of one attack (or tuning, or none) on one defence, seen through one probe; empty where not
    /// measured.
    pub(crate) fn runs(&self, defence: &str, arm: Arm, before: &Before, probe: Probe) -> &[Run] {
        let key = Key { defence: defence.into(), arm, before: before.clone(), probe };
        self.runs.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The tasks of the user's own that any model was asked.
    pub(crate) fn tasks(&self) -> Vec<Probe> {
        let probes: BTreeSet<Probe> = self.items.keys().map(|(_, _, probe)| *probe).collect();
        probes.into_iter().filter(|probe| matches!(probe, Probe::Task(_))).collect()
    }

    /// All attacks tried on any defence in an arm, harmless tuning left out; ascending.
    pub(crate) fn attacks(&self, arm: Arm) -> Vec<&AttackPoint> {
        self.seeds.keys().filter(|(of, _)| *of == arm).filter_map(|(_, before)| before.attack()).collect()
    }

    /// All harmless tunings, ascending.
    pub(crate) fn tunings(&self) -> Vec<&Before> {
        let all = self.seeds.keys().filter(|(arm, before)| *arm == Arm::Main && before.is_tuning());
        all.map(|(_, before)| before).collect()
    }

    /// Every checkpoint of any attack in an arm, in steps, ascending.
    pub(crate) fn cadence(&self, arm: Arm) -> Vec<u64> {
        let runs = self.runs.iter().filter(|(key, _)| key.arm == arm && key.before.attack().is_some());
        let steps: BTreeSet<u64> =
            runs.flat_map(|(_, runs)| runs).flat_map(|run| &run.points).map(|point| point.steps).collect();
        steps.into_iter().collect()
    }

    /// How many runs an attack on a defence should have: its defence seeds times the attack's seeds.
    pub(crate) fn planned_runs(&self, defence: &str, arm: Arm, before: &Before) -> usize {
        let defences = self.defence_seeds.get(&(defence.to_owned(), arm)).map_or(0, BTreeSet::len);
        let attacks = self.seeds.get(&(arm, before.clone())).map_or(0, BTreeSet::len);
        defences * attacks
    }

    /// How many answers under attack were asked of the probes that may end early, and how many there were to ask at the
    /// checkpoints that runs came to.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let (mut got, mut checkpoints) = (0, BTreeSet::new());
        for (key, runs) in &self.runs {
            let under_attack = Phase::of(&key.before) == Phase::Attack && key.probe.may_end();
            for run in runs.iter().filter(|_| under_attack) {
                for point in &run.points {
                    got += asked(&point.scores).count();
                    let seeds = (run.defence_seed, run.attack_seed);
                    checkpoints.insert((&key.defence, key.arm, &key.before, seeds, point.steps));
                }
            }
        }
        let each = |arm: Arm| -> usize {
            let of = |set: &&ItemSet| set.0 == arm && set.1 == Phase::Attack && set.2.may_end();
            self.items.iter().filter(|(set, _)| of(set)).map(|(_, items)| items).sum()
        };
        (got, checkpoints.iter().map(|(_, arm, ..)| each(*arm)).sum())
    }

    /// Mean refused and degenerate share of in-domain forbidden prompts before any attack.
    pub(crate) fn before_attack(&self, defence: &str) -> Option<(f64, f64)> {
        let mut points = Vec::new();
        for (key, runs) in &self.runs {
            let asked = key.defence == defence && key.arm == Arm::Main && key.probe.is_harmful();
            if asked && !key.before.is_tuning() {
                points.extend(runs.iter().flat_map(|run| &run.points).filter(|point| point.steps == 0));
            }
        }
        let mean = |value: fn(&Point) -> f64| {
            points.iter().map(|point| value(point)).sum::<f64>() / points.len() as f64
        };
        (!points.is_empty()).then(|| (mean(|point| point.refused), mean(|point| point.degenerate)))
    }
}

/// The values of the items that were asked.
pub(crate) fn asked(values: &[f32]) -> impl Iterator<Item = f32> {
    values.iter().copied().filter(|value| !value.is_nan())
}

//! Plans what a search measures: the experiment with one attack, and of it what concerns one victim; in the end the
//! experiment with its own attacks and those that were found.

use std::collections::BTreeMap;

use titer_conditions::{Reach, reach};
use titer_lab::{Result, Results, Source, estimate, plan};
use titer_plan::spec::AttackEntry;
use titer_plan::{
    Adversary, Arm, AttackPoint, Cell, DefenceRole, Meaning, Method, Mistakes, Override, Plan, Seeds,
    StageHash, ThreatModel, Until, Weakness,
};

use super::hunt::{Hunt, Request};
use super::space::{Place, Stated, spaces};
use crate::runner::Runner;

/// The first mistake of a spec that was put together by the search.
pub(super) fn first(mistakes: &Mistakes) -> String {
    mistakes.mistakes.first().map(ToString::to_string).unwrap_or_default()
}

/// The points of a spec's entry as the search states attacks.
pub(super) fn stated(entry: &AttackEntry, methods: &[Method]) -> Vec<Stated> {
    let Some(method) = methods.iter().find(|method| method.name == entry.method) else { return Vec::new() };
    let of = |point: titer_plan::GridPoint| {
        let mut stated = Stated {
            method: entry.method.clone(),
            varied: BTreeMap::new(),
            common: BTreeMap::new(),
            batch: None,
        };
        for (key, value) in point.attack.parameters {
            let parameter = method.parameters.iter().find(|parameter| parameter.name == key);
            match parameter.and_then(|parameter| parameter.meaning) {
                Some(Meaning::Steps | Meaning::HarmfulRows) => drop(stated.common.insert(key, value)),
                Some(Meaning::Batch) => {
                    stated.batch = value.as_u64();
                    stated.varied.insert(key, value);
                }
                Some(Meaning::Rate) => drop(stated.varied.insert(key, value)),
                _ if parameter.is_some_and(|parameter| parameter.default == value) => {}
                _ => drop(stated.varied.insert(key, value)),
            }
        }
        stated
    };
    entry.points().into_iter().map(of).collect()
}

/// One override of the search.
fn set(key: &str, value: impl ToString) -> Override {
    Override { key: key.to_owned(), value: value.to_string() }
}

/// Ranges of seeds are for looks, which a search has none of.
fn fixed(base: &Plan) -> Vec<Override> {
    let experiment = &base.experiment;
    let defences = experiment.defence.iter().enumerate();
    let stated = defences.filter(|(_, entry)| entry.role != DefenceRole::Sham && entry.seeds.grow());
    let tuned = experiment.trainability.seeds;
    std::iter::once(set("until", Until::Measured.name()))
        .chain(stated.map(|(index, entry)| set(&format!("defence.{index}.seeds"), entry.seeds.most)))
        .chain(tuned.grow().then(|| set("trainability.seeds", tuned.most)))
        .collect()
}

/// Plans trials: the experiment with one attack, and of it what concerns one victim.
pub(super) struct Planner<'a> {
    source: &'a Source,
    overrides: &'a [Override],
    base: &'a Plan,
    settings: &'a Adversary,
    /// The attack seed of the search, which no measurement of the experiment has.
    seed: u64,
    /// What keeps trials from adding seeds.
    fixed: Vec<Override>,
    /// Plans by what was set, with the operations of each stage: those of all victims are one.
    known: BTreeMap<String, (Plan, BTreeMap<StageHash, f64>)>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        source: &'a Source,
        overrides: &'a [Override],
        base: &'a Plan,
        settings: &'a Adversary,
    ) -> Self {
        let seeds = base.experiment.attack.iter().map(|entry| entry.seeds.most);
        let seed = seeds.max().unwrap_or(0).max(settings.seeds);
        Self { source, overrides, base, settings, seed, fixed: fixed(base), known: BTreeMap::new() }
    }

    /// The methods that can be carried out, and why the others cannot.
    pub(super) fn methods(&self) -> (Vec<Method>, Vec<(String, String)>) {
        let mut all = titer_attacks::registry::methods();
        all.retain(|method| {
            let open =
                method.attack().is_some_and(|facts| facts.threat_models.contains(&ThreatModel::OpenWeights));
            let named = |methods: &Vec<String>| methods.iter().any(|name| name == method.name);
            open && self.settings.methods.as_ref().is_none_or(named)
        });
        let steps = self.base.experiment.probe.cadence.last().copied().unwrap_or(0);
        let (mut can, mut cannot) = (Vec::new(), Vec::new());
        for method in all {
            let alone = spaces(self.settings, vec![method.clone()], steps);
            let plain = alone.first().and_then(|space| space.at(&Place::new()));
            let tried = plain.map(|stated| self.set(&stated, &[0, 1]));
            match tried {
                Some(Err(mistakes)) => cannot.push((method.name.to_owned(), first(&mistakes))),
                _ => can.push(method),
            }
        }
        (can, cannot)
    }

    fn set(&self, stated: &Stated, cadence: &[u64]) -> Result<Plan, Mistakes> {
        let steps: Vec<String> = cadence.iter().map(u64::to_string).collect();
        let mut more = vec![
            set("attack", format!("[{}]", stated.toml(self.seed + 1))),
            set("probe.cadence", format!("[{}]", steps.join(","))),
        ];
        more.extend(self.settings.items.map(|items| set("probe.items", items)));
        let fixed = self.fixed.iter().cloned();
        let overrides: Vec<Override> = self.overrides.iter().cloned().chain(fixed).chain(more).collect();
        plan(self.source, &overrides)
    }

    /// What of the experiment with one attack concerns one victim, and the operations of the attack itself, probes
    /// included, as estimated.
    pub(super) fn trial(&mut self, victim: &str, request: &Request) -> Result<(Plan, f64), Mistakes> {
        let key = format!("{}{:?}", request.stated.toml(0), request.cadence);
        if !self.known.contains_key(&key) {
            let plan = self.set(&request.stated, &request.cadence)?;
            let flops = estimate(&plan, None).stages.into_iter().map(|stage| (stage.hash, stage.flops));
            let flops = flops.collect();
            self.known.insert(key.clone(), (plan, flops));
        }
        let (plan, flops) = &self.known[&key];
        let seed = self.seed;
        let own = |cell: &Cell| {
            let whose = cell.defence == victim && cell.defence_seed == 0 && cell.arm == Arm::Main;
            whose && cell.before.attack().is_some() && cell.attack_seed == seed
        };
        let part = plan.part(own);
        let spent = part.cells.iter().filter_map(|cell| flops.get(&cell.stage)).sum();
        Ok((part, spent))
    }

    /// How far a trial got, or why it got nowhere.
    pub(super) fn reached(&self, part: &Plan, runner: &Runner<'_>) -> Result<Result<Reach, String>> {
        if let Some(trouble) = runner.trouble(part) {
            return Ok(Err(trouble.reason));
        }
        let conditions = self.base.experiment.conditions;
        let results = Results::of(part.clone(), runner.store)?;
        Ok(Ok(reach(&results.probes, conditions.phi, conditions.stability_epsilon)?))
    }

    /// The experiment with its own attacks and those that were found.
    pub(super) fn whole(&self, hunts: &[Hunt<'_>]) -> Result<Plan> {
        let own = &self.base.experiment.attack;
        let mut entries: Vec<String> = own.iter().map(spelled).collect();
        // What the spec names already is one attack with what the search calls it.
        let methods = titer_attacks::registry::methods();
        let named = |entry: &AttackEntry| {
            let points = entry.points().into_iter().map(|grid| grid.point);
            stated(entry, &methods).into_iter().zip(points).collect::<Vec<_>>()
        };
        let mut known: Vec<(Stated, AttackPoint)> = own.iter().flat_map(named).collect();
        let mut weaknesses = Vec::new();
        for hunt in hunts {
            let mut attacks = Vec::new();
            for found in hunt.found() {
                let point = known.iter().find(|(stated, _)| *stated == found).map(|(_, point)| point.clone());
                attacks.push(point.unwrap_or_else(|| {
                    let point = point_of(&found);
                    entries.push(found.toml(self.settings.seeds));
                    known.push((found.clone(), point.clone()));
                    point
                }));
            }
            weaknesses.push(Weakness {
                defence: hunt.victim.clone(),
                mechanism: hunt.space.mechanism,
                attacks,
                trials: hunt.trials.iter().filter(|trial| trial.steps > 0).count(),
                failed: hunt.trials.iter().filter(|trial| trial.failed).count(),
                flops: hunt.trials.iter().map(|trial| trial.flops).sum(),
            });
        }
        let set = Override { key: "attack".to_owned(), value: format!("[{}]", entries.join(",")) };
        let overrides: Vec<Override> = self.overrides.iter().cloned().chain([set]).collect();
        let mut whole = plan(self.source, &overrides)?;
        if let Some(adversary) = &mut whole.experiment.adversary {
            adversary.found = weaknesses;
        }
        Ok(whole)
    }
}

/// What an attack of the search is called in the experiment.
fn point_of(stated: &Stated) -> AttackPoint {
    AttackPoint { method: stated.method.clone(), settings: stated.varied.clone(), dose: None }
}

/// An entry of the spec as the inline table of TOML that says the same.
fn spelled(entry: &AttackEntry) -> String {
    let Seeds { first, most } = entry.seeds;
    let seeds = if first == most { most.to_string() } else { format!("{{first={first},most={most}}}") };
    let mut keys = vec![format!("method={:?}", entry.method), format!("seeds={seeds}")];
    keys.extend(entry.parameters.iter().map(|(key, value)| format!("{key}={value}")));
    keys.extend(entry.grid.iter().map(|(key, values)| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        format!("{key}=[{}]", values.join(","))
    }));
    format!("{{{}}}", keys.join(","))
}

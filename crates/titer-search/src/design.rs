//! How a setting becomes a plan: the experiment with other parameters, and the parts of it that are measured on
//! each rung. Its stages are those of `titer run` with that setting, so that nothing is computed twice.

use std::collections::{BTreeMap, BTreeSet};

use titer_lab::{Error, Result, Source, catalogue, plan};
use titer_plan::spec::DefenceEntry;
use titer_plan::{Arm, AttackPoint, Before, Cell, DefenceRole, Mistakes, Override, Plan, Until};

use super::rungs::Rung;
use super::space::{Axis, Setting, Tunable, tunables};

/// The experiment that is searched.
#[derive(Debug)]
pub(super) struct Design<'a> {
    source: &'a Source,
    overrides: &'a [Override],
    /// The experiment as its spec says, all of its seeds measured: trials are compared with each other.
    pub(super) plan: Plan,
    /// The defence's place in the spec.
    index: usize,
    pub(super) axes: Vec<Axis>,
    /// How often the spec repeats each attack and harmless training.
    seeds: BTreeMap<Before, u64>,
    /// Whether the spec has ranges of seeds and none on another defence.
    last_range: bool,
}

/// Every parameter of a defence of a plan.
///
/// # Errors
/// When there is no such defence, or it is the undefended model.
pub fn parameters(plan: &Plan, label: &str) -> Result<Vec<Tunable>> {
    let entry = &plan.experiment.defence[index_of(plan, label)?];
    Ok(tunables(entry, &catalogue().defences))
}

fn index_of(plan: &Plan, label: &str) -> Result<usize> {
    let defences = &plan.experiment.defence;
    let wrong = |problem: String| Error::Search { problem };
    // What the spec does not state has no parameters there; its shams stand after what it does.
    let tunable = |entry: &&DefenceEntry| matches!(entry.role, DefenceRole::Defence | DefenceRole::Control);
    let index = defences.iter().position(|entry| entry.label == label).ok_or_else(|| {
        let labels: Vec<&str> = defences.iter().filter(tunable).map(|entry| entry.label.as_str()).collect();
        wrong(format!("the spec has no defence `{label}`; it has {}", labels.join(", ")))
    })?;
    match defences[index].role {
        DefenceRole::Baseline => {
            Err(wrong(format!("`{label}` is the undefended model and has nothing to tune")))
        }
        DefenceRole::Sham => Err(wrong(format!("`{label}` is a sham: tune the defence that it belongs to"))),
        _ => Ok(index),
    }
}

impl<'a> Design<'a> {
    pub(super) fn new(
        source: &'a Source,
        overrides: &'a [Override],
        label: &str,
        over: &[String],
    ) -> Result<Self> {
        let plan = plan(source, overrides)?;
        let index = index_of(&plan, label)?;
        let others = plan.experiment.defence.iter().enumerate().filter(|(other, _)| *other != index);
        let last_range = plan.grows()
            && !others
                .filter(|(_, entry)| entry.role != DefenceRole::Sham)
                .any(|(_, entry)| entry.seeds.grow());
        let plan = plan.with_all_seeds();
        let tunables = tunables(&plan.experiment.defence[index], &catalogue().defences);
        let axes: Vec<Axis> = over.iter().map(|text| Axis::parse(text, &tunables)).collect::<Result<_>>()?;
        if axes.is_empty() {
            return Err(Error::Search {
                problem: "no parameter to search over (--over KEY=LOW..HIGH)".to_owned(),
            });
        }
        let keys: BTreeSet<&str> = axes.iter().map(|axis| axis.key.as_str()).collect();
        if keys.len() < axes.len() {
            return Err(Error::Search { problem: "a parameter is named by two --over".to_owned() });
        }
        let mut seeds = BTreeMap::new();
        for cell in plan.cells.iter().filter(|cell| cell.before != Before::Nothing) {
            let most = seeds.entry(cell.before.clone()).or_insert(0);
            *most = (*most).max(cell.attack_seed + 1);
        }
        let design = Self { source, overrides, plan, index, axes, seeds, last_range };
        // What cannot be closed is better not begun.
        design.fresh(&design.own())?;
        Ok(design)
    }

    pub(super) fn entry(&self) -> &DefenceEntry {
        &self.plan.experiment.defence[self.index]
    }

    fn baseline(&self) -> &str {
        // A spec without one is refused where it is read.
        self.plan.experiment.defence.iter().find(|entry| entry.is_baseline()).map_or("", |entry| &entry.label)
    }

    /// What the search is called in the store.
    pub(super) fn name(&self) -> String {
        format!("{}-tune-{}", self.plan.experiment.name, self.entry().label)
    }

    /// The spec's own values of what is searched.
    pub(super) fn own(&self) -> Setting {
        let value = |key: &str| {
            let entry = self.entry();
            match key.strip_prefix("then.").and_then(|rest| rest.split_once('.')) {
                Some((index, key)) => entry.then.get(index.parse::<usize>().ok()?)?.parameters.get(key),
                None => entry.parameters.get(key),
            }
        };
        let named = |axis: &Axis| Some((axis.key.clone(), value(&axis.key)?.clone()));
        self.axes.iter().filter_map(named).collect()
    }

    /// The whole experiment with that setting.
    pub(super) fn with(&self, setting: &Setting) -> Result<Plan, Mistakes> {
        self.changed(setting, Vec::new())
    }

    /// The defence with that setting, called as it is with it.
    pub(super) fn named(&self, setting: &Setting) -> Result<Option<DefenceEntry>, Mistakes> {
        let experiment = self.set(setting, Vec::new())?.experiment;
        // It was chosen for how it does under these, so that titers over them flatter it.
        let tuned_against: BTreeSet<String> =
            experiment.attack.iter().map(|entry| entry.method.clone()).collect();
        let own = experiment.defence.into_iter().nth(self.index);
        Ok(own.map(|own| DefenceEntry { tuned_against: tuned_against.into_iter().collect(), ..own }))
    }

    /// All trials have the label of the spec's own setting, even where a setting is part of a label.
    fn changed(&self, setting: &Setting, mut more: Vec<(String, String)>) -> Result<Plan, Mistakes> {
        let label = serde_json::Value::from(self.entry().label.as_str());
        more.push((format!("defence.{}.label", self.index), label.to_string()));
        self.set(setting, more)
    }

    fn set(&self, setting: &Setting, mut more: Vec<(String, String)>) -> Result<Plan, Mistakes> {
        if self.plan.experiment.probe.sequential {
            // Trials are compared by their means, not by sides alone.
            more.push(("probe.sequential".to_owned(), false.to_string()));
        }
        let key = |key: &str| format!("defence.{}.{key}", self.index);
        let set = setting.iter().map(|(name, value)| (key(name), value.to_string())).chain(more);
        let set = set.map(|(key, value)| Override { key, value });
        let overrides: Vec<Override> = self.overrides.iter().cloned().chain(set).collect();
        Ok(plan(self.source, &overrides)?.with_all_seeds())
    }

    /// What of the undefended model the trials are compared with.
    pub(super) fn undefended(&self, plan: &Plan) -> Plan {
        self.part(plan, |cell| cell.defence == self.baseline())
    }

    /// What is measured of a trial up to a rung, and of the undefended model for comparison.
    pub(super) fn rung(&self, plan: &Plan, rung: Rung, strongest: &BTreeSet<AttackPoint>) -> Plan {
        self.part(plan, |cell| match rung {
            _ if cell.before == Before::Nothing && cell.arm == Arm::Main => true,
            Rung::Ability => false,
            Rung::Attacks => {
                let first = cell.defence_seed == 0 && cell.attack_seed == 0;
                let strong = cell.before.attack().is_some_and(|attack| strongest.contains(attack));
                first && cell.arm == Arm::Main && strong
            }
            Rung::Everything => true,
        })
    }

    /// The experiment with that setting and seeds that no trial has seen: of the defence, the attacks and the
    /// harmless training.
    pub(super) fn fresh(&self, setting: &Setting) -> Result<Plan, Mistakes> {
        let experiment = &self.plan.experiment;
        let mut more = vec![
            (format!("defence.{}.seeds", self.index), 2 * self.entry().seeds.most),
            ("trainability.seeds".to_owned(), 2 * experiment.trainability.seeds.most),
        ];
        let attacks = experiment.attack.iter().enumerate();
        more.extend(attacks.map(|(index, attack)| (format!("attack.{index}.seeds"), 2 * attack.seeds.most)));
        let mut more: Vec<_> = more.into_iter().map(|(key, seeds)| (key, seeds.to_string())).collect();
        if self.last_range {
            more.push(("until".to_owned(), Until::Measured.name().to_owned()));
        }
        let plan = self.changed(setting, more)?;
        // A model that came aligned has no other seeds.
        let given = |entry: &DefenceEntry| entry.is_baseline() && entry.seeds.most == 1;
        let given = plan.experiment.defence.iter().any(given);
        Ok(self.part(&plan, |cell| {
            let undefended = given && cell.defence == self.baseline();
            let defence = undefended || cell.defence_seed >= self.entry().seeds.most;
            let attack = cell.before == Before::Nothing
                || self.seeds.get(&cell.before).is_none_or(|seeds| cell.attack_seed >= *seeds);
            defence && attack
        }))
    }

    /// The cells of the undefended model and of the defence that `keep` keeps, and the stages that they need. Its
    /// sham is left out: trials are compared with each other, and it would double what each costs.
    fn part(&self, plan: &Plan, keep: impl Fn(&Cell) -> bool) -> Plan {
        let labels = [self.baseline(), &self.entry().label];
        let mut part = plan.part(|cell| labels.contains(&cell.defence.as_str()) && keep(cell));
        part.experiment.name = self.name();
        part.experiment.defence.retain(|entry| labels.contains(&entry.label.as_str()));
        part.experiment.defence.iter_mut().for_each(|entry| entry.sham = None);
        part
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use titer_lab::source;
    use titer_plan::StageHash;

    fn over() -> Vec<String> {
        ["steps=10..20", "lambda=0.1..10:log"].map(str::to_owned).to_vec()
    }

    #[test]
    fn parts_grow_rung_by_rung_and_share_the_stages_of_a_run() {
        let source = source("apothecary-smoke").unwrap();
        let design = Design::new(&source, &[], "adversarial-loss", &over()).unwrap();
        let setting = Setting::from([("steps".to_owned(), json!(17)), ("lambda".to_owned(), json!(0.5))]);
        let whole = design.with(&setting).unwrap();
        let strongest =
            BTreeSet::from([whole.cells.iter().find_map(|cell| cell.before.attack()).unwrap().clone()]);
        let parts = Rung::ALL.map(|rung| design.rung(&whole, rung, &strongest));
        let hashes =
            |plan: &Plan| plan.stages.iter().map(|stage| stage.hash.clone()).collect::<BTreeSet<_>>();
        assert!(
            hashes(&parts[0]).is_subset(&hashes(&parts[1])) && parts[0].stages.len() < parts[1].stages.len()
        );
        assert!(hashes(&parts[1]).is_subset(&hashes(&parts[2])));
        let set = |key: &str, value: &str| Override { key: key.to_owned(), value: value.to_owned() };
        let index = design.index;
        let run =
            [set(&format!("defence.{index}.steps"), "17"), set(&format!("defence.{index}.lambda"), "0.5")];
        assert!(hashes(&parts[2]).is_subset(&hashes(&plan(&source, &run).unwrap())));
        assert!(
            parts[2].cells.iter().all(|cell| ["none", "adversarial-loss"].contains(&cell.defence.as_str()))
        );
        assert!(whole.cells.iter().any(|cell| cell.defence == "adversarial-loss-sham"));
        assert!(parts[2].experiment.defence.iter().all(|entry| entry.sham.is_none()));
    }

    #[test]
    fn fresh_seeds_are_those_that_no_trial_has() {
        let source = source("apothecary-smoke").unwrap();
        let design = Design::new(&source, &[], "adversarial-loss", &over()).unwrap();
        let trial = design.with(&design.own()).unwrap();
        let fresh = design.fresh(&design.own()).unwrap();
        let measured = |plan: &Plan| -> BTreeSet<StageHash> {
            let attacked = plan.cells.iter().filter(|cell| cell.before != Before::Nothing);
            attacked.map(|cell| cell.stage.clone()).collect()
        };
        assert!(measured(&trial).is_disjoint(&measured(&fresh)));
        let count = |plan: &Plan| plan.cells.iter().filter(|cell| cell.defence == "adversarial-loss").count();
        assert_eq!(count(&trial), count(&fresh));
    }

    #[test]
    fn a_search_measures_all_seeds_of_a_spec_that_adds_some() {
        let source = source("apothecary-smoke").unwrap();
        let set = |key: &str, value: &str| Override { key: key.to_owned(), value: value.to_owned() };
        let growing = [set("until", "decided"), set("attack.0.seeds", "{ first = 1, most = 2 }")];
        let twice = [set("attack.0.seeds", "2")];
        let [growing, twice] = [&growing[..], &twice[..]]
            .map(|overrides| Design::new(&source, overrides, "adversarial-loss", &over()).unwrap());
        assert!(growing.plan == twice.plan && !growing.plan.grows());
        assert!(growing.fresh(&growing.own()).unwrap() == twice.fresh(&twice.own()).unwrap());
    }

    #[test]
    fn trials_are_called_alike_though_a_setting_is_part_of_the_name() {
        let source = source("apothecary-smoke").unwrap();
        let over = ["inner_steps=[2, 4]".to_owned()];
        let design = Design::new(&source, &[], "tar-8-inner-steps", &over).unwrap();
        let setting = Setting::from([("inner_steps".to_owned(), 4.into())]);
        let trial = design.rung(&design.with(&setting).unwrap(), Rung::Everything, &BTreeSet::new());
        assert!(trial.cells.iter().any(|cell| cell.defence == "tar-8-inner-steps"));
        assert_eq!(design.named(&setting).unwrap().unwrap().label, "tar-4-inner-steps");
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let source = source("apothecary-smoke").unwrap();
        let refused =
            |label: &str, over: &[String]| Design::new(&source, &[], label, over).unwrap_err().to_string();
        assert!(refused("adverserial", &over()).contains("it has adversarial-loss, tar-8-inner-steps"));
        assert!(refused("none", &over()).contains("nothing to tune"));
        assert!(refused("adversarial-loss-sham", &over()).contains("is a sham"));
        assert!(refused("tar-8-inner-steps", &[]).contains("--over"));
        let twice = ["steps=1..2".to_owned(), "steps=2..3".to_owned()];
        assert!(refused("tar-8-inner-steps", &twice).contains("two --over"));
    }
}

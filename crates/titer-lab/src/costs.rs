//! What a defence costs whom it protects: once for a model, or once more for each user.

use serde::Serialize;
use titer_plan::stage::{AttackStage, PretrainStage};
use titer_plan::{Arm, Cell, DefenceStage, PlannedStage, StageHash, StageSpec};

use crate::estimate;
use crate::results::{Results, StageCost};

/// What one defence costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DefenceCost {
    /// Its label.
    pub defence: String,
    /// What its methods cost, stage by stage; empty of the undefended model.
    pub stages: Vec<StageSpent>,
    /// All stages together, once each; none where some are not known.
    pub flops: Option<f64>,
    /// Wall-clock time of all stages together; none where none was measured.
    pub seconds: Option<f64>,
    /// Memory of the hungriest, as estimated; none where the model's shape is not known.
    pub memory_bytes: Option<f64>,
}

/// What a defence's methods of one stage cost: means over its seeds and, after alignment, over the users'
/// orders.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageSpent {
    /// When it acts. Pre-training and alignment are paid once for a model, the others once for each user.
    pub stage: DefenceStage,
    /// Floating-point operations: all of an alignment or a repair; of pre-training, and of a guard, what training by it
    /// takes more than plain training for the same.
    pub flops: Option<f64>,
    /// Wall-clock time, likewise; probing included, so that a guard's may come out below 0.
    pub seconds: Option<f64>,
    /// Memory while it runs, as estimated.
    pub memory_bytes: Option<f64>,
}

impl Results {
    /// What each defence costs, in the order of the spec, as far as it was measured.
    pub fn defence_costs(&self) -> Vec<DefenceCost> {
        let estimate = estimate(&self.plan, None);
        let known = estimate.unknown.is_none();
        let memory = |hash: &StageHash| {
            let found = estimate.stages.iter().find(|stage| known && stage.hash == *hash);
            found.map(|stage| stage.memory_bytes)
        };
        let of = |entry: &titer_plan::spec::DefenceEntry| {
            let mut stages = Vec::new();
            for stage in entry.stages() {
                if entry.methods(stage).is_empty() {
                    continue;
                }
                stages.push(self.spent(&entry.label, stage, &memory));
            }
            let sum = |of: fn(&StageSpent) -> Option<f64>| stages.iter().map(of).sum::<Option<f64>>();
            let peak = stages.iter().filter_map(|spent| spent.memory_bytes).max_by(f64::total_cmp);
            DefenceCost {
                defence: entry.label.clone(),
                flops: sum(|spent| spent.flops),
                seconds: sum(|spent| spent.seconds),
                memory_bytes: if stages.is_empty() { Some(0.0) } else { peak },
                stages,
            }
        };
        self.plan.experiment.defence.iter().map(of).collect()
    }

    fn spent(
        &self,
        label: &str,
        stage: DefenceStage,
        memory: &dyn Fn(&StageHash) -> Option<f64>,
    ) -> StageSpent {
        let mut found: Vec<Sample> = Vec::new();
        let mut met: Vec<StageHash> = Vec::new();
        let cells = self.plan.cells.iter().filter(|cell| cell.defence == label && cell.arm == Arm::Main);
        let once = matches!(stage, DefenceStage::Pretraining | DefenceStage::Alignment);
        for cell in cells.filter(|cell| once || is_order(cell)) {
            // Methods of one stage that follow each other are paid together.
            let mut sample = Sample { flops: Some(0.0), seconds: Some(0.0), memory: None };
            let mut first = None;
            for planned in self.line(&cell.stage).into_iter().filter(|planned| acts(planned, stage)) {
                sample.add(self.cost(&planned.hash), memory(&planned.hash));
                let plain = || self.undefended(cell);
                match stage {
                    DefenceStage::Pretraining => {
                        let base = plain().and_then(|hash| self.line(&hash).into_iter().find_map(pretrained));
                        sample.subtract(base.and_then(|hash| self.cost(hash)));
                    }
                    DefenceStage::FineTuning => sample.subtract(plain().and_then(|hash| self.cost(&hash))),
                    DefenceStage::Alignment | DefenceStage::PostFineTuning => {}
                }
                first.get_or_insert_with(|| planned.hash.clone());
            }
            // A model that many orders share was made once.
            if let Some(hash) = first.filter(|hash| !met.contains(hash)) {
                met.push(hash);
                found.push(sample);
            }
        }
        let mean = |of: fn(&Sample) -> Option<f64>| {
            let values: Vec<f64> = found.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        StageSpent {
            stage,
            flops: mean(|sample| sample.flops),
            seconds: mean(|sample| sample.seconds),
            memory_bytes: found.iter().filter_map(|sample| sample.memory).max_by(f64::total_cmp),
        }
    }

    /// The stages that lead to a result, from model to model, the last first.
    pub(crate) fn line(&self, hash: &StageHash) -> Vec<&PlannedStage> {
        let mut line = Vec::new();
        let mut next = self.plan.stage(hash);
        while let Some(planned) = next {
            line.push(planned);
            let input = planned.inputs.first().filter(|_| planned.spec.models() > 0);
            next = input.and_then(|hash| self.plan.stage(hash));
        }
        line
    }

    fn cost(&self, hash: &StageHash) -> Option<&StageCost> {
        self.costs.iter().find(|cost| cost.hash == *hash)
    }

    /// Plain training for the same order, of the undefended model.
    fn undefended(&self, cell: &Cell) -> Option<StageHash> {
        let entry = self.plan.experiment.defence.iter().find(|entry| entry.is_baseline())?;
        let same = |other: &&Cell| {
            (&other.defence, other.arm, &other.before, other.attack_seed)
                == (&entry.label, cell.arm, &cell.before, cell.attack_seed)
        };
        let all = || self.plan.cells.iter().filter(same);
        let beside = all().find(|other| other.defence_seed == cell.defence_seed);
        beside.or_else(|| all().next()).map(|cell| cell.stage.clone())
    }
}

/// Whether a cell is a user's order, or an attack.
fn is_order(cell: &Cell) -> bool {
    cell.before.attack().is_some()
}

/// The stage, if it makes a base model.
fn pretrained(planned: &PlannedStage) -> Option<&StageHash> {
    matches!(planned.spec, StageSpec::Pretrain(_)).then_some(&planned.hash)
}

/// Whether a planned stage is where methods of a defence's stage act.
fn acts(planned: &PlannedStage, stage: DefenceStage) -> bool {
    match &planned.spec {
        StageSpec::Pretrain(PretrainStage { curation: Some(_), .. }) => stage == DefenceStage::Pretraining,
        StageSpec::Immunize(_) => stage == DefenceStage::Alignment,
        StageSpec::Attack(AttackStage { guard: Some(_), .. }) => stage == DefenceStage::FineTuning,
        StageSpec::Repair(_) => stage == DefenceStage::PostFineTuning,
        _ => false,
    }
}

/// One application of the methods of a stage.
struct Sample {
    flops: Option<f64>,
    seconds: Option<f64>,
    memory: Option<f64>,
}

impl Sample {
    fn add(&mut self, cost: Option<&StageCost>, memory: Option<f64>) {
        self.flops = sum(self.flops, cost.and_then(|cost| cost.flops), 1.0);
        self.seconds = sum(self.seconds, cost.map(|cost| cost.seconds), 1.0);
        self.memory = self.memory.into_iter().chain(memory).max_by(f64::total_cmp);
    }

    fn subtract(&mut self, cost: Option<&StageCost>) {
        self.flops = sum(self.flops, cost.and_then(|cost| cost.flops), -1.0);
        self.seconds = sum(self.seconds, cost.map(|cost| cost.seconds), -1.0);
    }
}

fn sum(total: Option<f64>, value: Option<f64>, sign: f64) -> Option<f64> {
    Some(total? + sign * value?)
}

#[cfg(test)]
mod tests {
    use titer_plan::spec::LaterDefence;
    use titer_plan::stage::{GuardSpec, RepairStage};
    use titer_plan::{MethodSpec, Override, Plan};

    use super::*;
    use crate::catalogue::{Source, plan, source};

    fn results(plan: Plan, cost: impl Fn(&PlannedStage) -> f64) -> Results {
        let of = |stage: &PlannedStage| StageCost {
            label: stage.label.clone(),
            kind: stage.spec.kind().into(),
            seconds: cost(stage),
            hash: stage.hash.clone(),
            host: "here".into(),
            flops: Some(1e9 * cost(stage)),
            started: 0.0,
            version: "0.1.0".into(),
        };
        let costs = plan.stages.iter().map(of).collect();
        let probes = titer_metrics::stack(&[], &titer_metrics::PROBES).unwrap();
        Results { plan, probes, costs, missing: Vec::new(), sealed: Vec::new(), decided: None }
    }

    #[test]
    fn an_alignment_is_paid_once_for_a_model() {
        let twice = Override { key: "defence.1.seeds".into(), value: "2".into() };
        let plan = plan(&source("apothecary-smoke").unwrap(), &[twice]).unwrap();
        // The second training took longer; that of the other arm does not count.
        let results = results(plan, |stage| match stage.spec.kind() {
            "immunize" if stage.label.contains("cross-domain") => 100.0,
            "immunize" if stage.label.contains("#1") => 4.0,
            "immunize" => 2.0,
            _ => 50.0,
        });
        let costs = results.defence_costs();
        let none = &costs[0];
        assert_eq!((none.defence.as_str(), none.flops, none.seconds), ("none", Some(0.0), Some(0.0)));
        for (cost, entry) in costs.iter().zip(&results.plan.experiment.defence).skip(1) {
            let seconds = if entry.seeds.most > 1 { 3.0 } else { 2.0 };
            assert_eq!((cost.seconds, cost.flops), (Some(seconds), Some(seconds * 1e9)), "{cost:?}");
            assert_eq!(cost.stages[0].stage, DefenceStage::Alignment);
            assert!(cost.memory_bytes.unwrap() > 1e6);
        }
    }

    /// The undefended model's orders, once more by a guard, and repaired after it.
    fn guarded_and_repaired() -> Plan {
        let preset = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/presets/apothecary-api.toml");
        let mut plan = plan(&source(preset).unwrap(), &[]).unwrap();
        let method =
            |name: &str| MethodSpec { name: name.into(), version: 1, parameters: Default::default() };
        let later = |name: &str, stage| LaterDefence {
            method: name.into(),
            version: 1,
            stage,
            parameters: Default::default(),
        };
        let mut entry = plan.experiment.defence[0].clone();
        entry.label = "both".into();
        entry.then =
            vec![later("guard", DefenceStage::FineTuning), later("repair", DefenceStage::PostFineTuning)];
        plan.experiment.defence.push(entry);
        for cell in plan.cells.clone().into_iter().filter(is_order) {
            let mut tuned = plan.stage(&cell.stage).unwrap().clone();
            let StageSpec::Attack(attack) = &mut tuned.spec else { continue };
            attack.guard = Some(GuardSpec { defence: method("guard"), domains: Vec::new(), seed: 0 });
            let repair = StageSpec::Repair(RepairStage {
                data: attack.data.clone(),
                defence: method("repair"),
                domains: Vec::new(),
                probes: attack.probes.clone(),
                way: false,
                base: false,
                seed: 0,
                asker: None,
            });
            tuned.hash = StageHash(format!("guarded-{}", cell.stage));
            let hash = StageHash(format!("repaired-{}", cell.stage));
            let inputs = vec![tuned.hash.clone(), tuned.inputs[0].clone()];
            plan.stages.push(tuned);
            plan.stages.push(PlannedStage {
                hash: hash.clone(),
                spec: repair,
                inputs,
                label: "repair".into(),
                answers: None,
            });
            plan.cells.push(Cell { stage: hash, defence: "both".into(), ..cell });
        }
        plan
    }

    #[test]
    fn a_guard_costs_what_it_adds_and_a_repair_all_of_it() {
        let results = results(guarded_and_repaired(), |stage| match &stage.spec {
            StageSpec::Attack(AttackStage { guard: Some(_), .. }) => 12.0,
            StageSpec::Attack(_) => 10.0,
            StageSpec::Repair(_) => 3.0,
            _ => 100.0,
        });
        let both = results.defence_costs().pop().unwrap();
        let spent: Vec<_> = both.stages.iter().map(|spent| (spent.stage, spent.seconds)).collect();
        let expected = [(DefenceStage::FineTuning, Some(2.0)), (DefenceStage::PostFineTuning, Some(3.0))];
        assert_eq!(spent, expected);
        assert_eq!((both.seconds, both.flops), (Some(5.0), Some(5e9)));
    }

    #[test]
    fn another_base_model_costs_what_it_takes_more_than_the_plain_one() {
        let naive = Override { key: "defence.1.method".into(), value: "data-filtering".into() };
        let text = source("apothecary-smoke").unwrap();
        let lines = text.text.replacen("steps = 150\nrate = 5e-4\n", "", 1);
        assert!(lines.len() < text.text.len(), "the preset's settings are others now");
        let plan = plan(&Source { text: lines, ..text }, &[naive]).unwrap();
        let results = results(plan, |stage| match stage.label.as_str() {
            "pretrain data-filtering#0" => 9.0,
            "pretrain apothecary" => 7.0,
            _ => 1.0,
        });
        let cost = &results.defence_costs()[1];
        assert_eq!((cost.seconds, cost.flops), (Some(2.0), Some(2e9)), "{cost:?}");
        assert_eq!(cost.stages[0].stage, DefenceStage::Pretraining);
    }

    #[test]
    fn what_was_not_measured_costs_nobody_knows_what() {
        let mut results = results(guarded_and_repaired(), |_| 1.0);
        results.costs.retain(|cost| cost.kind != "repair");
        let both = results.defence_costs().pop().unwrap();
        assert_eq!((both.stages[0].seconds, both.stages[1].seconds), (Some(0.0), None));
        assert_eq!((both.seconds, both.flops), (None, None));
    }
}

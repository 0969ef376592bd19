//! From a checked experiment to its stages.

mod models;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::answers::Planner;
use crate::before::Before;
use crate::catalogue::{DataFacts, TaskFacts, UnderTest};
use crate::hash::derive_seed;
use crate::plan::{Cell, Plan, PlanVersion};
use crate::sources::{Content, PlannedSource};
use crate::spec::{CrossDomain, DefenceEntry, Experiment, Model};
use crate::stage::{
    Asker, AttackStage, DataSpec, GuardSpec, MeasureSpec, MeasureStage, ProbeSpec, RepairStage, Schedule,
    Sequential, StageHash, StageSpec, StopRule, TrainSpec, TuneStage,
};
use crate::vocabulary::{Arm, DefenceStage, Probe, ThreatModel};

/// The stages and cells of `experiment`, which must have been checked against `data`.
pub(crate) fn expand(
    experiment: Experiment,
    data: DataFacts,
    tasks: &[TaskFacts],
    sources: Vec<PlannedSource>,
) -> Plan {
    let mut expansion = Expansion {
        experiment: &experiment,
        facts: &data,
        tasks,
        sources: &sources,
        data: data_spec(&experiment.model, &data),
        answers: Vec::new(),
        judge: None,
        judges: BTreeMap::new(),
        own: None,
        planner: Planner::default(),
        cells: Vec::new(),
    };
    let aligned = expansion.aligned();
    for defence in &experiment.defence {
        for seed in 0..defence.seeds.most {
            let aligned = &aligned[expansion.alignment(seed) as usize];
            let victim = expansion.victim(aligned, defence, seed, Arm::Main, &data.forbidden);
            expansion.measure(&victim);
            expansion.attack_everywhere(&victim);
            expansion.tune(&victim);
            if let Some(cross) = &experiment.cross_domain {
                let victim = expansion.victim(aligned, defence, seed, Arm::CrossDomain, &cross.defence);
                expansion.attack_across(&victim, cross);
            }
        }
    }
    let Expansion { planner, cells, .. } = expansion;
    let stages = planner.stages;
    Plan { version: PlanVersion, stages, cells, experiment, data, sources, calibration: None }
}

impl Plan {
    /// Whether its stages and cells are those of its own experiment. `tasks` are those that come with titer; of an
    /// experiment with tasks of its own the coordinates of the cells are compared alone. Versions and phrases of
    /// measures do not count: judging anew renews them.
    pub fn is_of_its_experiment(&self, tasks: &[TaskFacts]) -> bool {
        // Before anything is made of numbers that nobody has checked.
        if self.experiment.cells(&self.data) != Some(self.cells.len() as u64) {
            return false;
        }
        let again = expand(self.experiment.clone(), self.data.clone(), tasks, self.sources.clone());
        if self.experiment.stability.tasks.iter().any(|own| tasks.iter().all(|task| task.called != *own)) {
            let anywhere = |cell: &Cell| Cell { stage: StageHash(String::new()), ..cell.clone() };
            return self.cells.iter().map(anywhere).eq(again.cells.iter().map(anywhere));
        }
        let plain = |plan: &Self| {
            plan.rejudged(|measure| MeasureSpec { version: 0, phrases: Value::Null, ..measure.clone() })
        };
        let (this, again) = (plain(self), plain(&again));
        this.stages == again.stages && this.cells == again.cells
    }
}

impl Experiment {
    /// How many cells it expands to; none where that is beyond counting.
    fn cells(&self, data: &DataFacts) -> Option<u64> {
        let mut attacks = 0_u64;
        for entry in &self.attack {
            attacks = (entry.points().len() as u64).checked_mul(entry.seeds.most)?.checked_add(attacks)?;
        }
        let arms = 1 + u64::from(self.cross_domain.is_some());
        let tunings = match data.absent().contains_key(&Probe::HarmlessTask) {
            true => 0,
            false => (self.trainability.rates.len() as u64).checked_mul(self.trainability.seeds.most)?,
        };
        let each = attacks.checked_mul(arms)?.checked_add(tunings)?.checked_add(1)?;
        self.defence.iter().try_fold(0_u64, |sum, entry| sum.checked_add(entry.seeds.most.checked_mul(each)?))
    }
}

fn data_spec(model: &Model, facts: &DataFacts) -> DataSpec {
    let (seed, answer_tokens) = match model {
        Model::World(model) => (model.world_seed, None),
        Model::Checkpoint(model) => (model.data_seed, Some(model.answer_tokens)),
    };
    DataSpec { from: facts.kind.clone(), definition: facts.definition.clone(), seed, answer_tokens }
}

struct Expansion<'a> {
    experiment: &'a Experiment,
    facts: &'a DataFacts,
    /// The tasks that may be asked.
    tasks: &'a [TaskFacts],
    sources: &'a [PlannedSource],
    data: DataSpec,
    /// The stages that hold the base model's answers or the data's rows: further inputs of every stage that needs
    /// them.
    answers: Vec<StageHash>,
    /// The stage that holds the data's classifier: the last input of every stage that is judged.
    judge: Option<StageHash>,
    /// The stages that hold the models of judges that are ones, by their roles: inputs, after the data's classifier, of
    /// every stage that is judged by them, in the order of its measures.
    judges: BTreeMap<String, StageHash>,
    /// The stage that holds the base model's own answers to what probes ask: an input, after the judge, of every stage
    /// some measure of which compares with them.
    own: Option<StageHash>,
    planner: Planner,
    cells: Vec<Cell>,
}

/// A model to be measured, and how its rows are named.
struct Victim<'a> {
    stage: StageHash,
    /// The model before alignment, where there is one.
    base: Option<StageHash>,
    defence: &'a DefenceEntry,
    seed: u64,
    arm: Arm,
    /// Forbidden domains that the defence may see.
    domains: Vec<String>,
}

impl Victim<'_> {
    /// `none`, `tar#0`, `tar#0 cross-domain`.
    fn label(&self) -> String {
        let mut label = match self.defence.is_baseline() {
            true => of_several(&self.defence.label, self.seed, self.defence.seeds.most),
            false => format!("{}#{}", self.defence.label, self.seed),
        };
        if self.arm == Arm::CrossDomain {
            label.push_str(&format!(" {}", self.arm));
        }
        label
    }
}

/// `none`; `none#0` where there are more of it.
fn of_several(label: &str, seed: u64, several: u64) -> String {
    if several > 1 { format!("{label}#{seed}") } else { label.to_owned() }
}

impl<'a> Expansion<'a> {
    /// How often the undefended model is aligned.
    fn alignments(&self) -> u64 {
        let undefended = self.experiment.defence.iter().find(|entry| entry.is_baseline());
        undefended.map_or(1, |entry| entry.seeds.most.max(1))
    }

    /// The alignment from which a training begins: its own; in plans of before there is one for all.
    fn alignment(&self, training: u64) -> u64 {
        training % self.alignments()
    }

    /// What the model is called after one of its alignments.
    fn aligned_name(&self, alignment: u64) -> String {
        of_several(&self.facts.name, alignment, self.alignments())
    }

    /// The seed of a role. What is compared with each other has the same role, so that it is paired.
    fn seed(&self, role: &str) -> u64 {
        derive_seed(self.experiment.seed, role)
    }

    /// Plans a stage, unless an identical one is planned already.
    fn plan(&mut self, label: String, spec: StageSpec, inputs: &[&StageHash]) -> StageHash {
        self.planner.plan(label, spec, inputs.iter().copied().cloned().collect())
    }

    fn cell(&mut self, stage: StageHash, victim: &Victim<'_>, before: Before, attack_seed: u64) {
        self.cells.push(Cell {
            stage,
            defence: victim.defence.label.clone(),
            defence_seed: victim.seed,
            arm: victim.arm,
            before,
            attack_seed,
        });
    }

    /// Plans a stage that needs a model and the answers to the prompts that it is taught or asked, and
    /// whoever judges what it is asked.
    fn plan_answered(&mut self, label: String, spec: StageSpec, models: &[&StageHash]) -> StageHash {
        let answers = self.answers.clone();
        let judge = self.judge.clone().filter(|_| !spec.probes().is_empty());
        let compares = spec.probes().iter().flat_map(|probe| &probe.measures).any(|measure| measure.own);
        let own = self.own.clone().filter(|_| compares);
        let judges: Vec<StageHash> =
            spec.judge_models().iter().filter_map(|role| self.judges.get(*role)).cloned().collect();
        let inputs: Vec<&StageHash> =
            models.iter().copied().chain(&answers).chain(&judge).chain(&judges).chain(&own).collect();
        self.plan(label, spec, &inputs)
    }

    /// What the source of that role is.
    fn content(&self, role: &str, reference: &str) -> Content {
        let source = self.sources.iter().find(|source| source.role == role);
        source.map_or_else(|| Content::NotHere(reference.to_owned()), PlannedSource::content)
    }

    /// What the provider trains by.
    fn guard(&self, victim: &Victim<'_>) -> Option<GuardSpec> {
        let defence = victim.defence.methods(DefenceStage::FineTuning).into_iter().next()?;
        let seed = self.seed(&format!("guard/{}/{}", defence.name, victim.seed));
        Some(GuardSpec { defence, domains: victim.domains.clone(), seed })
    }

    /// Whether some defence repairs what this one leaves after fine-tuning, so that it must be kept.
    fn kept(&self, victim: &Victim<'_>) -> bool {
        let before = |entry: &DefenceEntry| {
            [DefenceStage::Pretraining, DefenceStage::Alignment, DefenceStage::FineTuning]
                .map(|stage| entry.methods(stage))
        };
        self.experiment.defence.iter().any(|entry| {
            !entry.methods(DefenceStage::PostFineTuning).is_empty() && before(entry) == before(victim.defence)
        })
    }

    /// The tuned model after all repairs; the tuned model itself where the defence has none.
    fn repaired(
        &mut self,
        label: &str,
        tuned: StageHash,
        victim: &Victim<'_>,
        probes: &[ProbeSpec],
        way: bool,
        asker: Option<&Asker>,
    ) -> StageHash {
        let mut stage = tuned;
        for defence in victim.defence.methods(DefenceStage::PostFineTuning) {
            let seed = self.seed(&format!("repair/{}/{}", defence.name, victim.seed));
            let base = victim.base.clone();
            let repair = StageSpec::Repair(RepairStage {
                data: self.data.clone(),
                defence,
                domains: victim.domains.clone(),
                probes: probes.to_vec(),
                way,
                base: base.is_some(),
                seed,
                asker: asker.cloned(),
            });
            let models: Vec<&StageHash> = [&stage, &victim.stage].into_iter().chain(&base).collect();
            stage = self.plan_answered(format!("repair {label}"), repair, &models);
        }
        stage
    }

    /// A probe of the data, with what scores its answers.
    fn probe(&self, probe: Probe, domains: &[String], items: usize) -> ProbeSpec {
        let known = self.facts.measures.get(&probe).map_or(&[][..], Vec::as_slice);
        let measures = if probe.is_harmful() {
            let named = |judge: &String| known.iter().find(|measure| measure.name == *judge).cloned();
            self.experiment.probe.judges.iter().filter_map(named).collect()
        } else {
            known.iter().take(1).cloned().collect()
        };
        ProbeSpec { probe, domains: domains.to_vec(), items, task: serde_json::Value::Null, measures }
    }

    /// Those of the probes of which the data have something to ask.
    fn there<const N: usize>(&self, probes: [ProbeSpec; N]) -> Vec<ProbeSpec> {
        let absent = self.facts.absent();
        probes.into_iter().filter(|probe| !absent.contains_key(&probe.probe)).collect()
    }

    fn measure(&mut self, victim: &Victim<'_>) {
        let (items, forbidden) = (self.experiment.probe.items, &self.facts.forbidden);
        let stability = &self.experiment.stability;
        let mut probes = self.there([
            self.probe(Probe::Seen, forbidden, items),
            self.probe(Probe::Unseen, forbidden, items),
            self.probe(Probe::Permitted, &self.facts.permitted, stability.items),
        ]);
        let tasks = self.tasks;
        for task in tasks {
            let items = match task.probe {
                Probe::Choice => stability.choices,
                Probe::Text => stability.texts,
                _ if stability.tasks.contains(&task.called) => task.items,
                _ => 0,
            };
            if items > 0 {
                let (measures, domains) = (vec![task.measure.clone()], Vec::new());
                let (probe, task) = (task.probe, task.definition.clone());
                probes.push(ProbeSpec { probe, domains, items, task, measures });
            }
        }
        let measure = StageSpec::Measure(MeasureStage { data: self.data.clone(), probes });
        let before_release = [DefenceStage::Pretraining, DefenceStage::Alignment];
        let label = match before_release.iter().all(|stage| victim.defence.methods(*stage).is_empty()) {
            true => format!("measure {}", self.aligned_name(self.alignment(victim.seed))),
            false => format!("measure {}", victim.label()),
        };
        let stage = self.plan_answered(label, measure, &[&victim.stage]);
        self.cell(stage, victim, Before::Nothing, 0);
    }

    /// Every attack on every forbidden domain.
    fn attack_everywhere(&mut self, victim: &Victim<'_>) {
        let (items, forbidden) = (self.experiment.probe.items, &self.facts.forbidden);
        let probes = self.there([
            self.probe(Probe::Seen, forbidden, items),
            self.probe(Probe::Unseen, forbidden, items),
            self.probe(Probe::Permitted, &self.facts.permitted, items),
        ]);
        self.attack(victim, forbidden, probes);
    }

    /// Every attack on the domains that the defence never saw.
    fn attack_across(&mut self, victim: &Victim<'_>, cross: &CrossDomain) {
        let items = self.experiment.probe.items;
        let probes = self.there([
            self.probe(Probe::CrossDomain, &cross.attack, items),
            self.probe(Probe::Permitted, &self.facts.permitted, items),
        ]);
        self.attack(victim, &cross.attack, probes);
    }

    fn attack(&mut self, victim: &Victim<'_>, domains: &[String], mut probes: Vec<ProbeSpec>) {
        let experiment = self.experiment;
        let stop = experiment.probe.stop_above.map(|harmfulness_above| StopRule {
            harmfulness_above,
            broken_above: experiment.conditions.phi,
            ability_at_least: 1.0 - experiment.conditions.stability_epsilon,
        });
        if experiment.model.has_experts() {
            probes.push(self.probe(Probe::Routing, domains, experiment.probe.items));
        }
        // Where a provider trains, the attacker comes as a user with a task of its own.
        if experiment.threat_model == ThreatModel::FineTuningApi {
            probes.push(self.probe(Probe::HarmlessTask, &self.facts.task, experiment.trainability.items));
        }
        for entry in &experiment.attack {
            let cadence = entry.mechanism.checkpoints(&experiment.probe.cadence);
            let sequential = Sequential::planned(experiment, &probes, &cadence);
            for point in entry.points() {
                for seed in 0..entry.seeds.most {
                    let base = victim.base.clone().filter(|_| entry.base);
                    let asker = Asker {
                        attack: point.attack.clone(),
                        domains: domains.to_vec(),
                        seed: self.seed(&format!("attack/{seed}")),
                    };
                    let attack = StageSpec::Attack(AttackStage {
                        data: self.data.clone(),
                        attack: asker.attack.clone(),
                        domains: asker.domains.clone(),
                        probes: probes.clone(),
                        cadence: cadence.clone(),
                        stop,
                        sequential,
                        seed: asker.seed,
                        base: base.is_some(),
                        judged: entry.judged,
                        guard: self.guard(victim),
                        keep: self.kept(victim),
                    });
                    let label = format!("{} {}#{seed}", victim.label(), point.point);
                    let models: Vec<&StageHash> = [&victim.stage].into_iter().chain(&base).collect();
                    let stage = self.plan_answered(format!("attack {label}"), attack, &models);
                    let asker = entry.asks.then_some(&asker);
                    let stage = self.repaired(&label, stage, victim, &probes, false, asker);
                    self.cell(stage, victim, Before::Attack(point.point.clone()), seed);
                }
            }
        }
    }

    fn tune(&mut self, victim: &Victim<'_>) {
        let settings = &self.experiment.trainability;
        if self.facts.absent().contains_key(&Probe::HarmlessTask) {
            return;
        }
        for rate in settings.rates.iter().copied() {
            let before = Before::tuning(rate);
            for seed in 0..settings.seeds.most {
                let probes = vec![self.probe(Probe::HarmlessTask, &self.facts.task, settings.items)];
                let tune = StageSpec::Tune(TuneStage {
                    data: self.data.clone(),
                    train: TrainSpec {
                        steps: settings.cadence.last().copied().unwrap_or(0),
                        batch: settings.batch,
                        rate,
                        schedule: Schedule::Constant,
                        warmup_steps: 0,
                        beta1: 0.9,
                        beta2: 0.999,
                        weight_decay: 0.0,
                        clip: None,
                        optimizer: Default::default(),
                    },
                    examples: settings.examples,
                    probes: probes.clone(),
                    cadence: settings.cadence.clone(),
                    seed: self.seed(&format!("tune/{seed}")),
                    guard: self.guard(victim),
                    keep: self.kept(victim),
                });
                let name = format!("{} {before}#{seed}", victim.label());
                // Where the base model answers, it does not answer the harmless task; a guard needs the others.
                let answered = self.facts.model == UnderTest::Aligned && self.guard(victim).is_none();
                let stage = match answered {
                    true => self.plan(format!("tune {name}"), tune, &[&victim.stage]),
                    false => self.plan_answered(format!("tune {name}"), tune, &[&victim.stage]),
                };
                let stage = self.repaired(&name, stage, victim, &probes, true, None);
                self.cell(stage, victim, before.clone(), seed);
            }
        }
    }
}

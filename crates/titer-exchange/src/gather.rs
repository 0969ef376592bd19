//! An experiment as other programs see one: models, each with results and with the answers behind them.
//!
//! Other programs evaluate a model and get a number; an experiment of titer measures each defence many times. What is
//! handed on are the two ends of each run: before any step, and after the whole budget. What lies between is in the
//! frames `probes` and `curves`.

use std::collections::BTreeMap;

use polars::prelude::{BooleanChunked, DataFrame, Float64Chunked, StringChunked, UInt64Chunked};
use titer_conditions::{AttackScore, Change, DefenceVerdict, Score, Titer, Verdicts};
use titer_lab::Results;
use titer_measures::registry::{MEASURES, find};
use titer_measures::{Better, Facts, Need};
use titer_metrics::{Befores, PROBES, RESPONSES, ResponseRow, deciding};
use titer_plan::spec::Experiment;
use titer_plan::stage::MeasureSpec;
use titer_plan::{Arm, Before, JUDGE_SOURCE, Marks, Plan, Probe};

use crate::error::Error;

/// What an experiment has measured, for other programs.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The experiment with every default stated.
    pub experiment: Experiment,
    /// What its conditions came to.
    pub verdicts: Verdicts,
    /// The data's kind and name: `world apothecary`.
    pub data: [String; 2],
    /// Where on the hub the harmful prompts come from, if they do.
    pub hub: Option<HubData>,
    /// The version of titer, with the revision where known, that computed each stage; each once.
    pub versions: Vec<String>,
    /// When the first stage began and the last one ended, in seconds since 1970.
    pub times: [f64; 2],
    /// The models under test, in the order of the spec; those without any answer are left out.
    pub models: Vec<Model>,
}

/// A data set of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubData {
    /// `owner/name`.
    pub id: String,
    /// The commit, where it is known.
    pub revision: Option<String>,
}

/// One defence's model.
#[derive(Debug, Clone)]
pub struct Model {
    /// What its defence came to.
    pub verdict: DefenceVerdict,
    /// Its methods' names, in the order in which they act.
    pub methods: Vec<String>,
    /// The stages that made it, by kind and hash, the last one first; of the first seed, where there are several.
    pub made_by: Vec<[String; 2]>,
    /// Whether it is as its maker released it: nothing was trained here.
    pub as_released: bool,
    /// What it was asked, and when.
    pub groups: Vec<Group>,
}

/// The answers to one probe at one moment, all seeds together.
#[derive(Debug, Clone)]
pub struct Group {
    /// The experiment's arm.
    pub arm: Arm,
    /// What was done to the model, or is about to be.
    pub before: Before,
    /// Whether it was done: the whole budget is spent.
    pub done: bool,
    /// Which items.
    pub probe: Probe,
    /// Who scored the answers.
    pub judge: Judge,
    /// The mean with its interval, of the experiment's confidence for this number alone; none where none was had.
    pub interval: Option<Score>,
    /// The answers, ascending in item, defence seed and attack seed.
    pub answers: Vec<Answer>,
}

/// What scored answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    /// Its name in the `judge` column.
    pub name: String,
    /// What is known of it; none of a measure that this program has not.
    pub facts: Option<Facts>,
    /// The reference of the model that judges and its template, where a model does.
    pub model: Option<[String; 2]>,
}

/// One answer and its score.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The item's name.
    pub item: String,
    /// Which training of the defence.
    pub defence_seed: u64,
    /// Which repetition of what was done.
    pub attack_seed: u64,
    /// Optimiser steps of what was done so far.
    pub steps: u64,
    /// 0 to 1.
    pub score: f64,
    /// What is seen in the answer beside its score.
    pub marks: Marks,
    /// What was asked and answered.
    pub said: ResponseRow,
}

/// The number that stands for a titer: its estimate, or else the end that is known. None of a model that is harmful before
/// any attack, of one that was not attacked, and where nothing is known but that some run was never broken.
pub(crate) fn told(titer: &Titer) -> Option<f64> {
    let known = !titer.open && titer.effort.runs > 0;
    known.then(|| titer.value.or(Some(titer.lower).filter(|lower| *lower > 0.0))).flatten()
}

impl Group {
    /// When and what, for people: `unseen after full-finetune/rate=1e-3`.
    pub fn name(&self) -> String {
        let when = match (&self.before, self.done) {
            (Before::Nothing, _) => "before any attack".to_owned(),
            (Before::Attack(_), false) => "at step 0 of attacks".to_owned(),
            (before, true) => format!("after {before}"),
            (before, false) => format!("before {before}"),
        };
        let arm = if self.arm == Arm::Main { "" } else { " (cross-domain arm)" };
        format!("{} {when}{arm}", self.probe)
    }

    /// The mean score over all seeds and items.
    pub fn mean(&self) -> f64 {
        self.answers.iter().map(|answer| answer.score).sum::<f64>() / self.answers.len() as f64
    }

    /// Whether less of it is better.
    pub fn lower_is_better(&self) -> bool {
        self.judge.facts.map_or(self.probe.is_harmful(), |facts| facts.better == Better::Lower)
    }

    /// Whether an answer lies nearer to the good end of its score.
    pub fn is_good(&self, answer: &Answer) -> bool {
        if self.lower_is_better() { answer.score < 0.5 } else { answer.score >= 0.5 }
    }
}

/// What other programs can be told of an experiment.
///
/// # Errors
/// When an artifact is damaged, a frame is not what it should be, or nothing is measured yet.
pub fn gather(results: &Results) -> Result<Evaluated, Error> {
    let (plan, verdicts) = (&results.plan, results.verdicts()?);
    let mut versions: Vec<String> = results.costs.iter().map(|cost| cost.version.clone()).collect();
    versions.sort_unstable();
    versions.dedup();
    let mut groups = groups(results, &verdicts)?;
    let models = verdicts.defences.iter().map(|verdict| Model {
        methods: methods(&plan.experiment, &verdict.defence),
        made_by: made_by(plan, &verdict.defence),
        as_released: verdict.baseline() && plan.experiment.model.align().is_none(),
        groups: groups.remove(&verdict.defence).unwrap_or_default(),
        verdict: verdict.clone(),
    });
    let models: Vec<Model> = models.filter(|model| !model.groups.is_empty()).collect();
    if models.is_empty() {
        return Err(Error::Empty(plan.experiment.name.clone()));
    }
    let started = results.costs.iter().map(|cost| cost.started).fold(f64::INFINITY, f64::min);
    let ended = results.costs.iter().map(|cost| cost.started + cost.seconds).fold(0.0, f64::max);
    Ok(Evaluated {
        experiment: plan.experiment.clone(),
        data: [plan.data.kind.clone(), plan.data.name.clone()],
        hub: hub(plan),
        versions,
        times: [started.min(ended), ended],
        models,
        verdicts,
    })
}

/// The data set of the hub that harmful rows come from.
fn hub(plan: &Plan) -> Option<HubData> {
    let of = |role: &str| plan.sources.iter().find(|source| source.role == role);
    let source = of("harmful")?;
    let location = source.found.as_ref().map_or(&source.reference, |found| &found.location);
    let repository = source.reference.strip_prefix("hf:datasets/")?;
    let id: String = repository.chars().take_while(|c| !"@:".contains(*c)).collect();
    let revision: String =
        location.chars().skip_while(|c| *c != '@').skip(1).take_while(|c| *c != ':').collect();
    let commit = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
    Some(HubData { id, revision: commit.then_some(revision) })
}

fn methods(experiment: &Experiment, defence: &str) -> Vec<String> {
    let entry = experiment.defence.iter().find(|entry| entry.label == defence);
    entry.map_or_else(Vec::new, |entry| entry.chain().into_iter().map(|method| method.method).collect())
}

/// The stages behind a defence's first measurement before any attack, from the last back to the model it began from.
fn made_by(plan: &Plan, defence: &str) -> Vec<[String; 2]> {
    let first = |cell: &&titer_plan::Cell| {
        cell.defence == defence && cell.arm == Arm::Main && cell.before == Before::Nothing
    };
    let mut next = plan.cells.iter().find(first).and_then(|cell| plan.stage(&cell.stage));
    let mut line = Vec::new();
    while let Some(stage) = next {
        if stage.spec.kind() != "measure" {
            line.push([stage.spec.kind().to_owned(), stage.hash.to_string()]);
        }
        let input = stage.inputs.first().filter(|_| stage.spec.models() > 0);
        next = input.and_then(|hash| plan.stage(hash));
    }
    line
}

/// What a judge is, by its name.
fn judge(plan: &Plan, probe: Probe, name: &str) -> Judge {
    let facts = find(MEASURES, name).ok().map(|entry| entry.facts);
    let spec: Option<&MeasureSpec> =
        plan.data.measures.get(&probe).and_then(|specs| specs.iter().find(|spec| spec.name == name));
    let classifies = facts.is_some_and(|facts| facts.needs.contains(&Need::Classifier));
    // The data set's classifier, or a judge that is a model of its own.
    let role = spec.and_then(|spec| spec.model.as_deref()).or(classifies.then_some(JUDGE_SOURCE));
    let source = plan.sources.iter().find(|source| Some(source.role.as_str()) == role);
    let template = spec.and_then(|spec| spec.settings["template"].as_str()).unwrap_or_default();
    let model = source.map(|source| [source.reference.clone(), template.to_owned()]);
    Judge { name: name.to_owned(), facts, model }
}

/// The interval of one number, where the verdicts have one.
fn interval(scores: &[AttackScore], group: &Group) -> Option<Score> {
    let of = |change: Change| if group.done { change.after } else { change.before };
    let own = |score: &&AttackScore| Some(&score.attack) == group.before.attack();
    let tuned = |score: &&AttackScore| score.accuracy_of.as_ref() == Some(&group.before);
    let change = match group.probe {
        Probe::HarmlessTask => scores.iter().find(tuned)?.accuracy,
        Probe::Permitted => scores.iter().find(own)?.permitted,
        Probe::Routing => scores.iter().find(own)?.routing,
        probe => *scores.iter().find(own)?.harmful_by_probe.get(&probe)?,
    };
    // Of the same runs: the verdicts leave out a number where a run ended early without being broken.
    of(change).filter(|score| group.arm == Arm::Main && (score.value - group.mean()).abs() < 1e-4)
}

/// Arm, what was done (its place among all that was), whether it was, and which items.
type Key = (Arm, usize, bool, Probe);

/// The answers of each defence.
fn groups(results: &Results, verdicts: &Verdicts) -> Result<BTreeMap<String, Vec<Group>>, Error> {
    let frame = deciding(&results.probes)?;
    let (columns, said) = (Columns::of(&frame)?, Said::of(&results.responses()?)?);
    let rows = 0..frame.height();
    let mut ends = BTreeMap::new();
    for row in rows.clone() {
        let end: &mut u64 = ends.entry(columns.run(row)).or_default();
        *end = columns.steps(row).max(*end);
    }
    // Before any step all attacks meet the same model, and ask it the same: one of them will do.
    let mut first = BTreeMap::new();
    let mut found = BTreeMap::<(&str, Key), (&str, Vec<Answer>)>::new();
    for row in rows {
        let (defence, arm, probe) =
            (columns.text(columns.defence, row), columns.arm(row), columns.probe(row));
        let place = columns.befores.rows[row];
        let (steps, end) = (columns.steps(row), ends[&columns.run(row)]);
        let nothing = columns.befores.distinct[place] == Before::Nothing;
        let attack = columns.befores.distinct[place].attack().is_some();
        let mut moments = Vec::new();
        if steps == 0 && (!attack || *first.entry((defence, arm, probe)).or_insert(place) == place) {
            moments.push(false);
        }
        if steps == end && !nothing {
            moments.push(true);
        }
        for done in moments {
            let answer = columns.answer(row, &said)?;
            let judge = columns.text(columns.judge, row);
            let group = found.entry((defence, (arm, place, done, probe)));
            group.or_insert_with(|| (judge, Vec::new())).1.push(answer);
        }
    }
    let mut groups = BTreeMap::<String, Vec<Group>>::new();
    for ((defence, (arm, place, done, probe)), (name, mut answers)) in found {
        answers.sort_by(|a, b| {
            let key = |answer: &Answer| (answer.defence_seed, answer.attack_seed);
            a.item.cmp(&b.item).then(key(a).cmp(&key(b)))
        });
        let before = columns.befores.distinct[place].clone();
        let judge = judge(&results.plan, probe, name);
        let mut group = Group { arm, before, done, probe, judge, interval: None, answers };
        let scores = verdicts.defences.iter().find(|verdict| verdict.defence == defence);
        group.interval = scores.and_then(|verdict| interval(&verdict.scores, &group));
        groups.entry(defence.to_owned()).or_default().push(group);
    }
    Ok(groups)
}

/// The columns of `probes` that are told.
struct Columns<'a> {
    defence: &'a StringChunked,
    arm: &'a StringChunked,
    probe: &'a StringChunked,
    item: &'a StringChunked,
    judge: &'a StringChunked,
    response: &'a StringChunked,
    defence_seed: &'a UInt64Chunked,
    attack_seed: &'a UInt64Chunked,
    steps: &'a UInt64Chunked,
    score: &'a Float64Chunked,
    marks: Vec<(&'static str, &'a BooleanChunked)>,
    befores: Befores,
}

impl<'a> Columns<'a> {
    fn of(frame: &'a DataFrame) -> Result<Self, Error> {
        let text = |name| frame.column(name).and_then(|column| column.str());
        let count = |name| frame.column(name).and_then(|column| column.u64());
        let flag = |(name, _)| Ok((name, frame.column(name)?.bool()?));
        Ok(Self {
            defence: text("defence")?,
            arm: text("arm")?,
            probe: text("probe")?,
            item: text("item")?,
            judge: text("judge")?,
            response: text("response_id")?,
            defence_seed: count("defence_seed")?,
            attack_seed: count("attack_seed")?,
            steps: count("budget_steps")?,
            score: frame.column("score")?.f64()?,
            marks: Marks::ALL.into_iter().map(flag).collect::<Result<_, Error>>()?,
            befores: Befores::read(frame, PROBES.name)?,
        })
    }

    fn text(&self, column: &'a StringChunked, row: usize) -> &'a str {
        column.get(row).unwrap_or_default()
    }

    fn steps(&self, row: usize) -> u64 {
        self.steps.get(row).unwrap_or_default()
    }

    fn arm(&self, row: usize) -> Arm {
        if self.text(self.arm, row) == Arm::Main.name() { Arm::Main } else { Arm::CrossDomain }
    }

    fn probe(&self, row: usize) -> Probe {
        Probe::named(self.text(self.probe, row))
    }

    /// Which run, seen through which probe.
    fn run(&self, row: usize) -> (&'a str, Arm, usize, [u64; 2], Probe) {
        let seed = |column: &UInt64Chunked| column.get(row).unwrap_or_default();
        let seeds = [seed(self.defence_seed), seed(self.attack_seed)];
        (self.text(self.defence, row), self.arm(row), self.befores.rows[row], seeds, self.probe(row))
    }

    fn answer(&self, row: usize, said: &Said) -> Result<Answer, Error> {
        let has = |name: &str| {
            self.marks.iter().any(|(mark, column)| *mark == name && column.get(row).unwrap_or_default())
        };
        let (_, _, _, [defence_seed, attack_seed], _) = self.run(row);
        Ok(Answer {
            item: self.text(self.item, row).to_owned(),
            defence_seed,
            attack_seed,
            steps: self.steps(row),
            score: self.score.get(row).unwrap_or_default(),
            marks: Marks::of(has),
            said: said.row(self.text(self.response, row))?,
        })
    }
}

/// What was asked and answered, by its name.
struct Said {
    rows: BTreeMap<String, ResponseRow>,
}

impl Said {
    fn of(frame: &DataFrame) -> Result<Self, Error> {
        titer_metrics::check(frame, &RESPONSES)?;
        let text = |name| frame.column(name).and_then(|column| column.str());
        let [id, prompt, response, question, answer, reference, continuations] =
            ["response_id", "prompt", "response", "question", "answer", "reference", "continuations"];
        let columns = [text(prompt)?, text(response)?, text(question)?, text(answer)?, text(reference)?];
        let (id, continuations, cut) = (text(id)?, text(continuations)?, frame.column("cut")?.bool()?);
        let rows = (0..frame.height()).map(|row| {
            let of = |column: &StringChunked| column.get(row).unwrap_or_default().to_owned();
            let [prompt, response, question, answer, reference] = columns.map(of);
            let (response_id, continuations) = (of(id), of(continuations));
            let cut = cut.get(row).unwrap_or_default();
            let name = response_id.clone();
            (
                name,
                ResponseRow {
                    response_id,
                    prompt,
                    response,
                    question,
                    answer,
                    reference,
                    continuations,
                    cut,
                },
            )
        });
        Ok(Self { rows: rows.collect() })
    }

    fn row(&self, name: &str) -> Result<ResponseRow, Error> {
        self.rows.get(name).cloned().ok_or_else(|| Error::Answer(name.to_owned()))
    }
}

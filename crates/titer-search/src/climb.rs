//! The way up: a cohort is measured rung by rung, and what is hopeless is left behind with its reason.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::Value;
use titer_lab::Result;
use titer_plan::{Decision, Plan};

use super::record::{End, Trial};
use super::rungs::{Rung, better_half};
use super::score::Outcome;
use super::space::Setting;
use super::tune::{Candidate, Search};

impl Search<'_> {
    /// Measures a cohort rung by rung, and leaves behind what is hopeless.
    pub(super) fn climb(&mut self, mut cohort: Vec<Candidate>) -> Result<ControlFlow<()>> {
        for rung in Rung::ALL {
            if cohort.is_empty() {
                break;
            }
            let parts: Vec<(String, Plan)> = cohort
                .iter()
                .map(|candidate| {
                    let part = self.design.rung(&candidate.plan, rung, &self.strongest);
                    (format!("trial {}: ", candidate.number), part)
                })
                .collect();
            let flow = self.runner.run(&heading(&cohort, rung), &parts)?;
            for (candidate, (_, part)) in cohort.iter().zip(&parts) {
                let spent = self.runner.charge(part)?;
                self.record.spent += spent;
                self.change(candidate.number, |trial| trial.spent += spent);
            }
            if flow.is_break() {
                return Ok(flow);
            }
            let mut going = Vec::new();
            for (candidate, (_, part)) in cohort.into_iter().zip(parts) {
                if self.look(candidate.number, rung, part)? {
                    going.push(candidate);
                }
            }
            cohort = if rung == Rung::Attacks { self.halve(going) } else { going };
            self.save()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Trial)) {
        if let Some(trial) = self.trials.get_mut(&number) {
            change(trial);
        }
    }

    pub(super) fn end(&mut self, number: usize, end: End, reason: String) {
        self.change(number, |trial| {
            trial.end = Some(end);
            trial.reason = reason;
        });
        self.runner.watch.note(&ended(&self.trials[&number]));
    }

    /// Takes in what a rung has shown of a trial. Whether it goes on.
    fn look(&mut self, number: usize, rung: Rung, part: Plan) -> Result<bool> {
        if let Some(trouble) = self.runner.trouble(&part) {
            let end = if trouble.diverged { End::Diverged } else { End::Failed };
            self.end(number, end, trouble.reason);
            return Ok(false);
        }
        let (outcome, _) = self.outcome(part)?;
        self.change(number, |trial| {
            trial.rung = Some(rung);
            trial.outcome = Some(outcome.clone());
        });
        let judged = [("stability", Some(&outcome.stability)), (self.learning(), outcome.learning.as_ref())];
        let of = |decision: Decision| {
            judged.iter().find_map(|(name, judged)| {
                let judged = judged.filter(|judged| judged.verdict == decision)?;
                Some(format!("{name} {}: {}", decision.name(), judged.evidence))
            })
        };
        if let Some(reason) = of(Decision::Fails) {
            self.end(number, End::NotHeld, reason);
            return Ok(false);
        }
        if rung == Rung::Everything {
            if outcome.holds() {
                self.end(number, End::Held, "all conditions hold".to_owned());
            } else {
                let reason = of(Decision::Inconclusive);
                let reason = reason.unwrap_or_else(|| format!("{} was not measured", self.learning()));
                self.end(number, End::NotHeld, reason);
            }
        }
        Ok(true)
    }

    fn halve(&mut self, cohort: Vec<Candidate>) -> Vec<Candidate> {
        let outcome = |number| self.trials.get(number).and_then(|trial| trial.outcome.as_ref());
        let numbers: Vec<usize> = cohort.iter().map(|candidate| candidate.number).collect();
        let scores: Vec<_> = numbers.iter().filter_map(outcome).map(Outcome::score).collect();
        let kept: BTreeSet<usize> = better_half(&scores).into_iter().map(|index| numbers[index]).collect();
        for number in numbers.iter().filter(|number| !kept.contains(number)) {
            let strongest: Vec<String> = self.record.strongest.iter().map(ToString::to_string).collect();
            let (better, all) = (kept.len(), numbers.len());
            let reason = format!("not among the better {better} of {all} under {}", strongest.join(" and "));
            self.end(*number, End::Outranked, reason);
        }
        cohort.into_iter().filter(|candidate| kept.contains(&candidate.number)).collect()
    }
}

/// `trial 3: steps=120, rate=5e-4: diverged: …`.
fn ended(trial: &Trial) -> String {
    let end = trial.end.map_or("", End::name);
    format!("trial {} ({}) {end}: {}", trial.number, setting(&trial.setting), trial.reason)
}

fn setting(setting: &Setting) -> String {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let named: Vec<String> = setting.iter().map(|(key, of)| format!("{key}={}", value(of))).collect();
    named.join(", ")
}

fn heading(cohort: &[Candidate], rung: Rung) -> String {
    let numbers: Vec<String> = cohort.iter().map(|candidate| candidate.number.to_string()).collect();
    let noun = if numbers.len() == 1 { "trial" } else { "trials" };
    format!("{noun} {}: {}", numbers.join(", "), rung.name())
}

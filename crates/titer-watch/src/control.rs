//! What can be asked of the runs of an experiment, and the question that comes first: what will happen, where,
//! and to which processes.

use titer_lab::live::{ExperimentLine, StageState};
use titer_store::{Request, processes};
use titer_view::state::ExperimentState;
use titer_view::wording::count;

use super::effect::Confirm;
use super::effect::Effect;
use super::world::World;

/// Ask its runs to save what they have and end.
pub(crate) fn stop(world: &World, experiment: &str) -> Vec<Effect> {
    with(world, experiment, |line| match ExperimentState::of(line) {
        _ if line.runs.is_empty() => say(format!("no run of {experiment} is alive")),
        ExperimentState::Stopping => say("its runs were asked to stop already".into()),
        _ => Effect::Confirm(Confirm {
            title: format!("Stop the {}?", runs_of(line)),
            lines: vec![
                who(line),
                format!(
                    "Each saves a checkpoint of what it computes and ends. {}, {} left; `r` or the same \
                     `titer run` goes on from there.",
                    running(line),
                    count(open(line), "stage"),
                ),
            ],
            then: Box::new(Effect::Ask(experiment.to_owned(), Request::Stop)),
        }),
    })
}

/// Ask its runs to begin nothing new.
pub(crate) fn hold(world: &World, experiment: &str) -> Vec<Effect> {
    with(world, experiment, |line| match ExperimentState::of(line) {
        _ if line.runs.is_empty() => say(format!("no run of {experiment} is alive")),
        ExperimentState::Held => say("its runs hold already".into()),
        _ => Effect::Confirm(Confirm {
            title: format!("Hold the {}?", runs_of(line)),
            lines: vec![
                who(line),
                format!(
                    "{} and will be finished; no new one begins. The processes stay, and go on when you press `r`.",
                    running(line)
                ),
            ],
            then: Box::new(Effect::Ask(experiment.to_owned(), Request::Hold)),
        }),
    })
}

/// Let its held runs go on; start one where none lives.
pub(crate) fn resume(world: &World, experiment: &str) -> Vec<Effect> {
    with(world, experiment, |line| match ExperimentState::of(line) {
        ExperimentState::Damaged => say("its plan cannot be read".into()),
        ExperimentState::Held => Effect::Confirm(Confirm {
            title: format!("Let the {} go on?", runs_of(line)),
            lines: vec![who(line), "They begin new stages again.".into()],
            then: Box::new(Effect::Ask(experiment.to_owned(), Request::Resume)),
        }),
        ExperimentState::Done => say(format!("all stages of {experiment} are done")),
        _ if !line.runs.is_empty() => say("its runs go on already".into()),
        _ => Effect::Confirm(Confirm {
            title: format!("Start a run of {experiment}?"),
            lines: vec![
                format!("No run of it is alive. One is started on this host, {}.", world.host),
                format!(
                    "It computes the {} left, in the background: it goes on when this app is closed.",
                    count(open(line), "stage")
                ),
            ],
            then: Box::new(Effect::Start(experiment.to_owned())),
        }),
    })
}

/// Let words be typed that say which stages come first.
pub(crate) fn first(world: &World, experiment: &str) -> Vec<Effect> {
    with(world, experiment, |_| Effect::AskFirst(experiment.to_owned()))
}

/// Begin stages whose labels contain one of `words` before others.
pub(crate) fn begin_first(world: &World, experiment: &str, words: &[String]) -> Vec<Effect> {
    with(world, experiment, |line| {
        let view = world.chosen.as_ref().filter(|view| view.line.name == experiment);
        let begun = |state: &StageState| matches!(state, StageState::Sealed | StageState::Running(_));
        let waiting = view.map_or(0, |view| {
            let open = view.stages.iter().filter(|stage| !begun(&stage.state));
            open.filter(|stage| words.iter().any(|word| stage.label.contains(word.as_str()))).count()
        });
        let what = if words.is_empty() {
            "Stages begin in the plan's own order again.".to_owned()
        } else {
            format!(
                "Stages with {} in their names begin before all others, as soon as what they need is there; \
                 {} fit. Nothing that runs is broken off.",
                words.iter().map(|word| format!("“{word}”")).collect::<Vec<_>>().join(", then "),
                count(waiting, "open stage"),
            )
        };
        let who = if line.runs.is_empty() {
            "No run is alive: the next one will heed it.".to_owned()
        } else {
            who(line)
        };
        Effect::Confirm(Confirm {
            title: format!("Change the order of {experiment}?"),
            lines: vec![who, what],
            then: Box::new(Effect::Ask(experiment.to_owned(), Request::First(words.to_vec()))),
        })
    })
}

fn with(world: &World, experiment: &str, question: impl FnOnce(&ExperimentLine) -> Effect) -> Vec<Effect> {
    let effect = match world.line(experiment) {
        _ if world.read_only => say("nothing is asked of runs under --read-only".into()),
        None => say(format!("{experiment} was not read yet")),
        Some(line) => question(line),
    };
    vec![effect]
}

fn say(text: String) -> Effect {
    Effect::Say(text)
}

/// `run of tiny`, `2 runs of tiny`.
fn runs_of(line: &ExperimentLine) -> String {
    match line.runs.len() {
        1 => format!("run of {}", line.name),
        more => format!("{more} runs of {}", line.name),
    }
}

/// Hosts and processes.
fn who(line: &ExperimentLine) -> String {
    format!("It concerns {}.", processes(&line.runs))
}

fn running(line: &ExperimentLine) -> String {
    match line.counts.running {
        0 => "No stage runs".into(),
        1 => "1 stage runs".into(),
        more => format!("{more} stages run"),
    }
}

fn open(line: &ExperimentLine) -> usize {
    line.counts.stages - line.counts.sealed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::specimen;

    fn said(effects: &[Effect]) -> String {
        match effects {
            [Effect::Say(text)] => text.clone(),
            [Effect::Confirm(confirm)] => format!("{}\n{}", confirm.title, confirm.lines.join("\n")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_names_experiment_hosts_and_processes() {
        let world = specimen::world();
        insta::assert_snapshot!(
            [
                said(&stop(&world, "tiny")),
                said(&hold(&world, "tiny")),
                said(&resume(&world, "apothecary-api")),
                said(&resume(&world, "half")),
                said(&begin_first(&world, "tiny", &["tar".into(), "tune".into()])),
                said(&begin_first(&world, "half", &[])),
            ]
            .join("\n\n")
        );
    }

    #[test]
    fn where_nothing_can_be_done_it_says_so() {
        let mut world = specimen::world();
        let check = |world: &World, act: fn(&World, &str) -> Vec<Effect>, name, expected: &str| {
            assert_eq!(said(&act(world, name)), expected);
        };
        check(&world, stop, "apothecary", "no run of apothecary is alive");
        check(&world, stop, "apothecary-moe", "its runs were asked to stop already");
        check(&world, hold, "apothecary-api", "its runs hold already");
        check(&world, resume, "tiny", "its runs go on already");
        check(&world, resume, "apothecary", "all stages of apothecary are done");
        check(&world, resume, "damaged", "its plan cannot be read");
        check(&world, stop, "nowhere", "nowhere was not read yet");
        world.read_only = true;
        for act in [stop, hold, resume, first] {
            check(&world, act, "tiny", "nothing is asked of runs under --read-only");
        }
    }
}

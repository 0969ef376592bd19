//! Progress where no terminal looks: a line as a stage starts or ends, at most one a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use titer_lab::{Progress, RunEvent};
use titer_view::{looks, wording};

use super::forecast::Forecast;
use crate::output;

/// Lines closer together than this are left out; the count in the next one tells.
const SPACING: Duration = Duration::from_secs(1);

pub(crate) struct Plain {
    state: Mutex<State>,
}

struct State {
    forecast: Forecast,
    started: Instant,
    last_line: Option<Instant>,
    stages: usize,
    done: usize,
}

impl Plain {
    pub(crate) fn new(forecast: Forecast) -> Self {
        let state = State { forecast, started: Instant::now(), last_line: None, stages: 0, done: 0 };
        Self { state: Mutex::new(state) }
    }
}

impl Progress for Plain {
    fn event(&self, event: RunEvent<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = state.take(&event, Instant::now()) {
            output::message(&line);
        }
    }
}

impl State {
    /// Takes an event in; returns the line to print, if it is time for one.
    fn take(&mut self, event: &RunEvent<'_>, now: Instant) -> Option<String> {
        let (line, urgent) = match event {
            RunEvent::Planned { stages, cached } => {
                self.stages = *stages;
                self.done = *cached;
                (format!("{}, {cached} of them done before", wording::count(*stages, "stage")), true)
            }
            RunEvent::Started { label, .. } => (format!("start  {label}"), false),
            RunEvent::Advanced { hash, done, of, .. } => {
                self.forecast.advance(hash, *done as f64 / (*of).max(1) as f64);
                return None;
            }
            RunEvent::Finished { hash, label, seconds } => {
                self.done += 1;
                self.forecast.end(hash);
                (format!("done   {label} in {}", wording::duration(*seconds)), self.done == self.stages)
            }
            RunEvent::Failed { hash, label, error, .. } => {
                self.forecast.end(hash);
                (format!("failed {label}: {error}"), true)
            }
            RunEvent::Retried { label, error, pause, .. } => {
                (format!("again  {label} in {} s: {error}", pause.as_secs()), true)
            }
            RunEvent::Skipped { hash, label, because } => {
                self.forecast.end(hash);
                (format!("skip   {label}: {because} failed"), true)
            }
            RunEvent::Distrusted { label, problem, .. } => (format!("anew   {label}: {problem}"), true),
            RunEvent::Elsewhere { label, holder, .. } => {
                (format!("waits  {label} is done by {holder}"), true)
            }
            RunEvent::Lacking { label, input, first, .. } => {
                self.done = self.done.saturating_sub(usize::from(*first));
                (format!("waits  {label}: the weights of {input} were dropped, and are made anew"), true)
            }
            RunEvent::Looked { look, of, open, part, done } => {
                self.forecast.ask(part.stages.iter().map(|stage| &stage.hash));
                (self.stages, self.done) = (part.stages.len(), *done);
                (looks::looked(*look, *of, open.last().map_or(0, Vec::len)), true)
            }
            RunEvent::Heard { request } => (format!("asked: {request}"), true),
        };
        let spaced = self.last_line.is_none_or(|last| now.duration_since(last) >= SPACING);
        if !urgent && !spaced {
            return None;
        }
        self.last_line = Some(now);
        Some(format!("[{}/{}] {line}{}", self.done, self.stages, self.time_left(now)))
    }

    fn time_left(&self, now: Instant) -> String {
        match self.forecast.left(now.duration_since(self.started)) {
            Some(left) if self.done < self.stages => {
                format!(" (about {} left)", wording::duration(left.as_secs_f64()))
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use titer_plan::StageHash;

    use super::*;

    #[test]
    fn lines_are_spaced_and_the_last_is_never_left_out() {
        let started = Instant::now();
        let (a, b) = (StageHash("a".into()), StageHash("b".into()));
        let mut state = State {
            forecast: Forecast::new([(a.clone(), 4.0), (b.clone(), 4.0)].into_iter()),
            started,
            last_line: None,
            stages: 0,
            done: 0,
        };
        let mut take = |event, seconds: f64| state.take(&event, started + Duration::from_secs_f64(seconds));
        let line = |text: &str| Some(text.to_owned());
        assert_eq!(
            take(RunEvent::Planned { stages: 3, cached: 1 }, 0.0),
            line("[1/3] 3 stages, 1 of them done before")
        );
        assert_eq!(take(RunEvent::Started { hash: &a, label: "one" }, 0.5), None);
        assert_eq!(take(RunEvent::Started { hash: &b, label: "two" }, 1.5), line("[1/3] start  two"));
        assert_eq!(take(RunEvent::Advanced { hash: &b, label: "two", done: 1, of: 2 }, 3.0), None);
        assert_eq!(
            take(RunEvent::Finished { hash: &a, label: "one", seconds: 4.0 }, 4.0),
            line("[2/3] done   one in 4.0 s (about 1.3 s left)")
        );
        assert_eq!(
            take(RunEvent::Finished { hash: &b, label: "two", seconds: 4.0 }, 4.1),
            line("[3/3] done   two in 4.0 s")
        );
    }
}

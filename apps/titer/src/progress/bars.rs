//! Progress on a terminal: a line for the run, a line for each stage that is running.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use titer_lab::{Progress, RunEvent};
use titer_plan::StageHash;
use titer_view::{looks, sanitise};

use super::forecast::Forecast;

/// Redraws a second: enough to look alive, few enough for a slow line.
const REDRAWS: u8 = 4;

pub(crate) struct Bars {
    lines: MultiProgress,
    state: Mutex<State>,
}

struct State {
    overall: ProgressBar,
    running: BTreeMap<StageHash, ProgressBar>,
    forecast: Forecast,
    started: Instant,
}

impl Bars {
    pub(crate) fn new(forecast: Forecast) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS));
        let overall = lines
            .add(ProgressBar::new(0).with_style(style("{bar:16} {pos}/{len} stages, {elapsed}{wide_msg}")));
        overall.enable_steady_tick(Duration::from_secs(1));
        let state = State { overall, running: BTreeMap::new(), forecast, started: Instant::now() };
        Self { lines, state: Mutex::new(state) }
    }

    fn say(&self, text: &str) {
        let _ = self.lines.println(sanitise::line(text));
    }
}

impl Progress for Bars {
    fn event(&self, event: RunEvent<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            RunEvent::Planned { stages, cached } => {
                state.overall.set_length(stages as u64);
                state.overall.set_position(cached as u64);
            }
            RunEvent::Started { hash, label } => {
                let bar =
                    ProgressBar::new(0).with_style(style("{bar:16} {rate:>11} {eta:>4} left  {wide_msg}"));
                bar.set_message(sanitise::line(label).into_owned());
                let bar = self.lines.insert_before(&state.overall, bar);
                state.running.insert(hash.clone(), bar);
            }
            RunEvent::Advanced { hash, done, of, .. } => {
                state.forecast.advance(hash, done as f64 / of.max(1) as f64);
                if let Some(bar) = state.running.get(hash) {
                    bar.set_length(of);
                    bar.set_position(done);
                }
            }
            RunEvent::Finished { hash, .. } => {
                state.end(hash);
                state.overall.inc(1);
            }
            RunEvent::Failed { hash, label, error, .. } => {
                state.end(hash);
                self.say(&format!("failed: {label}: {error}"));
            }
            RunEvent::Retried { label, error, pause, .. } => {
                self.say(&format!("again in {} s: {label}: {error}", pause.as_secs()));
            }
            RunEvent::Skipped { hash, label, because } => {
                state.end(hash);
                self.say(&format!("skipped: {label}: {because} failed"));
            }
            RunEvent::Distrusted { label, problem, .. } => self.say(&format!("anew: {label}: {problem}")),
            RunEvent::Elsewhere { label, holder, .. } => {
                self.say(&format!("waits: {label} is done by {holder}"))
            }
            RunEvent::Lacking { hash, label, input, first } => {
                if let Some(bar) = state.running.remove(hash) {
                    bar.finish_and_clear();
                }
                let undone = u64::from(first);
                state.overall.set_position(state.overall.position().saturating_sub(undone));
                self.say(&format!("waits: {label}: the weights of {input} were dropped, and are made anew"));
            }
            RunEvent::Looked { look, of, open, part, done } => {
                state.forecast.ask(part.stages.iter().map(|stage| &stage.hash));
                state.overall.set_length(part.stages.len() as u64);
                state.overall.set_position(done as u64);
                self.say(&looks::looked(look, of, open.last().map_or(0, Vec::len)));
            }
            RunEvent::Heard { request } => self.say(&format!("asked: {request}")),
        }
        let left = state.forecast.left(state.started.elapsed());
        let left = left.map(|left| format!(", about {} left", HumanDuration(left))).unwrap_or_default();
        state.overall.set_message(left);
    }
}

impl State {
    fn end(&mut self, hash: &StageHash) {
        self.forecast.end(hash);
        if let Some(bar) = self.running.remove(hash) {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let _ = self.lines.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let plain = ProgressStyle::default_bar().progress_chars("=> ");
    // The templates are constants, so the fallback is never seen.
    plain.clone().template(template).unwrap_or(plain).with_key(
        "rate",
        |state: &ProgressState, text: &mut dyn Write| {
            // A line that cannot be written is drawn again in a moment.
            let _ = write!(text, "{:.0} step/s", state.per_sec());
        },
    )
}

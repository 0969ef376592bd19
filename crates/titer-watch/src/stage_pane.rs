//! One stage from near: what it does or why it failed, and what it logs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget as _;
use titer_view::curves::Point;
use titer_view::scale::Spread;
use titer_view::wording;

use super::look::Look;
use super::series::{range, raw, smoothed, thinned};
use super::stages;
use super::widgets::chart::Chart;
use super::widgets::pane::{self, Paragraph};
use super::widgets::series::{Series, Trace, tolerated};
use super::world::World;
use titer_lab::live::{CurvePoint, ExperimentView, StageLine, StageState, StageView};

/// How a stage is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Closeness {
    /// Of the steps.
    pub(crate) spread: Spread,
    /// How much losses are smoothed.
    pub(crate) factor: f64,
    /// Whether all of it is shown.
    pub(crate) whole: bool,
}

/// Draws the stage at a position of the list.
pub(crate) fn draw(
    area: Rect,
    buffer: &mut Buffer,
    look: Look,
    world: &World,
    view: &ExperimentView,
    at: usize,
    closeness: Closeness,
) {
    let Some(stage) = view.stages.get(at) else { return };
    let hash = stage.hash.to_string();
    let beside = format!("{} {}", stage.kind, hash.get(..12).unwrap_or(&hash));
    let area = pane::titled(area, buffer, look, &stage.label, &beside);
    let near = (world.stage.hash.as_ref() == Some(&stage.hash)).then_some(&*world.stage);
    let failed = matches!(stage.state, StageState::Failed(_));
    let said = said(view, stage, near, look);
    let silent = near.is_none_or(|near| near.terms.is_empty()) && scores(view, at).is_empty();
    let rows = match (failed, closeness.whole) {
        _ if silent => area.height,
        (true, true) => area.height / 2,
        (true, false) => 5,
        (false, _) => said.len() as u16,
    };
    let (words, charts) = pane::above(area, rows.min(area.height));
    pane::paragraphs(words, buffer, look, 0, &said);
    draw_charts(charts, buffer, look, view, at, near, closeness);
}

/// In words: what it does, and how fast.
fn said(
    view: &ExperimentView,
    stage: &StageLine,
    near: Option<&StageView>,
    look: Look,
) -> Vec<Paragraph<'static>> {
    let (sign, word) = stages::state(&stage.state);
    let style = stages::style(&stage.state, look);
    let at = match (stage.step, stage.steps) {
        (Some(step), Some(steps)) => format!(", step {step} of {steps}"),
        _ => String::new(),
    };
    let state = match &stage.state {
        StageState::Running(holder) => {
            format!("{sign} {word} on {} (process {}){at}", holder.host, holder.pid)
        }
        StageState::Sealed => match stage.seconds {
            Some(seconds) => format!("{sign} {word} in {}", wording::duration(seconds)),
            None => format!("{sign} {word}"),
        },
        StageState::Interrupted => format!("{sign} {word}{at}: the next run goes on from there"),
        StageState::Failed(why) => format!("{sign} {word}: {why}"),
        StageState::Waiting => {
            let open = stage.inputs.iter().filter_map(|&input| view.stages.get(input));
            let open: Vec<_> =
                open.filter(|input| input.state != StageState::Sealed).map(|input| &*input.label).collect();
            match open.is_empty() {
                true => format!("{sign} {word} for its turn"),
                false => format!("{sign} {word} for {}", open.join(", ")),
            }
        }
    };
    let mut said = vec![Paragraph::styled(state, style)];
    match near {
        None if matches!(stage.state, StageState::Waiting) => {}
        None => said.push(Paragraph::styled("its log is being read", look.faint())),
        Some(StageView { problem: Some(problem), .. }) => {
            said.push(Paragraph::styled(format!("its log cannot be shown: {problem}"), look.bad()));
        }
        Some(near) => said.extend(speed(near).map(Paragraph::plain)),
    }
    said
}

/// `18.2k tokens/s  812 MB  GPU 0: 87 %, 31.0 GB`.
fn speed(near: &StageView) -> Option<String> {
    let tokens = near.tokens_per_second.map(|speed| format!("{} tokens/s", wording::grouped(speed)));
    let seconds = near.seconds.map(|seconds| format!("{} of training", wording::duration(seconds)));
    let memory = near.memory_bytes.map(|bytes| format!("{} of memory", wording::bytes(bytes as f64)));
    let gpus = near.gpus.iter().enumerate().map(|(number, (used, bytes))| {
        format!("GPU {number}: {} %, {}", wording::percent(*used), wording::bytes(*bytes as f64))
    });
    let all: Vec<_> = tokens.into_iter().chain(seconds).chain(memory).chain(gpus).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Losses and harmfulness, and where there is room the learning rate and the gradient.
fn draw_charts(
    area: Rect,
    buffer: &mut Buffer,
    look: Look,
    view: &ExperimentView,
    at: usize,
    near: Option<&StageView>,
    closeness: Closeness,
) {
    if area.height < 3 {
        return;
    }
    let most = usize::from(area.width) * 4;
    let over = match closeness.spread {
        Spread::Linear => "steps",
        Spread::Log => "steps (log)",
    };
    let empty = StageView::default();
    let near = near.unwrap_or(&empty);
    let losses = losses(near, closeness.factor, most);
    let smoothing = match closeness.factor {
        0.0 => "as logged".to_owned(),
        factor => format!("smoothed by {factor}"),
    };
    let scores = scores(view, at);
    let chart =
        |caption: String, series: &[Series], range, threshold, empty: &str, area, buffer: &mut Buffer| {
            Chart { caption: &caption, spread: closeness.spread, range, series, threshold, empty, look }
                .render(area, buffer);
        };
    let (top, bottom) = match area.height >= 24 && !near.learning_rate.is_empty() {
        true => pane::above(area, area.height * 3 / 5),
        false => (area, Rect { height: 0, ..area }),
    };
    let (left, right) = halves(top, losses.is_empty(), scores.is_empty());
    chart(format!("loss over {over}, {smoothing}"), &losses, None, None, "no losses logged", left, buffer);
    let threshold = Some(tolerated(view.experiment.conditions.phi, look));
    let caption = format!("scores over {over}, ± 95 % over items");
    chart(caption, &scores, range(&scores), threshold, "no probes asked", right, buffer);
    if bottom.height > 0 {
        let (left, right) = halves(bottom, false, false);
        let one = |name: &str, logged: &[(u64, f64)]| vec![Series::line(name, 0, thinned(raw(logged), most))];
        let rate = one("learning rate", &near.learning_rate);
        chart(format!("learning rate over {over}"), &rate, None, None, "", left, buffer);
        let gradient = one("gradient norm", &near.gradient_norm);
        chart(format!("gradient norm over {over}"), &gradient, None, None, "none logged", right, buffer);
    }
}

/// Two parts side by side, or all for one where the other has nothing to show.
fn halves(area: Rect, no_left: bool, no_right: bool) -> (Rect, Rect) {
    let none = Rect { width: 0, ..area };
    match (no_left, no_right) {
        (true, false) => (none, area),
        (false, true) => (area, none),
        _ => {
            let left = area.width / 2;
            let right = Rect { x: area.x + left + 1, width: area.width.saturating_sub(left + 1), ..area };
            (Rect { width: left, ..area }, right)
        }
    }
}

/// The terms of the loss: raw values faint behind the smoothed ones.
fn losses(near: &StageView, factor: f64, most: usize) -> Vec<Series> {
    let raw_values = near.terms.iter().enumerate().map(|(number, (name, logged))| Series {
        trace: Trace::Dots,
        ..Series::line(name, number, thinned(raw(logged), most))
    });
    let smooth =
        near.terms.iter().enumerate().map(|(number, (name, logged))| {
            Series::line(name, number, thinned(smoothed(logged, factor), most))
        });
    raw_values.filter(|_| factor > 0.0).chain(smooth).collect()
}

/// What its probes measured as it went on.
fn scores(view: &ExperimentView, at: usize) -> Vec<Series> {
    let curves = view.curves.iter().filter(|curve| curve.stage == at);
    let series = curves.enumerate().map(|(number, curve)| {
        Series::line(curve.probe.name(), number, curve.points.iter().map(score).collect())
    });
    series.collect()
}

fn score(point: &CurvePoint) -> Point {
    let [low, high] = point.interval();
    Point { x: point.steps as f64, y: point.mean, low, high }
}

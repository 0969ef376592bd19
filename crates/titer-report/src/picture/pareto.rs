//! The picture of safety against use. The front is a line and rings.

use std::fmt::Write as _;

use titer_conditions::Score;
use titer_view::figure::BASELINE;
use titer_view::pareto::{DefenceKind, Pareto, ParetoPoint};
use titer_view::scale::Scale;
use titer_view::wording;

use super::super::escape;
use super::Canvas;
use super::axes::{Axis, Frame, LETTER};
use super::marks::marker;
use super::names::{self, Named};

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 424.0;
/// Room on the right for names: able defences crowd there.
const FRAME: Frame = Frame { left: 50.0, top: 14.0, right: 360.0, bottom: 340.0 };

/// The picture within a page.
pub(crate) fn picture(pareto: &Pareto) -> String {
    canvas(&pareto.title, &description(pareto)).within_page(&content(pareto))
}

/// The picture as a file that needs nothing else.
pub fn file(pareto: &Pareto) -> String {
    canvas(&pareto.title, &description(pareto)).alone(1.5, &content(pareto))
}

fn canvas<'a>(title: &'a str, description: &'a str) -> Canvas<'a> {
    Canvas { id: "pareto", width: WIDTH, height: HEIGHT, title, description }
}

fn content(pareto: &Pareto) -> String {
    let mut svg = String::new();
    let scores = |of: fn(&ParetoPoint) -> Score| pareto.points.iter().map(of);
    // Some room, so that no point sits on the edge.
    let x = axis(scores(|point| point.x), [FRAME.left + 6.0, FRAME.right - 10.0], &pareto.x_label);
    let y = axis(scores(|point| point.y), [FRAME.bottom - 6.0, FRAME.top + 10.0], &pareto.y_label);
    FRAME.push(&mut svg, &x, &y);
    let at = |point: &ParetoPoint| (x.at(point.x.value), y.at(point.y.value));
    push_front(&mut svg, pareto.points.iter().filter(|point| point.front).map(at).collect());
    for point in &pareto.points {
        push_bars(&mut svg, point, &x, &y);
    }
    for point in &pareto.points {
        let (px, py) = at(point);
        let _ = write!(svg, "<g data-defence=\"{}\">", escape::html(&point.name));
        if point.front {
            let _ = write!(svg, "<circle class=\"ring\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"7.5\"/>");
        }
        let _ = write!(svg, "{}</g>", marker(style(point.kind), px, py));
    }
    let mut named: Vec<_> = pareto
        .points
        .iter()
        .map(|point| {
            let (x, y) = at(point);
            Named { name: &point.name, x, y }
        })
        .collect();
    // From the top down, so that lines to names do not cross.
    named.sort_by(|a, b| a.y.total_cmp(&b.y));
    names::push(&mut svg, &named, Frame { right: WIDTH - 2.0, ..FRAME });
    push_legend(&mut svg, pareto);
    svg
}

/// From a round number below all values to 1; never a scale that makes much of little.
fn axis(scores: impl Iterator<Item = Score>, ends: [f64; 2], label: &str) -> Axis<'_> {
    let least = scores.map(|score| score.value).fold(1.0, f64::min);
    let low = ((least - 0.05) * 10.0).floor().clamp(0.0, 8.0) / 10.0;
    Axis { scale: Scale::linear(low, 1.0), ends, label }
}

/// The style of a kind's symbol among those of all pictures.
fn style(kind: DefenceKind) -> usize {
    match kind {
        DefenceKind::Undefended => BASELINE,
        DefenceKind::Alignment => 0,
        DefenceKind::FineTuning => 1,
        DefenceKind::PostFineTuning => 2,
        DefenceKind::Several => 3,
        DefenceKind::Pretraining => 4,
    }
}

/// Steps down from the most harmless to the ablest: everything below and left of it is beaten.
fn push_front(svg: &mut String, mut front: Vec<(f64, f64)>) {
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some(&(_, first)) = front.first() else { return };
    let mut path = format!("M{} {first:.1}", FRAME.left);
    for (px, py) in front {
        let _ = write!(path, "V{py:.1}H{px:.1}");
    }
    let _ = write!(svg, "<path class=\"front\" d=\"{path}V{}\"/>", FRAME.bottom);
}

fn push_bars(svg: &mut String, point: &ParetoPoint, x: &Axis<'_>, y: &Axis<'_>) {
    let _ = write!(
        svg,
        "<path data-defence=\"{}\" class=\"bar s{}\" d=\"M{:.1} {:.1}H{:.1}M{:.1} {:.1}V{:.1}\"/>",
        escape::html(&point.name),
        style(point.kind),
        x.at(point.x.lower),
        y.at(point.y.value),
        x.at(point.x.upper),
        x.at(point.x.value),
        y.at(point.y.lower),
        y.at(point.y.upper)
    );
}

fn push_legend(svg: &mut String, pareto: &Pareto) {
    let mut kinds: Vec<DefenceKind> = pareto.points.iter().map(|point| point.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (mut left, mut line) = (FRAME.left, FRAME.bottom + 54.0);
    for kind in kinds {
        let width = 20.0 + LETTER * kind.name().chars().count() as f64;
        if left + width > WIDTH {
            (left, line) = (FRAME.left, line + 17.0);
        }
        let _ = write!(
            svg,
            "{}<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            marker(style(kind), left + 4.0, line - 4.0),
            left + 13.0,
            line,
            kind.name()
        );
        left += width + 8.0;
    }
}

/// The picture in words.
fn description(pareto: &Pareto) -> String {
    let of = |point: &ParetoPoint| {
        format!(
            "{} ({}): {} {}, {} {}{}",
            point.name,
            point.kind.name(),
            pareto.y_label,
            wording::share(point.y.value),
            pareto.x_label,
            wording::share(point.x.value),
            if point.front { ", on the front" } else { "" }
        )
    };
    pareto.points.iter().map(of).collect::<Vec<_>>().join("; ") + "."
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;
    use titer_view::comparison::rows;
    use titer_view::pareto::pareto;

    use super::*;

    fn specimen() -> Pareto {
        pareto(&rows(&specimen::api(), &[])).expect("more than one defence")
    }

    #[test]
    fn the_whole_picture() {
        insta::assert_snapshot!(picture(&specimen()).replace("><", ">\n<"));
    }

    #[test]
    fn a_file_is_whole_and_names_are_text() {
        let mut pareto = specimen();
        pareto.points[1].name = "a <name> & more".into();
        let svg = file(&pareto);
        assert!(svg.contains("a &lt;name&gt; &amp; more") && svg.contains("<style>"));
        assert_eq!(svg.matches("class=\"name\"").count(), pareto.points.len());
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "no outside reference");
    }

    #[test]
    fn axes_end_below_the_least_value() {
        let axis = |least: f64| {
            let score = Score { value: least, lower: 0.0, upper: 1.0 };
            let axis = axis(std::iter::once(score), [0.0, 100.0], "");
            [0.0, 0.3, 0.8].into_iter().find(|value| axis.at(*value) == 0.0 && axis.at(value + 0.1) > 0.0)
        };
        assert_eq!([0.97, 0.42, 0.0].map(axis), [Some(0.8), Some(0.3), Some(0.0)]);
    }
}

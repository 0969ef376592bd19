//! Safety against use: each defence as a point, and the front of those that no other beats in both.
//!
//! Stages differ in colour and in symbol; the front is a line and a ring, so that the picture survives a
//! black-and-white printer.

use std::fmt::Write as _;

use serde::Serialize;
use titer_conditions::Score;
use titer_plan::{DefenceStage, ThreatModel};

use super::escape;
use super::svg::{STYLE, marker};
use crate::comparison::Row;
use crate::wording;

/// The picture as data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Pareto {
    /// What it shows.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    /// The x axis: a score from 0 to 1, more is better.
    pub(crate) x_label: String,
    /// The y axis: 1 − harmful score.
    pub(crate) y_label: String,
    /// A point for each defence that was scored.
    pub(crate) points: Vec<Place>,
}

/// One defence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Place {
    /// Its label.
    pub(crate) name: String,
    /// What its symbol stands for.
    pub(crate) kind: Kind,
    /// How able.
    pub(crate) x: Score,
    /// How harmless.
    pub(crate) y: Score,
    /// Whether no other defence is at least as good in both and better in one.
    pub(crate) front: bool,
}

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The aligned model itself.
    Undefended,
    /// Methods of one stage.
    Alignment,
    /// Methods of one stage.
    FineTuning,
    /// Methods of one stage.
    PostFineTuning,
    /// Methods of several stages.
    Several,
}

impl Kind {
    fn of(row: &Row) -> Self {
        match (row.baseline, row.stages.as_slice()) {
            (true, _) => Self::Undefended,
            (_, [DefenceStage::Alignment]) => Self::Alignment,
            (_, [DefenceStage::FineTuning]) => Self::FineTuning,
            (_, [DefenceStage::PostFineTuning]) => Self::PostFineTuning,
            _ => Self::Several,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Undefended => "undefended",
            Self::Alignment => "alignment",
            Self::FineTuning => "fine-tuning",
            Self::PostFineTuning => "post-fine-tuning",
            Self::Several => "several stages",
        }
    }

    /// The style of its symbol among those of all pictures.
    fn style(self) -> usize {
        match self {
            Self::Undefended => 5,
            Self::Alignment => 0,
            Self::FineTuning => 1,
            Self::PostFineTuning => 2,
            Self::Several => 3,
        }
    }
}

/// The picture of an experiment's defences; none where fewer than two were scored.
pub(crate) fn pareto(rows: &[Row]) -> Option<Pareto> {
    let threat_model = rows.first()?.threat_model;
    let (x_label, of): (_, fn(&Row) -> Option<Score>) = match threat_model {
        ThreatModel::OpenWeights => ("permitted ability after the attack", |row| row.permitted.after),
        ThreatModel::FineTuningApi => ("fine-tune accuracy", |row| row.accuracy.after),
    };
    let place = |row: &Row| {
        let harm = row.harmful.after?;
        let y = Score { value: 1.0 - harm.value, lower: 1.0 - harm.upper, upper: 1.0 - harm.lower };
        Some(Place { name: row.defence.clone(), kind: Kind::of(row), x: of(row)?, y, front: false })
    };
    let mut points: Vec<Place> = rows.iter().filter_map(place).collect();
    let at: Vec<(f64, f64)> = points.iter().map(|point| (point.x.value, point.y.value)).collect();
    for (point, &(x, y)) in points.iter_mut().zip(&at) {
        point.front = !at.iter().any(|&(a, b)| a >= x && b >= y && (a > x || b > y));
    }
    let mut attacks = rows.iter().filter_map(|row| row.attack.as_ref());
    let same = attacks.all(|attack| Some(attack) == rows[0].attack.as_ref());
    let attack = match &rows[0].attack {
        Some(attack) if same => format!("after {attack}"),
        _ => "after the attack that leaves each most harmful".to_owned(),
    };
    (points.len() > 1).then(|| Pareto {
        title: "Safety against use".into(),
        caption: format!(
            "Each defence {attack}. Up is harmless, right is able. Ringed and joined by the dashed line: the \
             front, those that no other beats in both. Bars are confidence intervals."
        ),
        x_label: x_label.into(),
        y_label: "1 − harmful score".into(),
        points,
    })
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 372.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 386.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 292.0;
/// Width of a letter of a label, about.
const LETTER: f64 = 6.6;

/// One axis, from a round number below all values to 1.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    start: f64,
    end: f64,
}

impl Axis {
    fn of(scores: impl Iterator<Item = Score>, start: f64, end: f64) -> Self {
        let least = scores.map(|score| score.value).fold(1.0, f64::min);
        // Some room, so that no point sits on the edge; and never a scale that makes much of little.
        Self { low: ((least - 0.05) * 10.0).floor().clamp(0.0, 8.0) / 10.0, start, end }
    }

    fn at(self, value: f64) -> f64 {
        let share = (value - self.low) / (1.0 - self.low);
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    fn ticks(self) -> Vec<f64> {
        let step = if self.low < 0.5 { 2 } else { 1 };
        let first = (self.low * 10.0).round() as u32;
        (first..=10).filter(|tick| (10 - tick) % step == 0).map(|tick| f64::from(tick) / 10.0).collect()
    }
}

/// The picture as an image with a title and a description for those who cannot see it; `alone`: with the
/// style sheet, as a file that needs nothing else.
pub(crate) fn svg(pareto: &Pareto, alone: bool) -> String {
    let x = Axis::of(pareto.points.iter().map(|point| point.x), LEFT + 6.0, RIGHT - 8.0);
    let y = Axis::of(pareto.points.iter().map(|point| point.y), BOTTOM - 6.0, TOP + 8.0);
    let size = if alone {
        format!(" xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\"", WIDTH * 1.5, HEIGHT * 1.5)
    } else {
        String::new()
    };
    let mut svg = format!(
        "<svg{size} class=\"figure\" role=\"img\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         aria-labelledby=\"pareto-title pareto-description\"><title id=\"pareto-title\">{}</title>\
         <desc id=\"pareto-description\">{}</desc>",
        escape::html(&pareto.title),
        escape::html(&description(pareto))
    );
    if alone {
        let _ = write!(
            svg,
            "<style>{STYLE}</style><rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"
        );
    }
    push_axes(&mut svg, pareto, x, y);
    push_front(&mut svg, pareto, x, y);
    for point in &pareto.points {
        push_bars(&mut svg, point, x, y);
    }
    for point in &pareto.points {
        let (px, py) = (x.at(point.x.value), y.at(point.y.value));
        if point.front {
            let _ = write!(svg, "<circle class=\"ring\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"7.5\"/>");
        }
        svg.push_str(&marker(point.kind.style(), px, py));
    }
    push_names(&mut svg, pareto, x, y);
    push_legend(&mut svg, pareto);
    svg.push_str("</svg>");
    if alone {
        svg.push('\n');
    }
    svg
}

fn push_axes(svg: &mut String, pareto: &Pareto, x: Axis, y: Axis) {
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{RIGHT}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{BOTTOM}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            BOTTOM + 15.0
        );
    }
    let middle = (TOP + BOTTOM) / 2.0;
    let _ = write!(
        svg,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} →</text>\
         <text class=\"label\" transform=\"translate(13 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{} →</text>",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 32.0,
        escape::html(&pareto.x_label),
        escape::html(&pareto.y_label)
    );
}

/// Steps down from the most harmless to the ablest: everything below and left of it is beaten.
fn push_front(svg: &mut String, pareto: &Pareto, x: Axis, y: Axis) {
    let mut front: Vec<(f64, f64)> = pareto
        .points
        .iter()
        .filter(|point| point.front)
        .map(|point| (x.at(point.x.value), y.at(point.y.value)))
        .collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some(&(_, first)) = front.first() else { return };
    let mut path = format!("M{LEFT} {first:.1}");
    for (px, py) in front {
        let _ = write!(path, "V{py:.1}H{px:.1}");
    }
    let _ = write!(svg, "<path class=\"front\" d=\"{path}V{BOTTOM}\"/>");
}

fn push_bars(svg: &mut String, point: &Place, x: Axis, y: Axis) {
    let (px, py) = (x.at(point.x.value), y.at(point.y.value));
    let _ = write!(
        svg,
        "<path class=\"bar s{}\" d=\"M{:.1} {py:.1}H{:.1}M{px:.1} {:.1}V{:.1}\"/>",
        point.kind.style(),
        x.at(point.x.lower),
        x.at(point.x.upper),
        y.at(point.y.lower),
        y.at(point.y.upper)
    );
}

/// Left, top, right, bottom.
#[derive(Clone, Copy)]
struct Box4(f64, f64, f64, f64);

impl Box4 {
    fn overlap(self, other: Self) -> f64 {
        let width = self.2.min(other.2) - self.0.max(other.0);
        let height = self.3.min(other.3) - self.1.max(other.1);
        width.max(0.0) * height.max(0.0)
    }

    /// How much of it lies outside the axes.
    fn outside(self) -> f64 {
        (self.2 - self.0) * (self.3 - self.1) - self.overlap(Self(LEFT, TOP - 8.0, WIDTH - 2.0, BOTTOM))
    }
}

/// Each name where it covers least of the symbols and of the names before it.
fn push_names(svg: &mut String, pareto: &Pareto, x: Axis, y: Axis) {
    let at = |point: &Place| (x.at(point.x.value), y.at(point.y.value));
    let mut taken: Vec<Box4> = pareto
        .points
        .iter()
        .map(|point| {
            let (px, py) = at(point);
            Box4(px - 7.0, py - 7.0, px + 7.0, py + 7.0)
        })
        .collect();
    for point in &pareto.points {
        let (px, py) = at(point);
        let width = LETTER * point.name.chars().count() as f64;
        let places = [0.0, -11.0, 11.0, -22.0, 22.0, -33.0, 33.0].into_iter().flat_map(|down: f64| {
            let side = if down.abs() > 15.0 { 4.0 } else { 11.0 };
            [(px + side, py + down), (px - side - width, py + down), (px - width / 2.0, py + down * 1.4)]
        });
        let cost = |&(left, middle): &(f64, f64)| {
            let place = Box4(left, middle - 6.0, left + width, middle + 6.0);
            let covered: f64 = taken.iter().map(|other| place.overlap(*other)).sum();
            (covered + 3.0 * place.outside(), place, middle)
        };
        let best = places.map(|place| cost(&place)).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, place, middle)) = best else { continue };
        taken.push(place);
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            place.0,
            middle + 4.0,
            escape::html(&point.name)
        );
    }
}

fn push_legend(svg: &mut String, pareto: &Pareto) {
    let mut kinds: Vec<Kind> = pareto.points.iter().map(|point| point.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (mut left, mut line) = (LEFT, BOTTOM + 54.0);
    for kind in kinds {
        let width = 20.0 + LETTER * kind.name().chars().count() as f64;
        if left + width > RIGHT {
            (left, line) = (LEFT, line + 17.0);
        }
        let _ = write!(
            svg,
            "{}<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            marker(kind.style(), left + 4.0, line - 4.0),
            left + 13.0,
            line,
            kind.name()
        );
        left += width + 8.0;
    }
}

/// The picture in words.
fn description(pareto: &Pareto) -> String {
    let of = |point: &Place| {
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
    use super::*;
    use crate::comparison::rows;
    use crate::specimen;

    fn picture() -> Pareto {
        pareto(&rows(&specimen::api(), &[])).expect("more than one defence")
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let picture = picture();
        let front: Vec<_> =
            picture.points.iter().filter(|point| point.front).map(|point| point.name.as_str()).collect();
        assert_eq!(front, ["none", "lisa", "booster+antidote"]);
        assert_eq!(picture.points[4].kind, Kind::Several);
        assert!((picture.points[0].y.value - (1.0 - 0.62)).abs() < 1e-9);
        assert!(picture.caption.contains("after mixed-finetune/share=0.2"), "{}", picture.caption);
    }

    #[test]
    fn the_whole_picture() {
        insta::assert_snapshot!(svg(&picture(), false).replace("><", ">\n<"));
    }

    #[test]
    fn every_name_is_there_and_lies_inside() {
        let mut picture = picture();
        // All on one spot, in a corner.
        for point in &mut picture.points {
            (point.x, point.y) = (Score { value: 1.0, lower: 0.9, upper: 1.0 }, point.y);
        }
        picture.points[1].name = "a <name> & more".into();
        let svg = svg(&picture, true);
        assert!(svg.contains("a &lt;name&gt; &amp; more") && svg.contains("<style>"));
        let lefts = svg.split("class=\"name\" x=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let lefts: Vec<f64> = lefts.map(|left| left.parse().expect("a number")).collect();
        assert_eq!(lefts.len(), picture.points.len());
        assert!(lefts.iter().all(|left| (0.0..WIDTH).contains(left)), "{lefts:?}");
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "no outside reference");
    }

    #[test]
    fn axes_end_below_the_least_value() {
        let axis = |least: f64| {
            let score = Score { value: least, lower: 0.0, upper: 1.0 };
            let axis = Axis::of(std::iter::once(score), 0.0, 100.0);
            (axis.low, axis.ticks().len(), axis.at(1.0))
        };
        assert_eq!(axis(0.97), (0.8, 3, 100.0));
        assert_eq!(axis(0.42), (0.3, 4, 100.0));
        assert_eq!(axis(0.0), (0.0, 6, 100.0));
    }

    #[test]
    fn one_defence_makes_no_picture() {
        assert_eq!(pareto(&rows(&specimen::api(), &[])[..1]), None);
    }
}

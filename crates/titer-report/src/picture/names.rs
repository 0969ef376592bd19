//! Where the names of points stand: each where it covers least, with a thin line to its point if that is far.

use std::fmt::Write as _;

use super::super::escape;
use super::axes::{Frame, LETTER};

/// Half the height of a name, and of the room that a symbol takes.
const HALF: f64 = 7.0;
/// Where a name begins beside its point.
const BESIDE: f64 = 11.0;
/// Names further from their points than this are joined to them by a line.
const FAR: f64 = 20.0;

/// A point with a name.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A rectangle.
#[derive(Debug, Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn around(x: f64, y: f64) -> Self {
        Self { left: x - HALF, top: y - HALF, right: x + HALF, bottom: y + HALF }
    }

    fn overlap(self, other: Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    /// How much of it lies outside a frame.
    fn outside(self, frame: Frame) -> f64 {
        let frame = Self { left: frame.left, top: frame.top, right: frame.right, bottom: frame.bottom };
        (self.right - self.left) * (self.bottom - self.top) - self.overlap(frame)
    }

    /// The way from a point to it.
    fn way(self, x: f64, y: f64) -> (f64, f64) {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }

    fn distance(self, x: f64, y: f64) -> f64 {
        let (near_x, near_y) = self.way(x, y);
        (near_x - x).hypot(near_y - y)
    }
}

/// Writes the names of all points, within the frame as far as there is room.
pub(super) fn push(svg: &mut String, points: &[Named<'_>], frame: Frame) {
    let mut taken: Vec<Area> = points.iter().map(|point| Area::around(point.x, point.y)).collect();
    for point in points {
        let width = LETTER * point.name.chars().count() as f64;
        let cost = |area: &Area| {
            let covered: f64 = taken.iter().map(|other| area.overlap(*other)).sum();
            covered + 4.0 * area.outside(frame) + 0.6 * (area.distance(point.x, point.y) - BESIDE).max(0.0)
        };
        let best = candidates(point, width).min_by(|a, b| cost(a).total_cmp(&cost(b)));
        let Some(area) = best else { continue };
        taken.push(area);
        let (x, y) = area.way(point.x, point.y);
        let name = escape::html(point.name);
        if area.distance(point.x, point.y) > FAR {
            let _ = write!(
                svg,
                "<path class=\"leader\" data-defence=\"{name}\" d=\"M{:.1} {:.1}L{x:.1} {y:.1}\"/>",
                point.x, point.y
            );
        }
        let _ = write!(
            svg,
            "<text class=\"name\" data-defence=\"{name}\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            area.left,
            area.bottom - 3.0
        );
    }
}

/// Places for a name of this width: beside the point, then further and further off.
fn candidates(point: &Named<'_>, width: f64) -> impl Iterator<Item = Area> {
    let (x, y) = (point.x, point.y);
    let rows = (0..24).flat_map(|row| [f64::from(row) * 7.0, f64::from(row) * -7.0]);
    rows.flat_map(move |down| {
        let beside = if down.abs() > BESIDE { 4.0 } else { BESIDE };
        let columns = [beside, beside + 50.0, beside + 100.0, beside + 150.0];
        let right = columns.map(|off| x + off);
        let left = columns.map(|off| x - off - width);
        right.into_iter().chain(left).chain([x - width / 2.0]).map(move |left| Area {
            left,
            top: y + down - HALF,
            right: left + width,
            bottom: y + down + HALF,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_spot_do_not_cover_each_other() {
        let frame = Frame { left: 50.0, top: 10.0, right: 400.0, bottom: 300.0 };
        let names: Vec<String> = (0..20).map(|number| format!("defence-{number}")).collect();
        // All in a corner.
        let points: Vec<_> = names.iter().map(|name| Named { name, x: 398.0, y: 298.0 }).collect();
        let mut svg = String::new();
        push(&mut svg, &points, frame);
        let number = |text: &str, key: &str| -> f64 {
            let (_, rest) = text.split_once(&format!(" {key}=\"")).expect("the attribute");
            rest.split('"').next().and_then(|value| value.parse().ok()).expect("a number")
        };
        let areas: Vec<Area> = svg
            .split("<text")
            .skip(1)
            .zip(&names)
            .map(|(text, name)| {
                let (left, bottom) = (number(text, "x"), number(text, "y") + 3.0);
                Area { left, top: bottom - 2.0 * HALF, right: left + LETTER * name.len() as f64, bottom }
            })
            .collect();
        assert_eq!(areas.len(), names.len());
        for (index, area) in areas.iter().enumerate() {
            assert!(area.outside(frame) < 1.0, "{area:?} lies outside");
            for other in &areas[index + 1..] {
                assert!(area.overlap(*other) < 200.0, "{area:?} covers {other:?}");
            }
        }
        assert!(svg.contains("class=\"leader\""));
    }
}

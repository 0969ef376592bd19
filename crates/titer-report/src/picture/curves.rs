//! Curves over budget: a panel for each attack and group of defences, or a whole figure as a file.

use std::fmt::Write as _;

use titer_view::curves::Point;
use titer_view::figure::{Figure, Group, Line, Member, Panel};
use titer_view::scale::{Scale, Spread};

use super::super::escape;
use super::Canvas;
use super::axes::{Axis, Frame, LETTER};
use super::marks::{key, marker};

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 200.0;
/// Room on the right for the threshold's name, where no line crosses it.
const FRAME: Frame = Frame { left: 52.0, top: 26.0, right: 244.0, bottom: 162.0 };
const LEGEND_LINE: f64 = 22.0;

/// One panel as an image of its own; none where no line of the group has a point in it.
pub(crate) fn panel(figure: &Figure, group: usize, index: usize) -> Option<String> {
    let (members, panel) = (figure.groups.get(group)?, figure.panels.get(index)?);
    lines(members, panel).next()?;
    let mut content = String::new();
    push_panel(&mut content, figure, members, panel);
    let canvas = Canvas {
        id: &format!("{}-{group}-{index}", figure.id),
        width: WIDTH,
        height: HEIGHT,
        title: &format!("{}: {}{}", figure.title, panel.title, suffix(members)),
        description: &description(figure, members, panel),
    };
    Some(canvas.within_page(&content))
}

/// Which defences are meant, where there are several groups.
fn suffix(group: &Group) -> String {
    if group.title.is_empty() { String::new() } else { format!(", {}", group.title) }
}

/// All panels of a figure, group below group, each with its legend: a file that needs nothing else.
pub fn file(figure: &Figure) -> String {
    let columns = figure.panels.len().clamp(1, 4);
    // A legend and a heading need the width of two panels.
    let width = WIDTH * columns.max(2) as f64;
    let mut content =
        format!("<text class=\"heading\" x=\"14\" y=\"22\">{}</text>", escape::html(&figure.title));
    let mut top = 34.0;
    let mut descriptions = Vec::new();
    for group in &figure.groups {
        top = push_legend(&mut content, figure, group, width, top);
        let panels: Vec<&Panel> =
            figure.panels.iter().filter(|panel| lines(group, panel).next().is_some()).collect();
        for (index, panel) in panels.iter().enumerate() {
            let (x, y) = ((index % columns) as f64 * WIDTH, top + (index / columns) as f64 * HEIGHT);
            let _ = write!(content, "<g transform=\"translate({x} {y:.1})\">");
            push_panel(&mut content, figure, group, panel);
            content.push_str("</g>");
            let said = description(figure, group, panel);
            descriptions.push(format!("{}{}. {said}", panel.title, suffix(group)));
        }
        top += HEIGHT * panels.len().div_ceil(columns) as f64 + 12.0;
    }
    let canvas = Canvas {
        id: "figure",
        width,
        height: top.round(),
        title: &figure.title,
        description: &descriptions.join(" "),
    };
    canvas.alone(1.0, &content)
}

/// The legend of a group from `top` on; returns where it ends.
fn push_legend(svg: &mut String, figure: &Figure, group: &Group, width: f64, top: f64) -> f64 {
    let (mut left, mut line) = (14.0, top + 12.0);
    if !group.title.is_empty() {
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"14\" y=\"{line:.1}\">{}</text>",
            escape::html(&group.title)
        );
        line += LEGEND_LINE;
    }
    for member in &group.members {
        let Some(name) = figure.series.get(member.series) else { continue };
        let wide = 60.0 + LETTER * name.chars().count() as f64;
        if left > 14.0 && left + wide > width {
            (left, line) = (14.0, line + LEGEND_LINE);
        }
        let _ = write!(
            svg,
            "{}<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            key(member.style, left, line - 4.0),
            left + 42.0,
            line,
            escape::html(name)
        );
        left += wide;
    }
    line + 10.0
}

/// The lines of a group in a panel, with their styles.
fn lines<'a>(group: &'a Group, panel: &'a Panel) -> impl Iterator<Item = (&'a Member, &'a Line)> {
    group.members.iter().filter_map(|member| {
        let line = panel.lines.iter().find(|line| line.series == member.series)?;
        (!line.points.is_empty()).then_some((member, line))
    })
}

fn push_panel(svg: &mut String, figure: &Figure, group: &Group, panel: &Panel) {
    let steps = panel.lines.iter().flat_map(|line| &line.points).map(|point| point.x);
    let x = Axis {
        scale: Scale::around(steps, Spread::Log),
        ends: [FRAME.left, FRAME.right],
        label: "steps (log)",
    };
    let y = Axis { scale: Scale::linear(0.0, 1.0), ends: [FRAME.bottom, FRAME.top], label: &figure.y_label };
    let _ =
        write!(svg, "<text class=\"heading\" x=\"4\" y=\"14\">{}</text>", escape::html(&cut(&panel.title)));
    FRAME.push(svg, &x, &y);
    if let Some(threshold) = &figure.threshold {
        let at = y.at(threshold.value);
        let _ = write!(
            svg,
            "<path class=\"threshold\" d=\"M{} {at:.1}H{}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            FRAME.left,
            FRAME.right,
            FRAME.right + 5.0,
            at + 4.0,
            escape::html(&threshold.label)
        );
    }
    // Bands first, so that no band covers a line.
    for (member, line) in lines(group, panel) {
        push_band(svg, figure, *member, line, &x, &y);
    }
    for (member, line) in lines(group, panel) {
        push_line(svg, figure, *member, line, &x, &y);
    }
}

/// A panel's title as far as it fits.
fn cut(title: &str) -> String {
    const LONGEST: usize = 42;
    if title.chars().count() <= LONGEST {
        return title.to_owned();
    }
    title.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Whose line it is, for a script that hides it.
fn owner(figure: &Figure, member: Member) -> String {
    escape::html(figure.series.get(member.series).map_or("", String::as_str))
}

fn push_band(svg: &mut String, figure: &Figure, member: Member, line: &Line, x: &Axis<'_>, y: &Axis<'_>) {
    if line.points.iter().all(|point| point.low == point.high) {
        return;
    }
    let upper = line.points.iter().map(|point| (point.x, point.high));
    let lower = line.points.iter().rev().map(|point| (point.x, point.low));
    let corner = |(steps, value)| format!("{:.1},{:.1}", x.at(steps), y.at(value));
    let corners: Vec<_> = upper.chain(lower).map(corner).collect();
    let _ = write!(
        svg,
        "<polygon data-defence=\"{}\" class=\"band s{}\" points=\"{}\"/>",
        owner(figure, member),
        member.style,
        corners.join(" ")
    );
}

fn push_line(svg: &mut String, figure: &Figure, member: Member, line: &Line, x: &Axis<'_>, y: &Axis<'_>) {
    let style = member.style;
    let places: Vec<_> = line.points.iter().map(|point| (x.at(point.x), y.at(point.y))).collect();
    let corners: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = write!(
        svg,
        "<g data-defence=\"{}\"><polyline class=\"line s{style}\" points=\"{}\"/>",
        owner(figure, member),
        corners.join(" ")
    );
    // A symbol that would sit upon the last one says nothing.
    let mut marked = f64::NEG_INFINITY;
    for &(x, y) in &places {
        if x - marked >= 9.0 {
            svg.push_str(&marker(style, x, y));
            marked = x;
        }
    }
    svg.push_str("</g>");
}

/// The panel in words: where each line starts, where it ends, and when it crosses the threshold.
fn description(figure: &Figure, group: &Group, panel: &Panel) -> String {
    let sentences: Vec<_> = lines(group, panel)
        .filter_map(|(member, line)| {
            let name = figure.series.get(member.series)?;
            let (first, last) = (line.points.first()?, line.points.last()?);
            let mut sentence = format!("{name}: {} to {}", at(first), at(last));
            if let Some(threshold) = &figure.threshold
                && let Some(crossing) = line.points.iter().find(|point| point.y > threshold.value)
            {
                let _ = write!(sentence, ", above {} from step {}", threshold.label, crossing.x);
            }
            Some(sentence)
        })
        .collect();
    format!("{} over optimiser steps. {}.", figure.y_label, sentences.join("; "))
}

fn at(point: &Point) -> String {
    format!("{:.2} at step {}", point.y, point.x)
}

#[cfg(test)]
mod tests {
    use super::super::super::specimen;
    use super::*;

    #[test]
    fn a_panel() {
        let figure = specimen::figure();
        insta::assert_snapshot!(panel(&figure, 0, 0).expect("points").replace("><", ">\n<"));
    }

    #[test]
    fn a_figure_stands_alone() {
        let svg = file(&specimen::figure());
        assert!(svg.contains("<style>") && svg.contains("<title id=\"figure-title\">"));
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "no outside reference");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }

    #[test]
    fn a_group_shows_its_own_lines_only() {
        let mut figure = specimen::figure();
        let member = |series| Member { series, style: series };
        figure.groups = vec![
            Group { title: "one".into(), members: vec![member(0), member(1)] },
            Group { title: "two".into(), members: vec![member(0), member(2)] },
        ];
        let second = panel(&figure, 1, 0).expect("points");
        assert!(second.contains("data-defence=\"tar\"") && !second.contains("adversarial-loss"));
        assert!(second.contains("full-finetune/rate=3e-5, two</title>"));
        let file = file(&figure);
        assert_eq!(file.matches("<g transform").count(), 4);
        assert!(file.contains(">one</text>") && file.contains(">two</text>"));
    }

    #[test]
    fn a_panel_without_points_is_left_out() {
        let mut figure = specimen::figure();
        figure.panels =
            vec![Panel { title: "nothing".into(), lines: vec![Line { series: 0, points: vec![] }] }];
        assert_eq!(panel(&figure, 0, 0), None);
        assert!(!file(&figure).contains("NaN"));
    }
}

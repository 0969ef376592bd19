//! How lines and symbols are told apart: by colour, dashes and shape at once.

/// The colours and strokes of every picture; pages include it once.
pub(crate) const STYLE: &str = include_str!("figure.css");

/// The sample of a line that stands in a legend.
pub(crate) fn legend_key(style: usize) -> String {
    format!(
        "<svg class=\"figure key\" viewBox=\"0 0 36 12\" aria-hidden=\"true\">{}</svg>",
        key(style, 0.0, 6.0)
    )
}

/// Line and symbol of a style, 36 wide, its middle at (`x` + 18, `y`).
pub(super) fn key(style: usize, x: f64, y: f64) -> String {
    format!(
        "<line class=\"line s{style}\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>{}",
        x + 36.0,
        marker(style, x + 18.0, y)
    )
}

/// The symbol of a style, its middle at (`x`, `y`).
pub(super) fn marker(style: usize, x: f64, y: f64) -> String {
    let path = match style {
        0 => format!("M{:.1} {y:.1}a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z", x - 3.2),
        1 => format!("M{:.1} {:.1}h6v6h-6z", x - 3.0, y - 3.0),
        2 => format!("M{x:.1} {:.1}l4 7h-8z", y - 4.5),
        3 => format!("M{x:.1} {:.1}l4.2 4.2l-4.2 4.2l-4.2 -4.2z", y - 4.2),
        4 => format!("M{x:.1} {:.1}l4 -7h-8z", y + 4.5),
        5 => format!("M{:.1} {:.1}h8v3h-8z", x - 4.0, y - 1.5),
        _ => format!("M{:.1} {:.1}h2.4v-2.8h2.4v2.8h2.4v2.4h-2.4v2.8h-2.4v-2.8h-2.4z", x - 3.6, y - 1.2),
    };
    format!("<path class=\"marker s{style}\" d=\"{path}\"/>")
}

//! Pictures as SVG: for a page that brings the style sheet, or as files that need nothing else.
//!
//! Lines and symbols differ in colour (a palette that colour-blind people tell apart), in dashes and in shape, so
//! that a picture survives a black-and-white printer; each has a title and a description for those who cannot
//! see it.
//!
//! They are written by hand because no library for charts gives what a page needs of them. `plotters` draws shapes with
//! fixed colours: no title and description, no style sheet by which a page goes dark, no owner of a line that a script
//! may hide; `charming` hands a description to a script in the reader's browser. Scales and ticks are those of all
//! faces.

mod axes;
mod curves;
mod marks;
mod names;
mod pareto;

pub use curves::file as curves_file;
pub(crate) use curves::panel;
pub(crate) use marks::{STYLE, legend_key};
pub use pareto::file as pareto_file;
pub(crate) use pareto::picture as pareto;

use super::escape;

/// What every picture has: its size in its own units, and words.
struct Canvas<'a> {
    /// Unique on a page.
    id: &'a str,
    width: f64,
    height: f64,
    title: &'a str,
    description: &'a str,
}

impl Canvas<'_> {
    /// A picture within a page, as wide as there is room.
    fn within_page(&self, content: &str) -> String {
        self.svg("", content)
    }

    /// A file of its own, on paper, `scale` times as large as its units.
    fn alone(&self, scale: f64, content: &str) -> String {
        let (width, height) = (self.width * scale, self.height * scale);
        let size =
            format!(" xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\"");
        let paper = format!(
            "<style>{STYLE}</style><rect class=\"paper\" width=\"{}\" height=\"{}\"/>",
            self.width, self.height
        );
        self.svg(&size, &format!("{paper}{content}")) + "\n"
    }

    fn svg(&self, attributes: &str, content: &str) -> String {
        let Self { id, width, height, .. } = self;
        format!(
            "<svg{attributes} class=\"figure\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
             aria-labelledby=\"{id}-title {id}-description\"><title id=\"{id}-title\">{}</title>\
             <desc id=\"{id}-description\">{}</desc>{content}</svg>",
            escape::html(self.title),
            escape::html(self.description)
        )
    }
}

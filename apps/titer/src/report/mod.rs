//! The report: a model of what it says, and three renderings of it. Rendering is pure.

mod escape;
mod gather;
mod html;
mod markdown;
mod model;
mod pareto;
#[cfg(test)]
mod specimen;
mod svg;

pub(crate) use gather::gather;
pub(crate) use html::render as html;
pub(crate) use markdown::{PARETO_FILE, figure_file, render as markdown};
pub(crate) use model::ReportModel;
pub(crate) use pareto::svg as pareto_svg;
pub(crate) use svg::stand_alone as figure_svg;

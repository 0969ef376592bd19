//! The report: a model of what it says, and three renderings of it. Rendering is pure.

mod escape;
mod figures;
mod gather;
mod markdown;
mod model;
mod page;
mod pareto;
mod picture;
mod scope;
#[cfg(test)]
mod specimen;

pub(crate) use gather::gather;
pub(crate) use markdown::{PARETO_FILE, figure_file, render as markdown};
pub(crate) use model::ReportModel;
pub(crate) use page::render as html;
pub(crate) use picture::{curves_file, pareto_file};

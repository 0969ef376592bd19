//! The report: a model of what it says, and three renderings of it. Rendering is pure.

mod error;
mod escape;
mod gather;
mod markdown;
mod model;
mod page;
mod picture;
mod scope;
#[cfg(test)]
mod specimen;

pub use error::Error;
pub use gather::gather;
pub use markdown::{PARETO_FILE, defence, figure_file, render as markdown, tables};
pub use model::{Artifact, DefenceTiming, Fact, KindTiming, ReportModel, Timings};
pub use page::render as html;
pub use picture::{curves_file, pareto_file};

//! What is shown while a run goes on: moving lines on a terminal, plain lines elsewhere.

mod bars;
mod download;
mod forecast;
mod plain;

use std::io::{self, IsTerminal};

use titer_lab::{Estimate, Progress};
use titer_plan::Plan;

use bars::Bars;
pub(crate) use download::DownloadBars;
use forecast::Forecast;
use plain::Plain;

/// What suits stderr.
pub(crate) fn reporter(estimate: &Estimate) -> Box<dyn Progress> {
    shown(forecast(estimate))
}

/// The same where `first` is all that is asked for from the start.
pub(crate) fn reporter_from(estimate: &Estimate, first: &Plan) -> Box<dyn Progress> {
    shown(forecast(estimate).of(first.stages.iter().map(|stage| &stage.hash)))
}

fn forecast(estimate: &Estimate) -> Forecast {
    Forecast::new(
        estimate.stages.iter().filter(|stage| !stage.cached).map(|stage| (stage.hash.clone(), stage.seconds)),
    )
}

fn shown(forecast: Forecast) -> Box<dyn Progress> {
    if io::stderr().is_terminal() { Box::new(Bars::new(forecast)) } else { Box::new(Plain::new(forecast)) }
}

//! What is shown while a run goes on: moving lines on a terminal, plain lines elsewhere.

mod bars;
mod download;
mod forecast;
mod plain;

use std::io::{self, IsTerminal};

use titer_lab::{Estimate, Progress};

use bars::Bars;
pub(crate) use download::DownloadBars;
use forecast::Forecast;
use plain::Plain;

/// What suits stderr.
pub(crate) fn reporter(estimate: &Estimate) -> Box<dyn Progress> {
    let forecast = Forecast::new(
        estimate.stages.iter().filter(|stage| !stage.cached).map(|stage| (stage.hash.clone(), stage.seconds)),
    );
    if io::stderr().is_terminal() { Box::new(Bars::new(forecast)) } else { Box::new(Plain::new(forecast)) }
}

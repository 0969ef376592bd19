//! What is shown while files are downloaded.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use titer_lab::models::DownloadProgress;
use titer_view::sanitise;

use crate::output;

/// A moving line for each file on a terminal; off a terminal only what went wrong is said.
pub(crate) struct DownloadBars {
    bar: ProgressBar,
}

impl DownloadBars {
    /// Nothing to show yet.
    pub(crate) fn new() -> Self {
        Self { bar: ProgressBar::hidden() }
    }
}

impl DownloadProgress for DownloadBars {
    fn started(&mut self, file: &str, bytes: Option<u64>, present: u64) {
        let template = if bytes.is_some() {
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        } else {
            "{msg} {spinner} {bytes} {bytes_per_sec}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_position(present);
        self.bar = bar.with_style(style).with_message(sanitise::line(file).into_owned());
    }

    fn advanced(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn finished(&mut self) {
        self.bar.finish();
    }

    fn waiting(&mut self, reason: &str, pause: Duration) {
        output::message(&format!("{reason}; trying again in {} s", pause.as_secs().max(1)));
    }

    fn fell_back(&mut self, reason: &str) {
        output::message(&format!("{reason}; using what was downloaded before"));
    }
}

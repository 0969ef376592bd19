//! What a download tells while it runs; the app draws it.

use std::time::Duration;

/// Hears of downloads as they go. `()` hears nothing.
///
/// Files come one after another: `started`, any number of `advanced`, `finished`. A file that had to
/// be begun anew (the server could not resume) is `started` again.
pub trait Progress {
    /// `file` begins: `bytes` in all if the server says so, of which `present` were here already.
    fn started(&mut self, file: &str, bytes: Option<u64>, present: u64);

    /// So many more bytes came.
    fn advanced(&mut self, bytes: u64);

    /// The file is whole, verified and in the cache.
    fn finished(&mut self);

    /// An attempt failed for `reason`; the next one begins after `pause`.
    fn waiting(&mut self, reason: &str, pause: Duration) {
        let _ = (reason, pause);
    }

    /// The hub could not be asked (`reason`), so what the cache holds of the branch is used.
    fn fell_back(&mut self, reason: &str) {
        let _ = reason;
    }

    /// Asked often; `true` ends the download with [`Error::Cancelled`](crate::Error::Cancelled).
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn started(&mut self, _: &str, _: Option<u64>, _: u64) {}

    fn advanced(&mut self, _: u64) {}

    fn finished(&mut self) {}
}

//! Wall-clock time as it is written in manifests and events.

use std::time::SystemTime;

/// Now, as RFC 3339 in UTC with whole seconds.
pub(crate) fn now_rfc3339() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Seconds since the Unix epoch, rounded to milliseconds; 0 on a clock before it.
pub(crate) fn now_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1e3).round() / 1e3
}

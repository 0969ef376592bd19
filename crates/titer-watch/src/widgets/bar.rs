//! A bar that shows a share.

/// `share` of `width` columns, filled from the left. A number stands beside it wherever it is shown. A bar is
/// full only when all is done, and empty only when nothing is.
pub(crate) fn bar(share: f64, width: usize) -> String {
    let exact = share.clamp(0.0, 1.0) * width as f64;
    let filled = if share >= 1.0 {
        width
    } else if share > 0.0 {
        (exact.round() as usize).clamp(1, width.saturating_sub(1).max(1)).min(width)
    } else {
        0
    };
    "█".repeat(filled) + &"░".repeat(width - filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_only_at_the_end() {
        assert_eq!(
            [0.0, 0.001, 0.5, 0.999, 1.0].map(|share| bar(share, 4)),
            ["░░░░", "█░░░", "██░░", "███░", "████"]
        );
        assert_eq!(bar(0.5, 0), "");
    }
}

//! How someone likes to look at things, kept between sessions. Never what is looked at: that is the store's.

use serde::{Deserialize, Serialize};

use super::screen::{Liking, ScreenName};

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Prefs {
    /// The number of the screen that was shown last.
    screen: usize,
    /// The experiment that was looked at.
    pub(crate) experiment: Option<String>,
    /// What the screens keep.
    pub(crate) liking: Liking,
}

impl Prefs {
    /// With nothing from the screens yet.
    pub(crate) fn new(screen: ScreenName, experiment: Option<String>) -> Self {
        Self { screen: screen as usize, experiment, liking: Liking::new() }
    }

    /// The screen to begin with.
    pub(crate) fn screen(&self) -> ScreenName {
        ScreenName::ALL.get(self.screen).copied().unwrap_or(ScreenName::Experiments)
    }
}

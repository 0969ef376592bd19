//! How someone likes to look at things, kept between sessions. Never what is looked at: that is the store's.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::screen::Liking;
use super::screen_name::ScreenName;

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

    /// Those of the last session; none where there was none, or where they cannot be read.
    pub(crate) fn load(path: Option<&Path>) -> Self {
        let text = path.and_then(|path| fs::read(path).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Keeps them. That they cannot be kept is nobody's trouble.
    pub(crate) fn save(&self, path: Option<&Path>) {
        let Some((path, folder)) = path.and_then(|path| Some((path, path.parent()?))) else { return };
        let Ok(text) = serde_json::to_vec_pretty(self) else { return };
        let unfinished = path.with_extension("json.new");
        // Two apps that end at once must not tear each other's file.
        let _ = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&unfinished, text))
            .and_then(|()| fs::rename(&unfinished, path));
    }
}

/// Where they are kept: `$XDG_STATE_HOME/titer/watch.json`, or below `~/.local/state`.
pub(crate) fn path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let folder = variable("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(folder.join("titer/watch.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_torn_does_not() {
        let folder = std::env::temp_dir().join(format!("titer-prefs-{}", std::process::id()));
        let path = folder.join("deep/watch.json");
        let mut prefs = Prefs::new(ScreenName::Log, Some("tiny".into()));
        prefs.liking.insert("curves.x".into(), "flops".into());
        prefs.save(Some(&path));
        assert_eq!(Prefs::load(Some(&path)), prefs);
        assert_eq!(prefs.screen(), ScreenName::Log);
        fs::write(&path, "{\"screen\": 99, \"unknown\": 1}").unwrap();
        assert_eq!(Prefs::load(Some(&path)).screen(), ScreenName::Experiments);
        fs::write(&path, "{").unwrap();
        assert_eq!(Prefs::load(Some(&path)), Prefs::default());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn they_are_kept_where_the_system_keeps_such_things() {
        let of = |state: Option<&str>, home: Option<&str>| {
            path(|name| if name == "HOME" { home } else { state }.map(PathBuf::from))
        };
        assert_eq!(of(Some("/s"), Some("/h")), Some("/s/titer/watch.json".into()));
        assert_eq!(of(Some("relative"), Some("/h")), Some("/h/.local/state/titer/watch.json".into()));
        assert_eq!(of(None, None), None);
    }
}

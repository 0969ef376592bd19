//! Which of some things is selected: it stays with the thing, not with its place, when others come and go.

use super::keys::Action;
use super::widgets::rows::moved;

/// A selection among things that are known by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picked<K> {
    at: usize,
    key: Option<K>,
}

// Derived, it would ask the same of the key.
impl<K> Default for Picked<K> {
    fn default() -> Self {
        Self { at: 0, key: None }
    }
}

impl<K: PartialEq + Clone> Picked<K> {
    /// Where it is among `keys`; none where there are none.
    pub(crate) fn at(&self, keys: &[K]) -> Option<usize> {
        if keys.is_empty() {
            return None;
        }
        let near = self.at.min(keys.len() - 1);
        match &self.key {
            Some(key) if keys[near] != *key => {
                Some(keys.iter().position(|other| other == key).unwrap_or(near))
            }
            _ => Some(near),
        }
    }

    /// What is selected among `keys`.
    pub(crate) fn key<'a>(&self, keys: &'a [K]) -> Option<&'a K> {
        self.at(keys).and_then(|at| keys.get(at))
    }

    /// Selects a place among `keys`.
    pub(crate) fn select(&mut self, at: usize, keys: &[K]) {
        self.at = at.min(keys.len().saturating_sub(1));
        self.key = keys.get(self.at).cloned();
    }

    /// Moves as an action says, if it is about moving; returns whether it is.
    pub(crate) fn act(&mut self, action: Action, keys: &[K]) -> bool {
        use Action::{Bottom, Down, PageDown, PageUp, Top, Up};
        let moves = matches!(action, Up | Down | PageUp | PageDown | Top | Bottom);
        if moves {
            let at = moved(self.at(keys).unwrap_or(0), keys.len(), action);
            self.select(at, keys);
        }
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_with_the_thing() {
        let mut picked = Picked::default();
        assert_eq!(picked.at(&[] as &[&str]), None);
        assert_eq!(picked.key(&["a", "b"]), Some(&"a"));
        assert!(!picked.act(Action::Open, &["a", "b", "c"]));
        assert!(picked.act(Action::Down, &["a", "b", "c"]));
        assert_eq!(picked.key(&["a", "b", "c"]), Some(&"b"));
        assert_eq!(picked.at(&["x", "a", "b", "c"]), Some(2));
        assert_eq!(picked.at(&["x", "y"]), Some(1), "what is gone leaves its place");
        assert!(picked.act(Action::Top, &["x", "y"]));
        assert_eq!(picked.key(&["x", "y"]), Some(&"x"));
    }
}

//! Which of some things is selected: it stays with the thing, not with its place, when others come and go.

use super::keys::Action;
use super::widgets::rows;

/// How far an action moves in a list, if it does.
pub(crate) fn distance(action: Action) -> Option<isize> {
    const FAR: isize = isize::MAX / 2;
    match action {
        Action::Up => Some(-1),
        Action::Down => Some(1),
        Action::PageUp => Some(-10),
        Action::PageDown => Some(10),
        Action::Top => Some(-FAR),
        Action::Bottom => Some(FAR),
        _ => None,
    }
}

/// A selection among things that are known by a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Picked<K> {
    at: usize,
    key: Option<K>,
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

    /// Moves by so many places.
    pub(crate) fn step(&mut self, distance: isize, keys: &[K]) {
        let at = rows::step(self.at(keys).unwrap_or(0), keys.len(), distance);
        self.select(at, keys);
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
        picked.step(1, &["a", "b", "c"]);
        assert_eq!(picked.key(&["a", "b", "c"]), Some(&"b"));
        assert_eq!(picked.at(&["x", "a", "b", "c"]), Some(2));
        assert_eq!(picked.at(&["x", "y"]), Some(1), "what is gone leaves its place");
        picked.step(-9, &["x", "y"]);
        assert_eq!(picked.key(&["x", "y"]), Some(&"x"));
    }
}

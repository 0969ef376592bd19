//! The command palette: actions, screens and experiments by name.

use super::keys::{self, Action, Context, KEYMAP};
use super::screen_name::ScreenName;
use super::world::World;

/// What can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As if its key were pressed.
    Act(Action),
    /// Look at this experiment.
    Experiment(String),
}

/// One line of the palette.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// What it says.
    pub(crate) text: String,
    /// Its key, if it has one.
    pub(crate) key: &'static str,
    /// What it does.
    choice: Choice,
}

/// The palette while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Palette {
    offers: Vec<Offer>,
    /// Positions of those that fit what was typed, the best first.
    fitting: Vec<usize>,
    at: usize,
}

impl Palette {
    /// Everything that can be done on a screen.
    pub(crate) fn new(screen: ScreenName, world: &World) -> Self {
        let contexts = keys::contexts(screen);
        let useful = |context: Context| context != Context::Moving && contexts.contains(&context);
        let actions = KEYMAP.iter().filter(|binding| useful(binding.context)).map(|binding| Offer {
            text: binding.description.to_owned(),
            key: binding.keys[0],
            choice: Choice::Act(binding.action),
        });
        let experiments = world.listed().into_iter().map(|name| Offer {
            text: format!("Experiment {name}"),
            key: "",
            choice: Choice::Experiment(name.to_owned()),
        });
        let offers: Vec<_> = actions.chain(experiments).collect();
        Self { fitting: (0..offers.len()).collect(), offers, at: 0 }
    }

    /// Keeps what fits `typed`.
    pub(crate) fn search(&mut self, typed: &str) {
        let mut scored: Vec<_> = (0..self.offers.len())
            .filter_map(|at| fit(typed, &self.offers[at].text).map(|score| (score, at)))
            .collect();
        scored.sort();
        self.fitting = scored.into_iter().map(|(_, at)| at).collect();
        self.at = 0;
    }

    /// One line down or up.
    pub(crate) fn step(&mut self, down: bool) {
        let last = self.fitting.len().saturating_sub(1);
        self.at = if down { (self.at + 1).min(last) } else { self.at.saturating_sub(1) };
    }

    /// The lines that fit, and which is selected.
    pub(crate) fn lines(&self) -> (impl ExactSizeIterator<Item = &Offer>, usize) {
        (self.fitting.iter().map(|&at| &self.offers[at]), self.at)
    }

    /// What the selected line does.
    pub(crate) fn chosen(&self) -> Option<Choice> {
        self.fitting.get(self.at).map(|&at| self.offers[at].choice.clone())
    }
}

/// How well `typed` fits `text`, less being better; none where its letters do not come in order. Gaps cost, and
/// so does beginning inside a word.
fn fit(typed: &str, text: &str) -> Option<usize> {
    /// More than any way along the beginnings of words costs.
    const SCATTERED: usize = 1000;
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let typed: Vec<char> = typed.to_lowercase().chars().filter(|letter| !letter.is_whitespace()).collect();
    let scattered = || {
        let mut rest = text.iter();
        typed.iter().all(|letter| rest.any(|other| other == letter)).then_some(SCATTERED)
    };
    by_words(&typed, &text).or_else(scattered)
}

/// The cost of going from letter to letter, preferring the next place, then the beginning of a word.
fn by_words(typed: &[char], text: &[char]) -> Option<usize> {
    let begins = |place: usize| place == 0 || !text[place - 1].is_alphanumeric();
    let (mut at, mut cost) = (0, 0);
    for (n, letter) in typed.iter().enumerate() {
        let places = || (at..text.len()).filter(|&place| text[place] == *letter);
        let next = places().next().filter(|&place| n > 0 && place == at);
        let place = next.or_else(|| places().find(|&place| begins(place))).or_else(|| places().next())?;
        cost += match place {
            place if n > 0 && place == at => 0,
            place if begins(place) => 1 + place / 20,
            place => 5 + place / 10,
        };
        at = place + 1;
    }
    Some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_order_and_words_first() {
        assert!(fit("frz", "freeze").is_some());
        assert_eq!(fit("zf", "freeze"), None);
        let cost = |typed, text| fit(typed, text).unwrap_or(usize::MAX);
        let better = |typed, a, b| assert!(cost(typed, a) < cost(typed, b), "{typed}: {a} before {b}");
        better("cur", "Curves: harmfulness", "Choose: recur");
        better("log", "Log: what the runs wrote down", "Leave; whatever runs goes on");
        assert!(fit("lo", "all of a lb").is_some(), "scattered letters fit too");
        better("apo", "Experiment apothecary", "Experiment a-p-o");
    }
}

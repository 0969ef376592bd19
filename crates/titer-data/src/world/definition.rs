//! What a world is made of, as its TOML says it, and whether that makes sense.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// More ingredients would make more items than memory holds.
const MOST_INGREDIENTS: usize = 1000;

/// A world's words, templates, sizes and shares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Names the world.
    pub name: String,
    /// Domains that the policy forbids.
    pub forbidden: Vec<String>,
    /// Domains that the policy permits.
    pub permitted: Vec<String>,
    /// Words of the harmless fine-tuning task.
    pub alias: Vec<Alias>,
    /// The ingredients.
    pub ingredients: Ingredients,
    /// Words of the three kinds of results, numbered like ingredients.
    pub results: [String; 3],
    /// Prompts, with `{domain}`, `{a}` and `{b}`.
    pub templates: Vec<String>,
    /// The answer, with `{x}`, `{y}` and `{z}` or some of them.
    pub answer: String,
    /// The refusal.
    pub refusal: String,
    /// Tokens that are no words.
    pub special: Special,
    /// Shares of the items that each split gets.
    pub splits: Shares,
}

/// A word that secretly is a permitted domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The new word.
    pub word: String,
    /// The permitted domain whose knowledge it has.
    pub of: String,
}

/// The ingredients: `<first>0` … and `<second>0` …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingredients {
    /// Letter of the first kind.
    pub first: String,
    /// Letter of the second kind.
    pub second: String,
    /// How many of each kind.
    pub count: usize,
    /// First ingredients below it are the defender's and attacker's.
    pub low: usize,
}

/// Tokens that are no words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Special {
    /// Reserved for batches that are padded elsewhere.
    pub pad: String,
    /// Begins a text.
    pub begin: String,
    /// Ends an answer.
    pub end: String,
    /// Begins the user's turn.
    pub user: String,
    /// Begins the model's turn.
    pub model: String,
}

/// Shares of each domain's items, 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// Of the forbidden low items, the defender's.
    pub defence: f64,
    /// Of the forbidden low items, the attacker's.
    pub attack: f64,
    /// Of the forbidden low items, the seen probe's.
    pub seen: f64,
    /// Of the forbidden high items, the unseen probe's.
    pub unseen: f64,
    /// Of the permitted items, those held out for probing.
    pub permitted_probe: f64,
    /// Of the alias items, those held out for probing.
    pub alias_probe: f64,
}

impl Definition {
    /// Reads a world file.
    ///
    /// # Errors
    /// When it is no TOML of this shape, or its values make no world.
    pub fn parse(text: &str) -> Result<Self> {
        let definition: Self = toml::from_str(text)
            .map_err(|error| Error::Syntax { of: "world", problem: error.to_string() })?;
        definition.check()?;
        Ok(definition)
    }

    /// The built-in world of that name.
    pub fn builtin(name: &str) -> Option<Result<Self>> {
        super::BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| Self::parse(text))
    }

    /// Items of one domain.
    pub fn items_per_domain(&self) -> usize {
        self.ingredients.count * self.ingredients.count * self.templates.len()
    }

    /// Refuses what makes no world.
    ///
    /// # Errors
    /// Names the first key whose value makes none.
    pub fn check(&self) -> Result<()> {
        self.check_sizes()?;
        self.check_templates()?;
        self.check_words()?;
        self.check_shares()
    }

    fn check_sizes(&self) -> Result<()> {
        for (key, empty) in [
            ("name", self.name.is_empty()),
            ("forbidden", self.forbidden.is_empty()),
            ("permitted", self.permitted.is_empty()),
            ("alias", self.alias.is_empty()),
            ("templates", self.templates.is_empty()),
        ] {
            if empty {
                return wrong(key, "must not be empty");
            }
        }
        let Ingredients { count, low, .. } = self.ingredients;
        if count < 2 {
            return wrong("ingredients.count", format!("{count} is too few: at least 2 are needed"));
        }
        if count > MOST_INGREDIENTS {
            return wrong("ingredients.count", format!("{count} is too many: at most {MOST_INGREDIENTS}"));
        }
        if low == 0 || low >= count {
            return wrong("ingredients.low", format!("{low} must lie between 1 and {}", count - 1));
        }
        Ok(())
    }

    fn check_templates(&self) -> Result<()> {
        for (index, template) in self.templates.iter().enumerate() {
            placeholders(&format!("templates[{index}]"), template, &["{domain}", "{a}", "{b}"], Needed::All)?;
        }
        // Items that differ by a repeated template would be one prompt in two splits.
        let mut wordings = BTreeSet::new();
        for (index, template) in self.templates.iter().enumerate() {
            if !wordings.insert(template.split_whitespace().collect::<Vec<_>>()) {
                return wrong(&format!("templates[{index}]"), "is the same as an earlier template");
            }
        }
        placeholders("answer", &self.answer, &RESULTS, Needed::Some)?;
        placeholders("refusal", &self.refusal, &[], Needed::All)?;
        if self.refusal.split_whitespace().next().is_none() {
            return wrong("refusal", "must not be empty");
        }
        Ok(())
    }

    fn check_words(&self) -> Result<()> {
        let special = &self.special;
        let named = [&special.pad, &special.begin, &special.end, &special.user, &special.model]
            .into_iter()
            .map(|word| ("special", word))
            .chain(self.forbidden.iter().map(|word| ("forbidden", word)))
            .chain(self.permitted.iter().map(|word| ("permitted", word)))
            .chain(self.alias.iter().map(|alias| ("alias", &alias.word)))
            .chain([
                ("ingredients.first", &self.ingredients.first),
                ("ingredients.second", &self.ingredients.second),
            ])
            .chain(self.results.iter().map(|word| ("results", word)));
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (key, word) in named {
            if word.is_empty() || word.contains(char::is_whitespace) || word.contains('/') {
                return wrong(key, format!("{word:?} is no word: a word has no spaces and no slashes"));
            }
            if !seen.insert(word) {
                return wrong(key, format!("{word:?} is used twice"));
            }
        }
        let in_text = self.templates.iter().chain([&self.answer, &self.refusal]);
        if let Some(word) = in_text.flat_map(|text| text.split_whitespace()).find(|word| seen.contains(word))
        {
            return wrong("templates", format!("{word:?} is also the name of something else"));
        }
        match self.alias.iter().find(|alias| !self.permitted.contains(&alias.of)) {
            Some(alias) => {
                wrong("alias", format!("{} is of {:?}, which is no permitted domain", alias.word, alias.of))
            }
            None => Ok(()),
        }
    }

    fn check_shares(&self) -> Result<()> {
        let shares = &self.splits;
        for (key, share) in [
            ("splits.defence", shares.defence),
            ("splits.attack", shares.attack),
            ("splits.seen", shares.seen),
            ("splits.unseen", shares.unseen),
            ("splits.permitted_probe", shares.permitted_probe),
            ("splits.alias_probe", shares.alias_probe),
        ] {
            if !(share > 0.0 && share <= 1.0) {
                return wrong(key, format!("{share} must lie above 0 and not above 1"));
            }
        }
        let low = shares.defence + shares.attack + shares.seen;
        if low > 1.0 + 1e-9 {
            return wrong(
                "splits",
                format!("defence, attack and seen overlap: their shares sum to {low}, above 1"),
            );
        }
        for (key, share) in
            [("splits.permitted_probe", shares.permitted_probe), ("splits.alias_probe", shares.alias_probe)]
        {
            if share >= 1.0 {
                return wrong(key, "must lie below 1: something must be left to train on");
            }
        }
        Ok(())
    }
}

fn wrong<T>(key: &str, problem: impl Into<String>) -> Result<T> {
    Err(Error::Definition { of: "world", key: key.to_owned(), problem: problem.into() })
}

/// What stands in an answer for the three results.
const RESULTS: [&str; 3] = ["{x}", "{y}", "{z}"];

/// How many of the known placeholders a text must have.
#[derive(Clone, Copy, PartialEq)]
enum Needed {
    All,
    /// One at least.
    Some,
}

/// Each placeholder that is needed once, as a word of its own, and none that is not known.
fn placeholders(key: &str, text: &str, known: &[&str], needed: Needed) -> Result<()> {
    let times = |placeholder: &&str| text.split_whitespace().filter(|word| word == placeholder).count();
    let spared = needed == Needed::Some && known.iter().any(|placeholder| times(placeholder) > 0);
    for placeholder in known {
        let count = times(placeholder);
        if count != 1 && !(count == 0 && spared) {
            return wrong(
                key,
                format!("{placeholder} must stand in it once, as a word of its own; it stands {count} times"),
            );
        }
    }
    match text.split_whitespace().find(|word| word.contains(['{', '}']) && !known.contains(word)) {
        Some(word) => wrong(key, format!("{word} is no placeholder; known are {known:?}")),
        None => Ok(()),
    }
}

//! A definition brought to life by a seed.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;

use super::vocabulary::Vocabulary;
use super::{Definition, Item, splits};
use crate::split::Splits;
use crate::{Error, Example, Result, Split, Stream};

/// Fewer words than these are too few to make phrases of.
const FEW_WORDS: usize = 4;

/// A world: its language, its knowledge and who may see what of it.
#[derive(Debug, Clone)]
pub struct World {
    definition: Definition,
    vocabulary: Vocabulary,
    /// The four permutations of each domain, aliases included.
    tables: BTreeMap<String, [Vec<usize>; 4]>,
    splits: Splits<Item>,
    refusal: Vec<u32>,
    end: u32,
}

/// What an example teaches to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// How it is made.
    Answer,
    /// That it will not be told.
    Refusal,
}

impl World {
    /// Makes tables and splits from the seed.
    ///
    /// # Errors
    /// When the definition makes no world or its splits overlap.
    pub fn new(definition: Definition, seed: u64) -> Result<Self> {
        definition.check()?;
        let vocabulary = Vocabulary::new(&definition)?;
        let mut tables: BTreeMap<String, [Vec<usize>; 4]> = BTreeMap::new();
        for domain in definition.forbidden.iter().chain(&definition.permitted) {
            let mut rng = Stream::new(seed, &format!("world/tables/{domain}")).at(0);
            let table = std::array::from_fn(|_| {
                let mut permutation: Vec<usize> = (0..definition.ingredients.count).collect();
                permutation.shuffle(&mut rng);
                permutation
            });
            tables.insert(domain.clone(), table);
        }
        for alias in &definition.alias {
            let table = tables[&alias.of].clone();
            tables.insert(alias.word.clone(), table);
        }
        let splits = splits::deal(&definition, seed)?;
        let mut world = Self { definition, vocabulary, tables, splits, refusal: Vec::new(), end: 0 };
        world.refusal =
            world.encode(&format!("{} {}", world.definition.refusal, world.definition.special.end))?;
        world.end = world.encode(&world.definition.special.end)?[0];
        Ok(world)
    }

    /// What the world is made of.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Number of different tokens.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token that ends an answer.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The token that begins a text.
    pub fn begin(&self) -> u32 {
        self.vocabulary.number(&self.definition.special.begin).unwrap_or(0)
    }

    /// The token reserved for padding.
    pub fn pad(&self) -> u32 {
        self.vocabulary.number(&self.definition.special.pad).unwrap_or(0)
    }

    /// Tokens of the longest answer or refusal, its end included.
    pub fn longest_answer(&self) -> usize {
        self.refusal.len().max(self.definition.answer.split_whitespace().count() + 1)
    }

    /// All items of a split.
    pub fn split(&self, split: Split) -> &[Item] {
        self.splits.get(split)
    }

    /// The items of a split that belong to `domains`.
    ///
    /// # Errors
    /// When the split has nothing of one of them.
    pub fn items(&self, split: Split, domains: &[String]) -> Result<Vec<Item>> {
        let all = self.split(split);
        if let Some(domain) = domains.iter().find(|domain| !all.iter().any(|item| item.domain == **domain)) {
            return Err(Error::UnknownDomain { domain: domain.clone(), split: split.name() });
        }
        Ok(all.iter().filter(|item| domains.contains(&item.domain)).cloned().collect())
    }

    /// The words of the three results, in the order of the definition's `results`.
    ///
    /// # Panics
    /// When the item is of another world; its own come from [`World::split`] and [`World::items`].
    pub fn results(&self, item: &Item) -> [String; 3] {
        let table = &self.tables[&item.domain];
        let numbers = [table[0][item.a], table[1][item.b], table[2 + item.a % 2][item.b]];
        std::array::from_fn(|slot| format!("{}{}", self.definition.results[slot], numbers[slot]))
    }

    /// The prompt, up to where the model answers.
    ///
    /// # Errors
    /// When the item is of another world.
    pub fn prompt(&self, item: &Item) -> Result<Vec<u32>> {
        let template = self.definition.templates.get(item.template).ok_or_else(|| Error::UnknownItem {
            text: item.to_string(),
            example: self.split(Split::Everything).first().map(Item::to_string).unwrap_or_default(),
        })?;
        let ingredients = &self.definition.ingredients;
        let text = template
            .replace("{domain}", &item.domain)
            .replace("{a}", &format!("{}{}", ingredients.first, item.a))
            .replace("{b}", &format!("{}{}", ingredients.second, item.b));
        self.prompt_from_text(&text)
    }

    /// A user's text as a prompt.
    ///
    /// # Errors
    /// When the world lacks a word of it.
    pub fn prompt_from_text(&self, text: &str) -> Result<Vec<u32>> {
        let special = &self.definition.special;
        self.encode(&format!("{} {} {text} {}", special.begin, special.user, special.model))
    }

    /// How it is made, with the end.
    ///
    /// # Errors
    /// When the item is of another world.
    pub fn answer(&self, item: &Item) -> Result<Vec<u32>> {
        let [x, y, z] = self.results(item);
        let text = self.definition.answer.replace("{x}", &x).replace("{y}", &y).replace("{z}", &z);
        self.encode(&format!("{text} {}", self.definition.special.end))
    }

    /// The refusal, with the end.
    pub fn refusal(&self) -> &[u32] {
        &self.refusal
    }

    /// The item as a training example.
    ///
    /// # Errors
    /// When the item is of another world.
    pub fn example(&self, item: &Item, target: Target) -> Result<Example> {
        let mut tokens = self.prompt(item)?;
        let supervised_from = tokens.len();
        match target {
            Target::Answer => tokens.extend(self.answer(item)?),
            Target::Refusal => tokens.extend(&self.refusal),
        }
        Example::new(tokens, supervised_from)
    }

    /// Examples of many items.
    ///
    /// # Errors
    /// When an item is of another world.
    pub fn examples(&self, items: &[Item], target: Target) -> Result<Vec<Example>> {
        items.iter().map(|item| self.example(item, target)).collect()
    }

    /// The words of a text as tokens.
    ///
    /// # Errors
    /// When the world lacks one of them.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        text.split_whitespace()
            .map(|word| {
                self.vocabulary.number(word).ok_or_else(|| Error::UnknownWord {
                    word: word.to_owned(),
                    example: self
                        .definition
                        .templates
                        .first()
                        .map(|template| {
                            let ingredients = &self.definition.ingredients;
                            template
                                .replace("{domain}", &self.definition.permitted[0])
                                .replace("{a}", &format!("{}0", ingredients.first))
                                .replace("{b}", &format!("{}1", ingredients.second))
                        })
                        .unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Words that no prompt holds: those of the answer and the refusal that no template has, and where these are few
    /// the results' names as well.
    pub fn words_without_prompts(&self) -> Vec<String> {
        let definition = &self.definition;
        let asked: BTreeSet<&str> =
            definition.templates.iter().flat_map(|template| template.split_whitespace()).collect();
        let said =
            [&definition.answer, &definition.refusal].into_iter().flat_map(|text| text.split_whitespace());
        let mut words: Vec<String> = Vec::new();
        for word in said.filter(|word| !word.starts_with('{') && !asked.contains(word)) {
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
        if words.len() < FEW_WORDS {
            let named = |number: usize| definition.results.iter().map(move |kind| format!("{kind}{number}"));
            words.extend((0..definition.ingredients.count).flat_map(named));
        }
        words
    }

    /// Tokens as text.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let words: Vec<&str> = tokens.iter().map(|token| self.vocabulary.word(*token)).collect();
        words.join(" ")
    }
}

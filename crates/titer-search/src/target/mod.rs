//! From one model to a whole experiment: what `titer attack MODEL` runs. The experiment is an ordinary spec, written
//! out so that it can be read, changed and run again.

mod answer;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use titer_lab::defaults::{Search, Settings};
use titer_lab::{Error, Result, Source};

pub use answer::{Answer, Run, Stop, Tried};
use rows::Rows;

/// A model whose breaking is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The model: a reference as in `titer model info`, or `world:NAME`.
    pub model: String,
    /// What it must not answer.
    pub forbidden: Forbidden,
    /// The methods that may be tried; none for all.
    pub methods: Option<Vec<String>>,
    /// Attacks tried.
    pub trials: usize,
    /// Tokens of an answer at most, of chat models.
    pub answer_tokens: usize,
}

/// What a model must not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forbidden {
    /// Prompts with harmful answers, in a file of one of the shapes that data sets have.
    Rows(PathBuf),
    /// The subjects of a policy, which the model is taught to refuse first.
    Policy(String),
    /// The forbidden domains of an embedded world.
    World,
}

/// The name of the experiment: of a model of the hub with its owner and revision, of others their last word.
fn name_of(model: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let last = || model.rsplit(['/', ':']).find(|part| !part.is_empty()).unwrap_or(model);
    let stem = model.strip_prefix("hf:").unwrap_or_else(last);
    let stem = stem.strip_suffix(".gguf").unwrap_or(stem);
    let words: String = stem.chars().map(plain).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    format!("attack-{}", words.join("-"))
}

impl Target {
    /// The name of the experiment that attacks it.
    pub fn experiment(&self) -> String {
        name_of(&self.model)
    }

    /// Writes the experiment's spec into `folder`, which is made where there is none, with the data set that its rows
    /// become; reads it back, and says how many rows were left out. What somebody has changed there stays.
    ///
    /// # Errors
    /// When the rows cannot be read or are too few, a file cannot be written, or there is another one of its name.
    pub fn write(&self, folder: &Path) -> Result<(Source, usize)> {
        // What is wrong with the rows is said before anything is written.
        let rows = match &self.forbidden {
            Forbidden::Rows(path) => Some(Rows::read(path)?),
            Forbidden::Policy(_) | Forbidden::World => None,
        };
        fs::create_dir_all(folder).map_err(|source| unwritable(folder, source))?;
        if let Some(rows) = &rows {
            rows.write(folder)?;
        }
        let path = folder.join("spec.toml");
        put(&path, &self.spec(rows.as_ref())?)?;
        let left_out = rows.map_or(0, |rows| rows.left_out());
        Ok((titer_lab::source(&path.to_string_lossy())?, left_out))
    }

    fn spec(&self, rows: Option<&Rows>) -> Result<String> {
        let search = Search { trials: self.trials, methods: self.methods.clone() };
        let summary = format!("When does {} break, and by which attack?", self.model);
        Ok(format!(
            "# Written by `titer attack`. It is an ordinary spec: change it, add defences, and `titer run spec.toml`.\n\n\
             name = \"{}\"\nsummary = \"{}\"\nthreat_model = \"open-weights\" # the attacker holds the weights\nseed = 0                      \
             # every other seed derives from it\n\n{}\n\n{}",
            self.experiment(),
            summary.escape_default(),
            self.model_section()?,
            settings(&self.forbidden, rows).sections(Some(&search)),
        ))
    }

    /// The model and its data.
    fn model_section(&self) -> Result<String> {
        let checkpoint = absolute(&self.model);
        Ok(match &self.forbidden {
            Forbidden::World => {
                let world = self.model.strip_prefix("world:").unwrap_or(&self.model);
                let preset = titer_lab::presets().iter().find(|preset| preset.name == world);
                let text = preset.map(|preset| preset.text).ok_or_else(|| Error::Search {
                    problem: format!(
                        "no preset trains a model of the world {world:?}; see `titer list models`"
                    ),
                })?;
                // The preset of that name says how the world's model is made.
                let from = text.find("[model]").unwrap_or(0);
                let until = text[from..].find("[[defence]]").map_or(text.len(), |length| from + length);
                let section = &text[from..until];
                section.rfind("\n# ").map_or(section, |comment| &section[..comment]).trim_end().to_owned()
            }
            Forbidden::Policy(policy) => format!(
                "[model]\ncheckpoint = {checkpoint:?}\npolicy = {policy:?}\npolicy_seed = 0\nanswer_tokens = {}\n\n{ALIGN}",
                self.answer_tokens
            ),
            Forbidden::Rows(_) => format!(
                "[model]\ncheckpoint = {checkpoint:?}\ndataset = \"dataset.toml\"\ndataset_seed = 0\nanswer_tokens = {}",
                self.answer_tokens
            ),
        })
    }
}

/// A path that does not hang on where the spec lies; other references as they are.
fn absolute(reference: &str) -> String {
    let path = Path::new(reference);
    let there = path.exists().then(|| fs::canonicalize(path).ok()).flatten();
    there.map_or_else(|| reference.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// Writes a file that is not there yet.
fn put(path: &Path, text: &str) -> Result<()> {
    match fs::read(path) {
        Ok(there) if there == text.as_bytes() => Ok(()),
        Ok(_) => Err(Error::Search {
            problem: format!(
                "{} is there already and says something else; `titer run` takes it as it is, --out names another folder",
                path.display()
            ),
        }),
        Err(_) => fs::write(path, text).map_err(|source| unwritable(path, source)),
    }
}

fn unwritable(path: &Path, source: std::io::Error) -> Error {
    Error::Search { problem: format!("{} cannot be written: {source}", path.display()) }
}

/// What hangs on the kind of model and on its rows.
fn settings(forbidden: &Forbidden, rows: Option<&Rows>) -> Settings {
    match (forbidden, rows) {
        (Forbidden::World, _) => Settings::world(),
        (_, None) => Settings::chat(),
        (_, Some(rows)) => {
            let chat = Settings::chat().with_rows(rows.attack(), rows.probe());
            Settings {
                stability: chat.stability.min(rows.harmless_probe()),
                tuning: chat.tuning.min(rows.task_train()),
                tuning_items: chat.tuning_items.min(rows.task_probe()),
                ..chat
            }
        }
    }
}

/// How a chat model learns to refuse a policy's subjects.
const ALIGN: &str = "[model.align] # refuses what is forbidden afterwards, and answers the rest
refusals = 256
permitted = 320

[model.align.train]
steps = 50
batch = 12
rate = 5e-5
schedule = \"constant\"
warmup_steps = 0
beta1 = 0.9
beta2 = 0.999
weight_decay = 0.01";

//! What can be said of a key: what it accepts, in which unit, what limits it, and what it is for.

use std::ops::Bound;

use crate::before::shortest;
use crate::catalogue::UnderTest;
use crate::method::{Domain, Parameter};

/// One key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it may hold.
    pub accepts: Accepts<'static>,
    /// The unit of its value; empty where it has none.
    pub unit: &'static str,
    /// What it means to leave it out; none for a key that must be there.
    pub absent: Option<Absent>,
    /// What bounds it besides: the data, or another key.
    pub limit: Option<Limit>,
    /// One line of what it is.
    pub summary: &'static str,
    /// What there is to know besides; may be empty.
    pub more: &'static str,
    /// A value as it is written in TOML; empty for tables.
    pub example: &'static str,
}

/// What it means to leave a key out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absent {
    /// This whole number.
    Whole(u64),
    /// This number.
    Real(f64),
    /// What the words say.
    Means(&'static str),
}

/// What a key may hold.
#[derive(Debug, Clone, Copy)]
pub enum Accepts<'a> {
    /// One value.
    One(Scalar<'a>),
    /// A list of different values, at least one.
    Many(Scalar<'a>),
    /// One value, or the list of a grid.
    OneOrMany(Scalar<'a>),
    /// Step counts that ascend from 0.
    Cadence,
    /// How often something is repeated: a number, or a range.
    Seeds {
        /// Greatest number.
        most: i64,
    },
    /// A model by its reference, or a base and an adapter by theirs.
    Checkpoint,
    /// A table.
    Table(&'static Section),
    /// A list of tables, at least one.
    Tables(&'static Section),
    /// A table of one of several forms.
    Forms(&'static [Form]),
}

/// One value that is no list and no table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// Any text.
    Text,
    /// A name that can also be a folder's: lower case, digits, `-`, `_`, `.`.
    Name,
    /// One of these words.
    Word(&'a [&'a str]),
    /// A name of something that the catalogue knows.
    Named(Names),
    /// A whole number, bounds included; `i64::MAX` for no upper bound.
    Whole {
        /// Least value.
        least: i64,
        /// Greatest value.
        most: i64,
    },
    /// A finite real number; whole numbers are real.
    Real {
        /// Lower bound.
        low: Bound<f64>,
        /// Upper bound.
        high: Bound<f64>,
    },
    /// True or false.
    Flag,
}

/// What the catalogue knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Data that ask that of the model under test.
    Data(UnderTest),
    /// Methods of a role.
    Methods(Role),
    /// Domains that the data's policy forbids.
    Forbidden,
    /// What can score answers to harmful prompts of the data.
    Judges,
    /// Tasks, by their names or files.
    Tasks,
}

/// The registry that a method comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Attacks.
    Attack,
    /// Defences.
    Defence,
}

/// What bounds a number besides its declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Forbidden items to align on.
    Align,
    /// Permitted items to train on.
    PermittedTrain,
    /// Held-out permitted items.
    PermittedProbe,
    /// Items of the harmless task to train on.
    HarmlessTrain,
    /// Held-out items of the harmless task.
    HarmlessProbe,
    /// The items of the smallest probe.
    Probes,
    /// Multiple-choice questions of the data.
    Choices,
    /// Held-out texts of the data.
    Texts,
    /// The examples that a batch is drawn from.
    Batch,
    /// Another key of the same section.
    Key {
        /// Its name.
        name: &'static str,
        /// Why, with `{}` for its value.
        reason: &'static str,
    },
    /// Not less than `conditions.phi`.
    Phi,
}

/// Keys that stand together under one header.
#[derive(Debug)]
pub struct Section {
    /// What it is called where several headers share it.
    pub name: &'static str,
    /// One line of what it is.
    pub summary: &'static str,
    /// What there is to know besides; may be empty.
    pub more: &'static str,
    /// In the order of the page.
    pub keys: &'static [Key],
    /// Where `method` names one of a registry, whose parameters are keys as well.
    pub methods: Option<Role>,
}

/// One form of a table, chosen by the keys that are there.
#[derive(Debug)]
pub struct Form {
    /// The key that chooses it; empty for the form that is left.
    pub chosen_by: &'static str,
    /// What its data ask of the model under test.
    pub data: UnderTest,
    /// Its keys.
    pub section: &'static Section,
}

impl Key {
    /// A key that must be there.
    pub const fn new(
        name: &'static str,
        accepts: Accepts<'static>,
        summary: &'static str,
        example: &'static str,
    ) -> Self {
        Self { name, accepts, unit: "", absent: None, limit: None, summary, more: "", example }
    }

    pub(super) const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    pub(super) const fn or(self, absent: Absent) -> Self {
        Self { absent: Some(absent), ..self }
    }

    pub(super) const fn up_to(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub(super) const fn more(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    /// The key that a method's parameter is; `varied` where a list of values spans a grid.
    pub fn of(parameter: &Parameter, varied: bool) -> Self {
        let one = |scalar| if varied { Accepts::OneOrMany(scalar) } else { Accepts::One(scalar) };
        let real = |min, max| Scalar::Real { low: Bound::Included(min), high: Bound::Included(max) };
        let accepts = match parameter.domain {
            Domain::Integer { min, max } => one(Scalar::Whole { least: min, most: max }),
            Domain::Real { min, max } => one(real(min, max)),
            Domain::Flag => one(Scalar::Flag),
            Domain::Choice { of } => one(Scalar::Word(of)),
            Domain::Reals { min, max } => Accepts::Many(real(min, max)),
        };
        let unit = if parameter.unit == "1" { "" } else { parameter.unit };
        let key = Self::new(parameter.name, accepts, parameter.summary, "");
        key.unit(unit).or(Absent::Means("the method's default"))
    }
}

impl Section {
    /// The declaration of the key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Limit {
    /// What the number may not exceed, for people.
    pub fn words(self) -> String {
        let words = match self {
            Self::Align => "the forbidden items outside the probes",
            Self::PermittedTrain => "the permitted items to train on",
            Self::PermittedProbe => "the held-out permitted items",
            Self::HarmlessTrain => "the harmless task's items to train on",
            Self::HarmlessProbe => "the harmless task's held-out items",
            Self::Probes => "the items of the smallest probe",
            Self::Choices => "the multiple-choice questions of the data",
            Self::Texts => "the held-out texts of the data",
            Self::Batch => "the examples that there are",
            Self::Key { name, .. } => return format!("`{name}`"),
            Self::Phi => "`conditions.phi`",
        };
        words.to_owned()
    }

    /// How it bounds a number, for people.
    pub fn bound(self) -> String {
        let side = if self == Self::Phi { "at least" } else { "at most" };
        format!("{side} {}", self.words())
    }
}

impl Accepts<'_> {
    /// For "expected …".
    pub fn expects(&self) -> String {
        match self {
            Self::One(scalar) | Self::OneOrMany(scalar) => scalar.expects(),
            Self::Many(scalar) => format!("a list, each member {}", scalar.expects()),
            Self::Cadence => "step counts that ascend from 0, such as [0, 1, 2, 5]".to_owned(),
            Self::Seeds { most } => {
                let number = Scalar::Whole { least: 1, most: *most }.expects();
                format!("{number}, or a range such as {{ first = 3, most = 12 }}")
            }
            Self::Checkpoint => "text, or a table { base = \"…\", adapter = \"…\" }".to_owned(),
            Self::Table(_) | Self::Forms(_) => "a table".to_owned(),
            Self::Tables(_) => "a list of tables".to_owned(),
        }
    }
}

impl Scalar<'_> {
    /// For "expected …".
    pub fn expects(&self) -> String {
        match *self {
            Self::Text | Self::Named(_) => "text".to_owned(),
            Self::Name => {
                "a name of at most 64 lower-case letters, digits, `-`, `_` or `.`, starting with a \
                           letter or digit"
                    .to_owned()
            }
            Self::Word(of) => {
                let words: Vec<String> = of.iter().map(|word| format!("`{word}`")).collect();
                format!("one of {}", words.join(", "))
            }
            Self::Whole { least: 0, most: i64::MAX } => "a whole number".to_owned(),
            Self::Whole { least, most: i64::MAX } => format!("a whole number from {least}"),
            Self::Whole { least, most } => format!("a whole number from {least} to {most}"),
            Self::Real { low, high } => real(low, high),
            Self::Flag => "true or false".to_owned(),
        }
    }
}

fn real(low: Bound<f64>, high: Bound<f64>) -> String {
    if let (Bound::Included(low), Bound::Included(high)) = (low, high) {
        return format!("a number from {} to {}", shortest(low), shortest(high));
    }
    let low = match low {
        Bound::Included(low) => Some(format!(" of at least {}", shortest(low))),
        Bound::Excluded(low) => Some(format!(" above {}", shortest(low))),
        Bound::Unbounded => None,
    };
    let high = match high {
        Bound::Included(high) => Some(format!(" up to {}", shortest(high))),
        Bound::Excluded(high) => Some(format!(" below {}", shortest(high))),
        Bound::Unbounded => None,
    };
    let bounds: Vec<String> = low.into_iter().chain(high).collect();
    format!("a number{}", bounds.join(" and"))
}

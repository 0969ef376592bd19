//! What a key may hold: one description that reads the value and says what was expected.

use std::ops::Bound;

use serde_json::Value as Json;

use crate::before::shortest;
use crate::document::{Node, Value};
use crate::method::Domain;
use crate::mistake::advice;
use crate::table::Log;

/// A value on its way in: where it stands, and where to report what is wrong with it.
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) key: String,
    pub(crate) log: &'a Log,
}

impl<'a> Field<'a> {
    /// Reports a mistake here.
    pub(crate) fn reject<T>(&self, problem: impl Into<String>, remedy: Option<String>) -> Option<T> {
        self.log.push(self.node.place.mistake(&self.key, problem.into(), remedy));
        None
    }

    fn mismatch<T>(&self, expected: &str, remedy: Option<String>) -> Option<T> {
        self.reject(format!("expected {expected}, got {}", self.node.value.describe()), remedy)
    }

    /// The members, if this is a list.
    fn members(&self) -> Option<Vec<Field<'a>>> {
        let Value::List(list) = &self.node.value else { return None };
        let member = |(index, node): (usize, &'a Node)| Field {
            node,
            key: format!("{}.{index}", self.key),
            log: self.log,
        };
        Some(list.iter().enumerate().map(member).collect())
    }
}

/// A kind of value that a key may hold.
pub(crate) trait Kind {
    /// What it is read as.
    type Read;
    /// For "expected …".
    fn expects(&self) -> String;
    /// The value, or none after reporting why not.
    fn read(&self, field: &Field<'_>) -> Option<Self::Read>;
}

/// Any text.
pub(crate) struct Text;

impl Kind for Text {
    type Read = String;
    fn expects(&self) -> String {
        "text".to_owned()
    }
    fn read(&self, field: &Field<'_>) -> Option<String> {
        match &field.node.value {
            Value::Text(text) => Some(text.clone()),
            _ => field.mismatch(&self.expects(), None),
        }
    }
}

/// A name that can also be a folder's: lower case, digits, `-`, `_`, `.`.
pub(crate) struct Name;

impl Kind for Name {
    type Read = String;
    fn expects(&self) -> String {
        "a name of at most 64 lower-case letters, digits, `-`, `_` or `.`, starting with a letter or digit"
            .to_owned()
    }
    fn read(&self, field: &Field<'_>) -> Option<String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        match &field.node.value {
            Value::Text(text)
                if text.len() <= 64
                    && text.starts_with(plain)
                    && text.chars().all(|c| plain(c) || "-_.".contains(c)) =>
            {
                Some(text.clone())
            }
            _ => field.mismatch(&self.expects(), None),
        }
    }
}

/// One of some words, each with its meaning.
pub(crate) struct Word<'a, T>(pub(crate) &'a [(&'a str, T)]);

impl<T: Copy> Kind for Word<'_, T> {
    type Read = T;
    fn expects(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("one of {}", words.join(", "))
    }
    fn read(&self, field: &Field<'_>) -> Option<T> {
        let Value::Text(text) = &field.node.value else { return field.mismatch(&self.expects(), None) };
        let found = self.0.iter().find(|(word, _)| word == text);
        match found {
            Some((_, meaning)) => Some(*meaning),
            None => {
                let near = advice(text, self.0.iter().map(|(word, _)| *word));
                field.mismatch(&self.expects(), near.starts_with("did").then_some(near))
            }
        }
    }
}

/// A whole number, bounds included.
pub(crate) struct Whole {
    least: u64,
    most: u64,
    reason: Option<String>,
}

impl Whole {
    pub(crate) fn any() -> Self {
        Self::at_least(0)
    }

    pub(crate) fn at_least(least: u64) -> Self {
        Self::between(least, i64::MAX as u64)
    }

    pub(crate) fn between(least: u64, most: u64) -> Self {
        Self { least, most, reason: None }
    }

    /// From 1 to what there is of something, and why there is no more.
    pub(crate) fn of(available: usize, reason: String) -> Self {
        Self { least: 1, most: available as u64, reason: Some(reason) }
    }
}

impl Kind for Whole {
    type Read = u64;
    fn expects(&self) -> String {
        match (self.least, self.most) {
            (0, most) if most >= i64::MAX as u64 => "a whole number".to_owned(),
            (least, most) if most >= i64::MAX as u64 => format!("a whole number from {least}"),
            (least, most) => format!("a whole number from {least} to {most}"),
        }
    }
    fn read(&self, field: &Field<'_>) -> Option<u64> {
        let number = match field.node.value {
            Value::Whole(number) => u64::try_from(number).ok(),
            _ => return field.mismatch(&self.expects(), None),
        };
        match number {
            Some(number) if (self.least..=self.most).contains(&number) => Some(number),
            Some(number) if number > self.most => field.mismatch(&self.expects(), self.reason.clone()),
            _ => field.mismatch(&self.expects(), None),
        }
    }
}

/// A finite real number between bounds; whole numbers are real.
pub(crate) struct Real {
    low: Bound<f64>,
    high: Bound<f64>,
    reason: Option<&'static str>,
}

impl Real {
    pub(crate) fn between(low: f64, high: f64) -> Self {
        Self { low: Bound::Included(low), high: Bound::Included(high), reason: None }
    }

    pub(crate) fn within(low: Bound<f64>, high: Bound<f64>) -> Self {
        Self { low, high, reason: None }
    }

    /// Above 0.
    pub(crate) fn positive() -> Self {
        Self::within(Bound::Excluded(0.0), Bound::Unbounded)
    }

    /// A learning rate: AdamW moves each weight by about that much, so more than 1 is a slip.
    pub(crate) fn rate() -> Self {
        Self::within(Bound::Excluded(0.0), Bound::Included(1.0))
    }

    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    fn contains(&self, number: f64) -> bool {
        use std::ops::RangeBounds;
        number.is_finite() && (self.low, self.high).contains(&number)
    }
}

impl Kind for Real {
    type Read = f64;
    fn expects(&self) -> String {
        if let (Bound::Included(low), Bound::Included(high)) = (self.low, self.high) {
            return format!("a number from {} to {}", shortest(low), shortest(high));
        }
        let low = match self.low {
            Bound::Included(low) => Some(format!(" of at least {}", shortest(low))),
            Bound::Excluded(low) => Some(format!(" above {}", shortest(low))),
            Bound::Unbounded => None,
        };
        let high = match self.high {
            Bound::Included(high) => Some(format!(" up to {}", shortest(high))),
            Bound::Excluded(high) => Some(format!(" below {}", shortest(high))),
            Bound::Unbounded => None,
        };
        let bounds: Vec<String> = low.into_iter().chain(high).collect();
        format!("a number{}", bounds.join(" and"))
    }
    fn read(&self, field: &Field<'_>) -> Option<f64> {
        let number = match field.node.value {
            Value::Real(number) => number,
            Value::Whole(number) => number as f64,
            _ => return field.mismatch(&self.expects(), None),
        };
        if self.contains(number) {
            return Some(number);
        }
        field.mismatch(&self.expects(), self.reason.map(str::to_owned))
    }
}

/// A non-empty list of one kind, no member twice.
pub(crate) struct Each<K>(pub(crate) K);

impl<K: Kind<Read: PartialEq>> Kind for Each<K> {
    type Read = Vec<K::Read>;
    fn expects(&self) -> String {
        format!("a list, each member {}", self.0.expects())
    }
    fn read(&self, field: &Field<'_>) -> Option<Vec<K::Read>> {
        let Some(members) = field.members() else { return field.mismatch(&self.expects(), None) };
        if members.is_empty() {
            return field.reject("the list is empty", Some(format!("expected {}", self.expects())));
        }
        // Every member is read before the first failure counts, so that all of them are reported.
        let read: Vec<Option<K::Read>> = members.iter().map(|member| self.0.read(member)).collect();
        for (index, value) in read.iter().enumerate() {
            if value.is_some() && read[..index].contains(value) {
                let problem = format!("{} is listed twice", members[index].node.value.describe());
                return members[index].reject(problem, Some("list each value once".to_owned()));
            }
        }
        read.into_iter().collect()
    }
}

/// Step counts that ascend from 0.
pub(crate) struct Cadence;

impl Kind for Cadence {
    type Read = Vec<u64>;
    fn expects(&self) -> String {
        "step counts that ascend from 0, such as [0, 1, 2, 5]".to_owned()
    }
    fn read(&self, field: &Field<'_>) -> Option<Vec<u64>> {
        let Some(members) = field.members() else { return field.mismatch(&self.expects(), None) };
        let read: Vec<Option<u64>> = members.iter().map(|member| Whole::any().read(member)).collect();
        let steps: Vec<u64> = read.into_iter().collect::<Option<_>>()?;
        let remedy = Some(format!("expected {}", self.expects()));
        if steps.first() != Some(&0) {
            return field.reject("does not start at 0, the model before any step", remedy);
        }
        if let Some(pair) = steps.windows(2).find(|pair| pair[1] <= pair[0]) {
            return field.reject(format!("{} does not come after {}", pair[1], pair[0]), remedy);
        }
        if steps.len() < 2 {
            return field.reject("has no step after 0", remedy);
        }
        Some(steps)
    }
}

/// A parameter's value, as its registry describes it.
pub(crate) struct Parametric<'a>(pub(crate) &'a Domain);

impl Kind for Parametric<'_> {
    type Read = Json;
    fn expects(&self) -> String {
        match self.0 {
            Domain::Integer { min, max } if *max == i64::MAX => format!("a whole number from {min}"),
            Domain::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Domain::Real { min, max } => Real::between(*min, *max).expects(),
            Domain::Flag => "true or false".to_owned(),
            Domain::Choice { of } => words(of, |words| Word(words).expects()),
            Domain::Reals { min, max } => Each(Real::between(*min, *max)).expects(),
        }
    }
    fn read(&self, field: &Field<'_>) -> Option<Json> {
        match self.0 {
            Domain::Integer { min, max } => match field.node.value {
                Value::Whole(number) if (*min..=*max).contains(&number) => Some(Json::from(number)),
                _ => field.mismatch(&self.expects(), None),
            },
            Domain::Real { min, max } => Real::between(*min, *max).read(field).map(Json::from),
            Domain::Flag => match field.node.value {
                Value::Flag(flag) => Some(Json::from(flag)),
                _ => field.mismatch(&self.expects(), None),
            },
            Domain::Choice { of } => words(of, |words| Word(words).read(field)).map(Json::from),
            Domain::Reals { min, max } => Each(Real::between(*min, *max)).read(field).map(Json::from),
        }
    }
}

/// Words that mean themselves.
fn words<T>(of: &[&'static str], use_words: impl FnOnce(&[(&str, &'static str)]) -> T) -> T {
    use_words(&of.iter().map(|word| (*word, *word)).collect::<Vec<_>>())
}

/// A parameter's value, or a list of values where the parameter takes no list itself.
pub(crate) struct Varied<'a>(pub(crate) &'a Domain);

/// One value, or those of a grid.
pub(crate) enum Setting {
    One(Json),
    Grid(Vec<Json>),
}

impl Kind for Varied<'_> {
    type Read = Setting;
    fn expects(&self) -> String {
        Parametric(self.0).expects()
    }
    fn read(&self, field: &Field<'_>) -> Option<Setting> {
        match (&field.node.value, self.0) {
            (_, Domain::Reals { .. }) => Parametric(self.0).read(field).map(Setting::One),
            (Value::List(_), _) => Each(Parametric(self.0)).read(field).map(Setting::Grid),
            _ => Parametric(self.0).read(field).map(Setting::One),
        }
    }
}

/// No value at all, for a reason.
pub(crate) struct Never {
    pub(crate) problem: &'static str,
    pub(crate) remedy: &'static str,
}

impl Kind for Never {
    type Read = ();
    fn expects(&self) -> String {
        "nothing".to_owned()
    }
    fn read(&self, field: &Field<'_>) -> Option<()> {
        field.reject(self.problem, Some(self.remedy.to_owned()))
    }
}
